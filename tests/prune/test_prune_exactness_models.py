"""Models that nobody here wrote: random weights, random cuts, exact to rounding."""

from collections import Counter

import pytest
import torch
from networks.cuts import enliven_, parameters_of, random_share, widths_disagree
from networks.foreign import ASKED

from prunus.model.channels.probe import call_quietly
from prunus.model.channels.trace import trace
from prunus.prune.comparison import difference
from prunus.prune.proof import cut_exactly

NORMALISED = "normalised together with other channels"
SUMMED = "summed up with other channels"
FIXED = "meets a constant or an input, whose length is fixed"
SORTED = "depends on the other channels"
SLICED = "sliced at fixed positions by the model's own code"
PINNED: dict[str, dict[str, int]] = {
    "ResNet": {},
    "RegNet": {},
    "ConvNeXt V2": {NORMALISED: 120, SUMMED: 480},  # its global response norm averages channels
    "MobileNetV2": {},
    "EfficientNet": {},
    "Swin": {NORMALISED: 48},
    "ViT": {NORMALISED: 32},
    "RT-DETR": {FIXED: 34, NORMALISED: 32, SUMMED: 5, SORTED: 24},
    "RT-DETR v2": {FIXED: 34, NORMALISED: 32, SUMMED: 5, SORTED: 24},
    "D-FINE": {
        FIXED: 33,
        SLICED: 256,
        NORMALISED: 8,
        SUMMED: 5,
        SORTED: 24,
        "mixed by mv": 1,
        "is spread over all channels of another tensor": 1,
    },
}
"""Channels pinned by the trace, but for those of the outputs."""
MENDED = {"RT-DETR", "RT-DETR v2"}
"""Their deformable attention views by lengths of its own, which only a cut shows."""
ALL_PINNED = {"ConvNeXt V2"}


@pytest.mark.parametrize("share", [0.3, 0.5])
@pytest.mark.parametrize("name", ASKED)
def test_the_cut_model_computes_what_the_masked_one_does(name: str, share: float) -> None:
    torch.manual_seed(0)
    network, inputs = ASKED[name]()
    enliven_(network)

    proved = cut_exactly(network, inputs, random_share(share, seed=3))

    assert proved.error < 1e-9
    assert not widths_disagree(proved.model)
    assert bool(proved.pinned) == (name in MENDED), proved.pinned
    if name not in ALL_PINNED:
        assert parameters_of(proved.model) < (1 - share / 4) * parameters_of(network)
        dense, cut = call_quietly(network, inputs), call_quietly(proved.model, inputs)
        assert difference(cut, dense) > 1e-3, "the cut must have changed something"


@pytest.mark.parametrize("name", ASKED)
def test_what_is_pinned_is_pinned_for_a_reason(name: str) -> None:
    network, inputs = ASKED[name]()
    table = trace(network, inputs)
    reasons: Counter[str] = Counter()
    for group in table.groups:
        if group.frozen and group.frozen != "an output of the model":
            reasons[group.frozen.split(" in ")[0]] += len(group)
    assert reasons == PINNED[name]
