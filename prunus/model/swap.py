"""A detector whose convolution blocks end in another activation: same tensors, another function."""

import copy
from dataclasses import replace

from torch import nn

from prunus.model.activations import ACTIVATIONS, activation_name
from prunus.model.blocks import ConvBlock
from prunus.model.detector import Detector


def with_activation(detector: Detector, name: str) -> Detector:
    """Return a copy whose convolution blocks, fused or not, end in another activation.

    The weights stay: until it has been trained, the copy detects badly, but it is as fast as it
    will be.

    Args:
        detector: Any; left as it is.
        name: In ACTIVATIONS, or an official spelling such as `nn.ReLU()`.

    Raises:
        ModelError: There is no such activation.
    """
    swapped = copy.deepcopy(detector)
    set_activation_(swapped, name)
    return swapped


def set_activation_(detector: Detector, name: str) -> None:
    """Do the same in place; the detector's spec says so from then on.

    Raises:
        ModelError: There is no such activation.
    """
    found = activation_name(name, "activation")
    end_in_(detector.model, found)
    detector.spec = replace(detector.spec, activation=found)


def end_in_(rows: nn.Module, name: str) -> None:
    """Give every convolution block below `rows` a new activation, by its name in ACTIVATIONS."""
    for module in rows.modules():
        if isinstance(module, ConvBlock):
            mode = module.act.training
            module.act = ACTIVATIONS[name].make().train(mode)
