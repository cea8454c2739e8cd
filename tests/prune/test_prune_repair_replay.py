"""Replayed or run anew: the same arrives at each layer."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from prunus.model.detector import Detector
from prunus.prune.repair import replay as replay_module
from prunus.prune.repair.replay import Replay

Randomise = Callable[[nn.Module], nn.Module]


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x)))


class Nested(nn.Module):
    """Blocks in blocks, a residual that is written into, an activation that writes what is reused.

    And a pooling that runs twice, a part that gives two tensors, a layer called by keyword.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.body = nn.ModuleList([nn.Sequential(Block(), Block()), Block()])
        self.early = nn.ReLU(inplace=True)
        self.middle = nn.Conv2d(4, 4, 1)
        self.pool = nn.MaxPool2d(3, 1, 1)
        self.two = Two()
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for part in self.body:
            x += part(x)
            x.mul_(0.5)
        x = x - 0.2
        said = self.middle(self.early(x)) + x  # `x` is what `early` has made of it
        one, other = self.two(self.pool(self.pool(said)))
        return self.head(input=torch.cat((one, other), dim=1))


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.a(x), self.b(x)


@pytest.fixture
def nested(randomised: Randomise) -> nn.Module:
    torch.manual_seed(0)
    return randomised(Nested()).eval()


@pytest.fixture
def batches() -> list[Tensor]:
    return list(torch.randn(3, 2, 3, 6, 6))


def layers(network: nn.Module) -> list[str]:
    """Return the paths of the convolutions, in the order in which those of `Nested` run."""
    return [path for path, module in network.named_modules() if isinstance(module, nn.Conv2d)]


def anew(network: nn.Module, path: str, batches: list[Tensor]) -> list[Tensor]:
    """Return what arrives at a layer when everything runs."""
    arrived: list[Tensor] = []

    def note(_layer: object, given: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
        arrived.append((given[0] if given else named["input"]).clone())

    hook = network.get_submodule(path).register_forward_pre_hook(note, with_kwargs=True)
    with torch.no_grad():
        for batch in batches:
            network(batch.clone())
    hook.remove()
    return arrived


def change_(network: nn.Module, path: str) -> None:
    layer = network.get_submodule(path)
    assert isinstance(layer, nn.Conv2d)
    layer.weight.data += 0.1 * torch.randn_like(layer.weight)


def is_clean(network: nn.Module) -> bool:
    return not any(
        "forward" in vars(module) or module._forward_hooks or module._forward_pre_hooks
        for module in network.modules()
    )


def bytes_of(tensors: list[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@pytest.mark.parametrize("skipped", [0, 4])
@pytest.mark.parametrize("allowed", [1 << 30, 6000, 2000, 0])
def test_arrives_what_would_arrive_anew_though_layers_change(
    nested: nn.Module,
    batches: list[Tensor],
    allowed: int,
    skipped: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A record of one module is 3456 bytes: all fit, one does, a part of one, none."""
    monkeypatch.setattr(replay_module, "REPLAY_BYTES", allowed)
    replay = Replay(nested, lambda: [batch.clone() for batch in batches])
    for path in layers(nested)[skipped:]:
        given = list(replay.inputs_of(path))
        for one, other in zip(given, anew(nested, path, batches), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0)
        assert sum(bytes_of(said) for said in replay._records.values()) == replay._bytes <= allowed
        change_(nested, path)
    assert is_clean(nested)


def test_finished_modules_do_not_run_again(nested: nn.Module, batches: list[Tensor]) -> None:
    replay = Replay(nested, lambda: [batch.clone() for batch in batches])
    for path in ("body.0.1.conv", "middle"):
        list(replay.inputs_of(path))
    ran: list[str] = []
    for path in ("stem", "body.0.0.conv", "body.1.act"):
        nested.get_submodule(path).register_forward_hook(lambda *_, path=path: ran.append(path))
    list(replay.inputs_of("two.b"))
    assert ran == ["stem"] * len(batches), "its hooks, but not what is inside of the body"
    assert set(replay._records) == {"stem", "body.0", "body.1", "middle", "two.a"}


def test_only_what_is_written_into_is_copied(nested: nn.Module, batches: list[Tensor]) -> None:
    replay = Replay(nested, lambda: [batch.clone() for batch in batches])
    for path in ("middle", "two.a"):  # the second replays; what it spoils is known then
        list(replay.inputs_of(path))
    assert replay._written == {"stem"}, "the residual is written into it"
    for path in ("two.b", "head"):  # recorded again, and copied
        list(replay.inputs_of(path))
    assert "stem" in replay._records
    plain = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1))
    replay = Replay(plain, lambda: batches)
    list(replay.inputs_of("1"))
    given = list(replay.inputs_of("1"))
    assert all(one is said for one, said in zip(given, replay._records["0"], strict=True))


def test_a_consumer_may_stop_early_or_raise(nested: nn.Module, batches: list[Tensor]) -> None:
    replay = Replay(nested, lambda: iter([batch.clone() for batch in batches]))
    list(replay.inputs_of("body.0.1.conv"))
    held = replay.inputs_of("middle")
    next(held)
    assert is_clean(nested), "between batches too"
    held.close()
    with pytest.raises(ZeroDivisionError, match="division"):
        for _ in replay.inputs_of("middle"):
            1 / 0  # noqa: B018
    assert is_clean(nested)
    given = list(replay.inputs_of("two.a"))
    assert all(
        one.equal(other) for one, other in zip(given, anew(nested, "two.a", batches), strict=True)
    )


def test_somebodys_own_forward_is_put_back(nested: nn.Module, batches: list[Tensor]) -> None:
    own = nested.stem.forward  # type: ignore[union-attr]

    def patched(x: Tensor) -> Tensor:
        return own(x) + 1

    nested.stem.forward = patched  # type: ignore[union-attr,method-assign,assignment]
    replay = Replay(nested, lambda: [batch.clone() for batch in batches])
    list(replay.inputs_of("middle"))

    def fail(*_: object) -> None:
        raise RuntimeError("somewhere")

    hook = nested.body[1].register_forward_pre_hook(fail)  # type: ignore[index,union-attr]
    with pytest.raises(RuntimeError, match="somewhere"):
        list(replay.inputs_of("two.a"))
    hook.remove()
    assert nested.stem.forward is patched  # type: ignore[union-attr]
    del nested.stem.forward  # type: ignore[union-attr]
    assert is_clean(nested)


def test_modes_are_as_found(nested: nn.Module, batches: list[Tensor]) -> None:
    nested.train()
    nested.body[0].eval()  # type: ignore[index]
    modes = [module.training for module in nested.modules()]
    replay = Replay(nested, lambda: batches)
    list(replay.inputs_of("head"))
    assert [module.training for module in nested.modules()] == modes


def test_a_detector_replays_what_it_runs(nano: Detector) -> None:
    nano.eval()
    given = list(torch.rand(2, 1, 3, 64, 64))

    def batches() -> Iterator[Tensor]:
        return iter(given)

    replay = Replay(nano, batches)
    for path in ("model.2.m.0.cv2.conv", "model.9.cv2.conv", "model.13.cv3.conv", "model.24.m.1"):
        arrived = list(replay.inputs_of(path))
        for one, other in zip(arrived, anew(nano, path, given), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0)
        change_(nano, path)
