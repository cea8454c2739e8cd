"""What layers see and say: patches against torch, weights against a Jacobian, sums by hand."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from prunus.core.errors import PruningError
from prunus.model.channels.trace import trace
from prunus.model.detector import Detector
from prunus.prune.evidence import Calibration, Observation
from prunus.prune.observe import moments as moments_module
from prunus.prune.observe import observation as observation_module
from prunus.prune.observe.moments import Sums, in_memory, measure_moments, moment_bytes
from prunus.prune.observe.observation import observe
from prunus.prune.observe.readers import patch_length, read_patches, readers


def ones(outputs: Sequence[Tensor]) -> list[Tensor]:
    return [torch.ones_like(output) for output in outputs]


def images(*batches: Any, weigh: Callable[[Sequence[Tensor]], Sequence[Tensor]] = ones) -> Any:
    return Calibration(lambda: batches, weigh=weigh, total=len(batches))


def look(model: nn.Module, *batches: Any, seed: int = 0) -> Observation:
    return observe(model, trace(model, batches[0]), images(*batches), seed)


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=60, deadline=None)
@given(pairs, pairs, st.tuples(st.integers(0, 2), st.integers(0, 2)), pairs, st.data())
def test_patches_are_those_that_torch_unfolds(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    data: st.DataObject,
) -> None:
    conv = nn.Conv2d(2, 4, kernel, stride, padding, dilation).double()  # type: ignore[arg-type]
    given = torch.randn(3, 2, 8, 9).double()
    unfolded = F.unfold(given, kernel, dilation, padding, stride).transpose(1, 2)
    place = st.integers(0, unfolded.size(1) - 1)
    places = torch.tensor([data.draw(st.lists(place, min_size=5, max_size=5)) for _ in range(3)])
    patches = read_patches(conv, given, places)
    assert patches.shape == (15, patch_length(conv))
    assert patches.equal(torch.cat([unfolded[i, places[i]] for i in range(3)]))
    said = conv(given).flatten(2).transpose(1, 2)
    expected = torch.cat([said[i, places[i]] for i in range(3)])
    torch.testing.assert_close(patches @ conv.weight.flatten(1).T + conv.bias, expected)


@pytest.mark.parametrize("shape", [(2, 5), (2, 4, 5), (2, 3, 4, 5)])
def test_patches_of_a_linear_layer_are_its_tokens(shape: tuple[int, ...]) -> None:
    linear, given = nn.Linear(5, 3), torch.randn(shape)
    tokens = given.reshape(2, -1, 5)
    places = torch.randint(0, tokens.size(1), (2, 6))
    expected = torch.cat([tokens[i, places[i]] for i in range(2)])
    assert read_patches(linear, given, places).equal(expected)


def test_only_layers_that_are_one_linear_map_are_readers() -> None:
    class Many(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.plain, self.linear = nn.Conv2d(4, 4, 3), nn.Linear(4, 4)
            self.grouped = nn.Conv2d(4, 4, 1, groups=2)
            self.mirrored = nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")
            self.one, self.other = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
            self.other.weight = self.one.weight

        def forward(self, x: Tensor) -> Tensor:
            x = self.mirrored(self.grouped(self.plain(x)))
            return self.linear(self.other(self.one(x)).mean((2, 3)))

    network = Many()
    assert set(readers(network, trace(network, torch.rand(1, 4, 6, 6)))) == {"plain", "linear"}


class Curved(nn.Module):
    """A convolution whose output bends before the last one reads it."""

    def __init__(self, outputs: int = 2) -> None:
        super().__init__()
        self.first, self.act = nn.Conv2d(1, 3, 1), nn.SiLU(inplace=True)
        self.last = nn.Conv2d(3, outputs, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.act(self.first(x)))


def true_weight(network: Curved, batch: Tensor) -> Tensor:
    """Return (O,) the squares of the whole Jacobian of what is behind the first convolution."""
    said = network.first(batch).detach()
    jacobian = torch.autograd.functional.jacobian(lambda t: network.last(F.silu(t)), said)
    return jacobian.flatten(0, 3).square().sum((0, 1, 3, 4)) / len(batch)


def test_weights_are_exact_for_a_single_output() -> None:
    torch.manual_seed(0)
    network, batch = Curved(1).double(), torch.randn(3, 1, 2, 2).double()
    seen = look(network, batch).layers
    torch.testing.assert_close(seen["first"].weight, true_weight(network, batch))
    torch.testing.assert_close(seen["last"].weight, torch.ones(1).double())


def test_weights_are_on_average_those_of_the_jacobian() -> None:
    torch.manual_seed(0)
    network, batch = Curved(2).double(), torch.randn(2, 1, 4, 4).double()
    means = torch.stack([look(network, batch, seed=s).layers["first"].weight for s in range(300)])
    torch.testing.assert_close(means.mean(0), true_weight(network, batch), rtol=0.1, atol=0)
    assert means.std(0).min() > 0, "signs are drawn by the seed"


def test_weighing_the_outputs_weighs_the_layers() -> None:
    torch.manual_seed(0)
    network, batch = Curved(1).double(), torch.randn(2, 1, 2, 2).double()
    table = trace(network, batch)
    plain = observe(network, table, images(batch)).layers["first"].weight
    tenfold = images(batch, weigh=lambda outputs: [10 * one for one in ones(outputs)])
    torch.testing.assert_close(observe(network, table, tenfold).layers["first"].weight, 10 * plain)


def test_targets_are_what_the_layers_say_at_the_places() -> None:
    torch.manual_seed(0)
    network = Curved().double()
    batches = list(torch.randn(2, 5, 1, 6, 6).double())
    seen = look(network, *batches)
    assert list(seen.layers) == ["first", "last"] and seen.batches == 2
    for number, batch in enumerate(batches):
        first = network.first(batch)
        for path, said in {"first": first, "last": network.last(F.silu(first))}.items():
            places, flat = seen.layers[path].places[number], said.detach().flatten(2)
            assert len(places) == 5
            expected = torch.cat([flat[i][:, places[i]].T for i in range(5)])
            torch.testing.assert_close(seen.layers[path].targets[number], expected)


def test_most_places_lie_where_the_output_matters() -> None:
    """Only the upper left corner of 16 x 16 reaches the output; 0.3 · 16 / 256 hit it by chance."""

    class Corner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x)[..., :2, :2]

    seen = look(Corner(), torch.randn(8, 1, 16, 16)).layers["conv"]
    rows, columns = seen.places[0] // 16, seen.places[0] % 16
    near = ((rows < 3) & (columns < 3)).float().mean()
    assert near == pytest.approx(0.7 + 0.3 * 9 / 256, abs=0.03), "the blur reaches one place more"


def test_many_layers_and_images_are_observed_at_fewer_places(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """3 + 2 channels of 4 bytes, in 2 batches of 8 images: 320 bytes a place."""
    batches = list(torch.randn(2, 8, 1, 20, 20))
    for allowed, places in [(320 * 50, 50), (320, observation_module.FEWEST_PLACES)]:
        monkeypatch.setattr(observation_module, "TARGET_BYTES", allowed)
        assert look(Curved(), *batches).layers["first"].places[0].shape == (8, places)


def test_the_network_is_left_alone(nano: Detector) -> None:
    nano.train().requires_grad_(False)
    nano.model[3].eval()
    weight = nano.model[0].conv.weight.requires_grad_(True)
    weight.grad = torch.ones_like(weight)
    state, before = copy.deepcopy(nano.state_dict()), flags(nano)
    seen = look(nano, torch.rand(2, 3, 64, 64))
    measure_moments(nano, seen, list(seen.layers))
    assert flags(nano) == before and weight.grad.eq(1).all()
    assert all(tensor.equal(state[name]) for name, tensor in nano.state_dict().items())


def flags(model: nn.Module) -> list[object]:
    return [
        *[(p.requires_grad, p.grad is None) for p in model.parameters()],
        *[
            (m.training, len(m._forward_hooks), len(m._forward_pre_hooks), "forward" in vars(m))
            for m in model.modules()
        ],
    ]


class Relay(nn.Module):
    """Layers called in unusual ways."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.twice, self.named = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x.relu_()
        return self.named(input=self.twice(self.twice(x)))


def test_layers_that_run_twice_are_left_out_and_keywords_are_understood() -> None:
    torch.manual_seed(0)
    network, batch = Relay(), torch.randn(4, 7, 3)
    seen = look(network, batch)
    assert set(seen.layers) == {"first", "named"}
    places = seen.layers["first"].places[0]
    said = network.first(batch).detach()
    expected = torch.cat([said[i, places[i]] for i in range(4)])
    assert seen.layers["first"].targets[0].equal(expected), "before it was written into"
    assert measure_moments(network, seen, ["named"])["named"].mean.shape == (4,)


def test_layers_that_do_not_keep_images_apart_are_left_out() -> None:
    class TokensFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.make, self.read = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.read(self.make(x).transpose(0, 1)).transpose(0, 1)

    assert set(look(TokensFirst(), torch.randn(6, 5, 3)).layers) == {"make"}


def test_inputs_without_gradients_will_do() -> None:
    class OfNumbers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.make, self.read = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.read(self.make(x.float()).sigmoid())

    network = OfNumbers().requires_grad_(False)
    table = trace(network, torch.rand(2, 3))
    seen = observe(network, table, images(torch.randint(0, 10, (2, 3))))
    assert seen.layers["make"].weight.gt(0).all() and seen.layers["read"].weight.gt(0).all()


def test_what_cannot_be_observed_is_said() -> None:
    network = Curved()
    table = trace(network, torch.rand(1, 1, 4, 4))
    with pytest.raises(PruningError, match="calibration: there are no images"):
        observe(network, table, Calibration(list))
    nn.init.constant_(network.last.bias, torch.nan)
    with pytest.raises(PruningError, match="puts out no finite numbers"):
        observe(network, table, images(torch.rand(1, 1, 4, 4)))


def test_moments_by_hand() -> None:
    """Inputs 1 and 3 with their doubles: means 2 and 4, variances 1 and 4, covariance 2."""
    sums = Sums()
    sums.add(torch.tensor([[1.0, 2.0]]))
    sums.add(torch.tensor([[3.0, 6.0]]))
    mean, covariance = sums.moments()
    assert mean.tolist() == [2, 4] and mean.dtype == torch.float64
    assert covariance.tolist() == [[1, 2], [2, 4]]


def test_moments_keep_their_digits_far_from_zero() -> None:
    torch.manual_seed(0)
    patches = 1000 + torch.randn(500, 3)
    sums = Sums()
    for part in patches.split(100):
        sums.add(part)
    expected = patches.double().T.cov(correction=0)
    torch.testing.assert_close(sums.moments().covariance, expected, rtol=1e-5, atol=1e-5)


def test_moments_are_those_of_the_patches_at_the_places() -> None:
    torch.manual_seed(0)
    network, batches = Curved().double(), list(torch.randn(3, 4, 1, 5, 5).double())
    seen = look(network, *batches)
    for used in (None, 2):
        said = [F.silu(network.first(batch)).detach() for batch in batches[:used]]
        places = seen.layers["last"].places
        patches = torch.cat(
            [read_patches(network.last, s, p) for s, p in zip(said, places, strict=False)]
        )
        found = measure_moments(network, seen, ["last"], used)["last"]
        torch.testing.assert_close(found.mean, patches.mean(0))
        torch.testing.assert_close(found.covariance, patches.T.cov(correction=0))


def test_portions_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """c needs the layers that a and b hold already; d fits no more; e alone is too large."""
    monkeypatch.setattr(moments_module, "MEMORY_BYTES", 10)
    needs = {"x": 6, "y": 4, "z": 5, "big": 99}
    paths = {"a": ["x"], "b": ["y"], "c": ["y"], "d": ["z"], "e": ["big"], "f": []}
    assert list(in_memory("abcdef", needs, paths)) == [["a", "b", "c"], ["d"], ["e"], ["f"]]
    assert list(in_memory([], needs, paths)) == []


def test_the_memory_of_moments() -> None:
    assert moment_bytes(nn.Conv2d(2, 5, 3)) == 8 * 19**2
    assert moment_bytes(nn.Linear(7, 2)) == 8 * 8**2
