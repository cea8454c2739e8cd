import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune as torch_prune

from prunus.core.errors import PruningError
from prunus.core.shares import Pattern
from prunus.model.detector import Detector
from prunus.model.fuse import fuse
from prunus.model.nm import check_nm
from prunus.prune.masks.choose import sparsify
from prunus.prune.masks.methods import METHODS
from prunus.prune.masks.report import LayerSparsity
from prunus.prune.masks.size import compressed_bytes

every_method = pytest.mark.parametrize("method", METHODS)


def test_the_smallest_weights_become_zero() -> None:
    network = nn.Sequential(nn.Conv2d(5, 1, 1))
    network[0].weight.data = torch.tensor([0.3, -0.1, 2.0, -4.0, 0.2]).view(1, 5, 1, 1)
    report = sparsify(network, 0.4)
    torch.testing.assert_close(network[0].weight.flatten(), torch.tensor([0.3, 0, 2, -4, 0]))
    assert report.layers == (LayerSparsity("0", 5, 2),)
    assert report.share == report.layers[0].share == 0.4
    assert (report.parameters, report.parameter_zeros) == (6, 2)


def test_zeros_are_positive_ones_so_that_they_compress() -> None:
    network = nn.Sequential(nn.Linear(4, 1))
    network[0].weight.data = torch.tensor([[-1.0, -2.0, -3.0, -4.0]])
    sparsify(network, 0.5)
    assert not network[0].weight[network[0].weight == 0].signbit().any()


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


def test_random_goes_by_its_seed_and_not_by_size() -> None:
    def zeros(seed: int) -> torch.Tensor:
        network = nn.Sequential(nn.Conv2d(8, 8, 3))
        network[0].weight.data = torch.arange(1.0, 577.0).view(8, 8, 3, 3)
        assert sparsify(network, 0.5, method="random", seed=seed).layers[0].zeros == 288
        return network[0].weight == 0

    assert zeros(0).equal(zeros(0))
    assert not zeros(0).equal(zeros(1))
    assert 90 < int(zeros(0).flatten()[:288].sum()) < 200, "half of the small ones stay"


@every_method
@given(kept=st.integers(1, 7), channels=st.integers(1, 24), kernel=st.integers(1, 3))
def test_any_network_keeps_at_most_n_of_m_or_says_why_not(
    method: str, kept: int, channels: int, kernel: int
) -> None:
    pattern = Pattern(kept, 8)
    network = nn.Sequential(nn.Conv2d(channels, 4, kernel), nn.Conv2d(16, 3, 1), nn.Linear(8, 2))
    report = sparsify(network, pattern=pattern, method=method)
    assert report.checks == check_nm(network, *pattern)
    assert all(check.violations == 0 for check in report.checks)
    assert [check.layer for check in report.left_dense] == (["0"] if channels % 8 else [])
    assert report.layers[1].share == report.layers[2].share == pattern.zeros


def test_2_of_4_on_a_detector_leaves_the_stem_dense_and_says_so(nano: Detector) -> None:
    report = sparsify(nano, pattern=Pattern(2, 4))
    (stem,) = report.left_dense
    assert stem.layer == "model.0.conv"
    assert stem.reason == "3 input channels: no multiple of 4"
    assert {layer.share for layer in report.layers} == {0.0, 0.5}
    summary = report.summary()
    assert "left dense: model.0.conv (3 input channels: no multiple of 4). 2:4 runs" in summary
    assert "\n" not in summary


def test_folding_batch_norm_keeps_the_zeros(nano: Detector) -> None:
    before = sparsify(nano, pattern=Pattern(1, 4))
    fused = fuse(nano)
    assert all(check.violations == 0 for check in check_nm(fused, 1, 4))
    zeros = [int((m.weight == 0).sum()) for m in fused.modules() if isinstance(m, nn.Conv2d)]
    assert zeros == [layer.zeros for layer in before.layers]


def test_the_summary_says_what_zeros_are_not_good_for() -> None:
    summary = sparsify(nn.Sequential(nn.Conv2d(10, 10, 1)), 0.5).summary()
    assert summary.startswith("50.0% of the weights of 1 layers are zero (45.5% of all")
    assert "dense runtimes gain no speed" in summary and "prunus prune" in summary


def test_zeros_shrink_what_gzip_makes_of_the_weights() -> None:
    torch.manual_seed(0)
    network = nn.Linear(100, 100, bias=False)
    dense = compressed_bytes(network.state_dict())
    assert 15_000 < dense < 20_100, "two bytes a weight, of which gzip saves little"
    sparsify(network, 0.9)
    assert compressed_bytes(network.state_dict()) < 0.3 * dense
    whole = {"steps": torch.zeros(1000, dtype=torch.int64)}
    assert compressed_bytes(whole) < 100


@pytest.mark.parametrize("amount", [0.0, 1.0, 30.0])
def test_an_amount_that_is_no_share_is_refused(amount: float) -> None:
    with pytest.raises(PruningError, match=r"amount: must lie between 0 and 1, got .* 0\.3 zeroes"):
        sparsify(nn.Sequential(nn.Conv2d(1, 1, 1)), amount)


def test_a_network_without_layers_that_have_weights_is_refused() -> None:
    with pytest.raises(PruningError, match="there is no convolution or linear layer"):
        sparsify(nn.BatchNorm2d(2), 0.5)


def test_an_unknown_method_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(PruningError, match=r"no method 'randon'\. Did you mean 'random'\?.* l1, "):
        sparsify(nn.Linear(2, 2), 0.5, method="randon")


@pytest.mark.parametrize("pattern", [None, Pattern(2, 4)])
def test_a_share_and_a_pattern_exclude_each_other(pattern: Pattern | None) -> None:
    with pytest.raises(PruningError, match="amount, pattern: give one of them"):
        sparsify(nn.Linear(4, 4), None if pattern is None else 0.5, pattern=pattern)


def test_a_pattern_that_fits_nowhere_is_refused() -> None:
    with pytest.raises(PruningError, match="2:64: no layer's input channels are a multiple of 64"):
        sparsify(nn.Linear(4, 4), pattern=Pattern(2, 64))
