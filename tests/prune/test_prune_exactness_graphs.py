"""Random small graphs of many operations, random cuts: exact, consistent, nothing left dangling."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks.cuts import enliven_, random_share, widths_disagree
from networks.graphs import OPTIONS, SIDE, STEPS, Graph
from torch import Tensor, nn

from prunus.model.channels.table import ChannelTable
from prunus.prune.proof import cut_exactly
from prunus.prune.surgery import named_tensors

plans = st.lists(
    st.tuples(
        st.integers(0, len(STEPS) - 1),
        st.integers(0, 9),
        st.integers(0, 9),
        st.integers(0, OPTIONS - 1),
    ),
    min_size=2,
    max_size=7,
)


def check_nothing_dangles(table: ChannelTable, tags: Tensor, network: nn.Module) -> None:
    """Every dimension has lost the places of the removed channels, and only those."""
    tensors = named_tensors(network)
    for (name, dimension), held in table.tags.items():
        kept = int((~torch.isin(held, tags)).sum())
        assert tensors[name].size(dimension) == kept > 0, name


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(plan=plans, share=st.sampled_from((0.3, 0.6)), seed=st.integers(0, 3))
def test_a_cut_graph_computes_what_the_masked_one_does(
    plan: list[tuple[int, int, int, int]], share: float, seed: int
) -> None:
    torch.manual_seed(0)
    network = enliven_(Graph(plan)).eval()
    image = torch.rand(2, 3, SIDE, SIDE)

    proved = cut_exactly(network, image, random_share(share, seed))

    assert proved.error < 1e-5
    assert not proved.pinned, "found out by the rules alone"
    assert not widths_disagree(proved.model)
    check_nothing_dangles(proved.table, proved.tags, proved.model)
    assert sum(len(g) for g in proved.table.free_groups) == 0 or len(proved.tags)
    held = {slot.tensor for group in proved.table.groups for slot in group.slots}
    listed = held | proved.table.apart.keys()
    assert listed >= {name for name, _ in network.named_parameters()}
    again = cut_exactly(proved.model, image, random_share(0.3))
    assert again.error < 1e-5, "what was cut can be cut again"


@pytest.mark.parametrize("kind", range(len(STEPS)))
@pytest.mark.parametrize("option", range(OPTIONS))
def test_every_step_alone(kind: int, option: int) -> None:
    torch.manual_seed(0)
    network = enliven_(Graph([(kind, 0, 1, option)])).eval()
    proved = cut_exactly(network, torch.rand(2, 3, SIDE, SIDE), random_share(0.5))
    assert proved.error < 1e-12
    assert not proved.pinned, "found out by the rules alone"
    assert len(proved.tags), "something goes"
