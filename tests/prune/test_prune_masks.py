import pytest
import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

from prunus.core.errors import PruningError
from prunus.model.detector import Detector
from prunus.model.fuse import fuse
from prunus.prune.masks import LayerSparsity, sparsify


def test_the_smallest_weights_become_zero() -> None:
    network = nn.Sequential(nn.Conv2d(5, 1, 1))
    network[0].weight.data = torch.tensor([0.3, -0.1, 2.0, -4.0, 0.2]).view(1, 5, 1, 1)
    report = sparsify(network, 0.4)
    torch.testing.assert_close(network[0].weight.flatten(), torch.tensor([0.3, 0, 2, -4, 0]))
    assert report.layers == (LayerSparsity("0", 5, 2),)
    assert report.share == report.layers[0].share == 0.4
    assert (report.parameters, report.parameter_zeros) == (6, 2)


@pytest.mark.parametrize("amount", [0.1, 0.3, 0.5])
def test_agrees_with_torch_layer_by_layer(nano: Detector, amount: float) -> None:
    fused = fuse(nano)
    expected = fuse(nano)
    for module in expected.modules():
        if isinstance(module, nn.Conv2d):
            torch_prune.l1_unstructured(module, "weight", amount)
            torch_prune.remove(module, "weight")
    sparsify(fused, amount)
    reference = expected.state_dict()
    assert all(tensor.equal(reference[name]) for name, tensor in fused.state_dict().items())


def test_per_layer_every_layer_has_the_share() -> None:
    network = nn.Sequential(nn.Conv2d(4, 10, 3), nn.Conv2d(10, 10, 1))
    network[1].weight.data *= 100
    assert [layer.share for layer in sparsify(network, 0.3).layers] == [0.3, 0.3]


def test_globally_small_layers_lose_more_and_the_total_is_the_share() -> None:
    network = nn.Sequential(nn.Conv2d(4, 10, 3), nn.Conv2d(10, 10, 1))
    network[1].weight.data = network[1].weight.data.sign() * 100
    first, second = sparsify(network, 0.3, scope="global").layers
    assert (first.zeros, second.zeros) == (138, 0)


def test_equal_weights_lose_exactly_the_share() -> None:
    network = nn.Sequential(nn.Conv2d(10, 10, 1))
    nn.init.ones_(network[0].weight)
    assert sparsify(network, 0.25).layers[0].zeros == 25


def test_the_summary_says_what_zeros_are_not_good_for() -> None:
    summary = sparsify(nn.Sequential(nn.Conv2d(10, 10, 1)), 0.5).summary()
    assert summary.startswith("50.0% of the weights of 1 convolutions are zero (45.5% of all")
    assert "dense runtimes gain no speed" in summary and "prunus prune" in summary


@pytest.mark.parametrize("amount", [0.0, 1.0, 30.0])
def test_an_amount_that_is_no_share_is_refused(amount: float) -> None:
    with pytest.raises(PruningError, match=r"amount: must lie between 0 and 1, got .* 0\.3 zeroes"):
        sparsify(nn.Sequential(nn.Conv2d(1, 1, 1)), amount)


def test_a_network_without_convolutions_is_refused() -> None:
    with pytest.raises(PruningError, match="there is no convolution"):
        sparsify(nn.Linear(2, 2), 0.5)
