"""What other rooms want to know of the groups: which batch norms could lose channels."""

from prunus.model.channels.table import ChannelTable


def prunable_norms(table: ChannelTable) -> list[str]:
    """Return the paths of the batch norms whose channels may go, in the network's order."""
    modules = {slot.module: None for group in table.free_groups for slot in group.slots_of("scale")}
    return list(modules)
