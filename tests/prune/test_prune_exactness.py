"""A pruned network computes what the masked one does: over tables of blocks, and on YOLOv5."""

import copy
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from networks.blocks import BLOCKS
from networks.cuts import enliven_, parameters_of, random_share, widths_disagree
from networks.detector_blocks import DETECTOR_BLOCKS, INPUTS
from torch import Tensor, nn

from prunus.model.channels.table import ChannelTable
from prunus.model.channels.trace import trace
from prunus.model.detector import Detector
from prunus.prune.comparison import difference
from prunus.prune.proof import cut, cut_exactly
from prunus.prune.surgery import remove


@pytest.mark.parametrize("share", [0.3, 0.8])
@pytest.mark.parametrize("block", BLOCKS)
def test_the_cut_block_computes_what_the_masked_one_does(
    block: Callable[[], nn.Module], share: float
) -> None:
    torch.manual_seed(0)
    network = enliven_(block())
    image = torch.rand(2, 3, 8, 8)
    table = trace(network, image[:1])

    smaller, error = cut(network, table, random_share(share, seed=2)(table), image)

    assert error < 1e-12
    assert parameters_of(smaller) < parameters_of(network)
    assert not widths_disagree(smaller)


@pytest.mark.parametrize("share", [0.3, 0.6])
@pytest.mark.parametrize("name", DETECTOR_BLOCKS)
def test_the_cut_detector_block_computes_what_the_masked_one_does(name: str, share: float) -> None:
    torch.manual_seed(0)
    network = enliven_(DETECTOR_BLOCKS[name]())
    inputs: Any = INPUTS.get(name, torch.rand(2, 3, 16, 16))

    proved = cut_exactly(network, inputs, random_share(share, seed=4))

    assert proved.error < 1e-12
    assert all("attention" in path for path in proved.pinned), "it counts on its input's channels"
    assert parameters_of(proved.model) < parameters_of(network)
    assert not widths_disagree(proved.model)
    assert not proved.table.apart, "every parameter belongs to a group"


def masked_by_gamma_and_beta(detector: Detector, table: ChannelTable, tags: Tensor) -> nn.Module:
    """Return a copy in which only scale and offset of the removed channels are zero."""
    masked = copy.deepcopy(detector)
    parameters = dict(masked.named_parameters())
    for (name, dimension), held in table.tags.items():
        if table.roles[name, dimension] in ("scale", "offset"):
            parameters[name].data[torch.isin(held, tags)] = 0
    return masked


def check_detector(detector: Detector) -> float:
    """Cut at random 30, 50 and 80 %, compare in float32, and return the seconds of the trace."""
    side = 2 * detector.stride
    images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(3))
    start = time.perf_counter()
    table = trace(detector, images[:1])
    seconds = time.perf_counter() - start
    for seed, share in enumerate((0.3, 0.5, 0.8)):
        tags = random_share(share, seed)(table)
        smaller = remove(detector.eval(), table, tags)
        with torch.no_grad():
            expected = masked_by_gamma_and_beta(detector, table, tags)(images)
            dense, outputs = detector(images), smaller(images)
        assert difference(outputs, expected) < 1e-6, f"{share:.0%}"
        assert difference(dense, expected) > 1e-2, "the cut must have changed something"
    return seconds


@pytest.mark.parametrize("name", ["yolov5n", "yolov5s", "yolov5n6"])
def test_the_cut_yolov5_computes_what_the_masked_one_does(
    name: str, make_detector: Callable[[str], Detector]
) -> None:
    check_detector(make_detector(name))


@pytest.mark.parity
@pytest.mark.parametrize("name", ["yolov5m", "yolov5l", "yolov5x"])
def test_the_cut_large_yolov5_computes_what_the_masked_one_does(
    name: str, make_detector: Callable[[str], Detector], capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = check_detector(make_detector(name))
    with capsys.disabled():
        sys.stdout.write(f"\n{name}: traced in {seconds:.2f} s\n")


def test_a_wrong_channel_is_seen(nano: Detector) -> None:
    """The comparison would notice if one group lost other channels than the masked network."""
    images = torch.rand(1, 3, 64, 64)
    table = trace(nano, images)
    group = table.free_groups[7]
    smaller = remove(nano.eval(), table, group.tags[:4])
    with torch.no_grad():
        other = masked_by_gamma_and_beta(nano, table, group.tags[1:5])(images)
        assert difference(smaller(images), other) > 1e-4
