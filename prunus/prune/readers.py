"""Where layers read channels."""

from typing import NamedTuple

import torch
from torch import Tensor

from prunus.model.channels.table import ChannelTable


class Reader(NamedTuple):
    """A layer that reads channels: its weight, and which dimension of it runs over them."""

    weight: str
    path: str
    dimension: int


def readers_of(table: ChannelTable, tags: Tensor | None = None) -> list[Reader]:
    """Return the layers that read any of these channels; without `tags`, any at all."""
    return [
        Reader(name, name.rpartition(".")[0], dimension)
        for (name, dimension), held in table.tags.items()
        if table.roles[name, dimension] == "column"
        and (tags is None or bool(torch.isin(held, tags).any()))
    ]
