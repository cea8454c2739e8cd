"""Blocks that can go: which, what is left without them, and how much they are worth."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from prunus.core.errors import PruningError
from prunus.export.backends import onnx as onnx_backend
from prunus.export.form import Form
from prunus.model.build import build_detector
from prunus.model.channels.trace import trace
from prunus.model.cost import count_flops, count_parameters
from prunus.model.detector import Detector
from prunus.model.fuse import fuse
from prunus.model.runner import TorchRunner
from prunus.prune.blocks.damage import block_damage, relative_squared_difference
from prunus.prune.blocks.find import removable_blocks
from prunus.prune.blocks.remove import left_out, remove_blocks
from prunus.prune.surgery import remove
from prunus.weights.files import load_weights
from prunus.weights.inspect import inspect_rows
from prunus.weights.native import save_weights

IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
PICTURE = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(4))
BACKBONE = ("2.m.0", "4.m.0", "4.m.1", "6.m.0", "6.m.1", "6.m.2", "8.m.0")
NECK = ("13.m.0", "17.m.0", "20.m.0", "23.m.0")


class Basic(nn.Module):
    """A block of ResNet, with a projection where the width changes."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.project = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += self.project(x)
        return self.relu(out)


class Residual(nn.Module):
    """A small ResNet: a chain that is called, a list that is walked, a block by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.stage1 = nn.Sequential(Basic(4, 4), Basic(4, 4), Basic(4, 4))
        self.stage2 = nn.ModuleList([Basic(4, 6), Basic(6, 6)])
        self.last = Basic(6, 6)
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stage1(self.stem(x))
        for block in self.stage2:
            x = block(x)
        return self.head(self.last(x).mean(dim=(2, 3)))


class Calls(nn.Module):
    """Calls a block with switches, and does something itself."""

    def __init__(self, block: nn.Module, *others: object, **switches: object) -> None:
        super().__init__()
        self.block, self.others, self.switches = block, others, switches

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x, *self.others, **self.switches) + 1


RESIDUAL = ("stage1.0", "stage1.1", "stage1.2", "stage2.1", "last")


@pytest.fixture
def resnet(randomised: Callable[[nn.Module], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return randomised(Residual()).eval()


def outputs_of(model: nn.Module, images: Tensor) -> list[Tensor]:
    with torch.no_grad():
        found = model.eval()(images)
    return [found] if isinstance(found, Tensor) else found


def assert_same_outputs(one: nn.Module, other: nn.Module, images: Tensor) -> None:
    for ours, theirs in zip(outputs_of(one, images), outputs_of(other, images), strict=True):
        assert torch.equal(ours, theirs)


def repeats(detector: Detector) -> dict[int, int]:
    return {i: row.repeats for i, row in enumerate(detector.spec.rows) if row.block == "C3"}


def stored(detector: Detector, tmp_path: Path) -> Detector:
    save_weights(detector, tmp_path / "blocks.safetensors")
    return load_weights(tmp_path / "blocks.safetensors").detector


# -- which


def test_the_bottlenecks_of_yolov5n_are_listed(nano: Detector) -> None:
    blocks = removable_blocks(nano)
    assert [block.path for block in blocks] == [f"model.{path}" for path in BACKBONE + NECK]
    assert [block.residual for block in blocks] == [True] * len(BACKBONE) + [False] * len(NECK)


def test_the_price_of_a_block_by_hand(nano: Detector) -> None:
    """model.2.m.0: 16 channels at 160 x 160; a 1x1 and a 3x3 convolution, two batch norms."""
    block = removable_blocks(nano)[0]
    assert block.parameters == 16 * 16 * (1 + 9) + 2 * 2 * 16
    assert block.flops == 2 * 16 * 16 * (1 + 9) * 160 * 160


def test_prices_are_what_really_goes(nano: Detector) -> None:
    for block in removable_blocks(nano)[1::4]:
        smaller = remove_blocks(nano, [block.path])
        assert count_parameters(nano) - count_parameters(smaller) == block.parameters
        assert count_flops(nano) - count_flops(smaller) == block.flops


def test_of_nested_blocks_the_smallest_residual_ones_are_listed(resnet: nn.Module) -> None:
    """Not stage1, which is as good as residual, and not what lies inside a block."""
    blocks = removable_blocks(resnet, PICTURE)
    assert tuple(block.path for block in blocks if block.residual) == RESIDUAL
    assert tuple(block.path for block in blocks) == RESIDUAL
    # 4 channels: two 3x3 convolutions with bias and two batch norms; 16 x 16 pixels, one image
    assert blocks[0].parameters == 2 * (4 * 4 * 9 + 4) + 2 * 2 * 4
    assert blocks[0].flops == 2 * 2 * 4 * 4 * 9 * 16 * 16


def test_without_a_sum_the_innermost_entries_of_a_chain_are_listed() -> None:
    def layer(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(inputs, outputs, 1), nn.BatchNorm2d(outputs), nn.ReLU())

    network = nn.Sequential(layer(3, 4), nn.Sequential(layer(4, 4), layer(4, 4)), layer(4, 2))
    blocks = removable_blocks(network, PICTURE)
    assert [(block.path, block.residual) for block in blocks] == [("1.0", False), ("1.1", False)]


def test_a_block_may_be_called_with_switches() -> None:
    class Switched(Basic):
        def forward(self, x: Tensor, mask: Tensor | None, fast: bool = False) -> Tensor:
            assert mask is None and fast
            return super().forward(x)

    network = Calls(Switched(3, 3), None, fast=True)
    (block,) = removable_blocks(network, PICTURE)
    assert (block.path, block.residual) == ("block", True)
    smaller = remove_blocks(network, ["block"], PICTURE)
    assert outputs_of(smaller, PICTURE)[0].equal(PICTURE + 1)


def test_looking_changes_nothing(resnet: nn.Module) -> None:
    resnet.train()
    resnet.stage1[0].eval()
    modes = [module.training for module in resnet.modules()]
    state = copy.deepcopy(resnet.state_dict())
    removable_blocks(resnet, PICTURE)
    assert [module.training for module in resnet.modules()] == modes
    assert not any(module._forward_hooks for module in resnet.modules())
    assert all(tensor.equal(state[name]) for name, tensor in resnet.state_dict().items())


# -- removing from a detector


def test_removing_nothing_changes_nothing(nano: Detector, resnet: nn.Module) -> None:
    same = remove_blocks(nano, [])
    assert same is not nano
    assert same.spec == nano.spec
    assert_same_outputs(same, nano, IMAGES)
    assert_same_outputs(remove_blocks(resnet, [], PICTURE), resnet, PICTURE)


@pytest.mark.parametrize("gone", [BACKBONE[:1], NECK[:1], ("6.m.1", "4.m.0", "20.m.0")])
def test_a_file_without_blocks_comes_back_to_the_bit(
    nano: Detector, tmp_path: Path, gone: tuple[str, ...]
) -> None:
    paths = [f"model.{path}" for path in gone]
    smaller = remove_blocks(nano, paths)
    loaded = stored(smaller, tmp_path)
    assert_same_outputs(loaded, smaller, IMAGES)
    assert loaded.spec.rows == smaller.spec.rows
    with left_out(nano, paths):
        assert_same_outputs(loaded, nano, IMAGES)


def test_later_blocks_move_up(nano: Detector) -> None:
    smaller = remove_blocks(nano, ["model.6.m.1"])
    before, after = nano.model[6].m, smaller.model[6].m
    assert len(after) == 2
    assert after[1].cv1.conv.weight.equal(before[2].cv1.conv.weight)
    assert not any("model.6.m.2" in name for name in smaller.state_dict())


def test_rows_say_the_repeats_that_are_left(nano: Detector) -> None:
    """The depth multiple of .33 could not say 2 and 3: both of them are 1."""
    smaller = remove_blocks(nano, ["model.6.m.0", "model.23.m.0"])
    assert repeats(smaller) == {2: 1, 4: 2, 6: 2, 8: 1, 13: 1, 17: 1, 20: 1, 23: 0}
    assert smaller.spec.depth_multiple == 1
    assert [row.repeats for row in inspect_rows(smaller) if row.block == "C3"] == [
        *repeats(smaller).values()
    ]
    assert (nano.spec.depth_multiple, nano.spec.rows[6].repeats) == (0.33, 9)
    assert len(nano.model[6].m) == 3


def test_blocks_can_go_one_after_another(nano: Detector, tmp_path: Path) -> None:
    """What is called m.1 is m.0 once m.0 is gone."""
    stepwise = stored(remove_blocks(nano, ["model.6.m.0"]), tmp_path)
    stepwise = stored(remove_blocks(stepwise, ["model.6.m.0"]), tmp_path)
    assert_same_outputs(stepwise, remove_blocks(nano, ["model.6.m.1", "model.6.m.0"]), IMAGES)
    assert repeats(stepwise)[6] == 1


def test_all_blocks_can_go(nano: Detector, tmp_path: Path) -> None:
    smaller = remove_blocks(nano, [block.path for block in removable_blocks(nano)])
    assert set(repeats(smaller).values()) == {0}
    assert removable_blocks(smaller) == ()
    assert_same_outputs(stored(smaller, tmp_path), smaller, IMAGES)
    with pytest.raises(PruningError, match=r"'model\.2\.m\.0' cannot be removed: there is no such"):
        remove_blocks(smaller, ["model.2.m.0"])


@pytest.mark.parametrize("name", ["yolov5n6", "yolov5m"])
def test_deeper_architectures_come_back_too(
    make_detector: Callable[[str], Detector], name: str, tmp_path: Path
) -> None:
    dense = make_detector(name)
    blocks = removable_blocks(dense)
    smaller = remove_blocks(dense, [block.path for block in blocks[::2]])
    loaded = stored(smaller, tmp_path)
    assert_same_outputs(loaded, smaller, torch.rand(1, 3, 64, 64))
    assert sum(repeats(loaded).values()) == len(blocks) - len(blocks[::2])
    fresh = build_detector(loaded.spec, loaded.names)
    assert list(fresh.state_dict()) == list(smaller.state_dict())


def cut_everywhere(detector: Detector) -> Detector:
    """Remove a few channels of every group, as pruning would."""
    table = trace(detector, torch.rand(1, 3, 64, 64))
    tags = torch.cat([group.tags[:3] for group in table.free_groups])
    return remove(detector, table, tags)


def test_channels_are_cut_after_blocks_and_before(nano: Detector, tmp_path: Path) -> None:
    shallow = remove_blocks(nano, ["model.4.m.0", "model.8.m.0", "model.17.m.0"])
    narrow = cut_everywhere(shallow)
    assert count_parameters(narrow) < count_parameters(shallow)
    loaded = stored(narrow, tmp_path)
    assert_same_outputs(loaded, narrow, IMAGES)
    assert repeats(loaded) == repeats(shallow)

    again = remove_blocks(cut_everywhere(nano), ["model.4.m.1", "model.8.m.0"])
    assert_same_outputs(stored(again, tmp_path), again, IMAGES)


def test_a_block_whose_widths_were_cut_apart_stays(nano: Detector) -> None:
    """In the neck nothing ties what enters a bottleneck to what leaves it."""
    table = trace(nano, torch.rand(1, 3, 64, 64))
    (group,) = (group for group in table.free_groups if group.name == "model.13.cv1.conv")
    narrow = remove(nano, table, group.tags[:2])
    assert "model.13.m.0" not in [block.path for block in removable_blocks(narrow)]
    with pytest.raises(
        PruningError, match=r"'model\.13\.m\.0' cannot be removed: it turns \(1, 62, 4, 4\) float32"
    ):
        remove_blocks(narrow, ["model.13.m.0"])


def test_what_is_left_can_learn_and_be_exported(nano: Detector, tmp_path: Path) -> None:
    smaller = stored(remove_blocks(nano, ["model.2.m.0", "model.6.m.1"]), tmp_path).train()
    sum(raw.square().mean() for raw in smaller(IMAGES)).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in smaller.parameters())
    path = tmp_path / "shallow.onnx"
    onnx_backend.write(smaller.eval(), path, Form((64, 64)))
    pictures = (IMAGES[:1] * 255).to(torch.uint8)
    in_torch = TorchRunner(fuse(smaller), torch.device("cpu"), "fp32")(pictures)
    in_onnx = onnx_backend.open(path, device="cpu", threads=1)(pictures)
    torch.testing.assert_close(in_onnx, in_torch, rtol=1e-3, atol=1e-2)


# -- removing from any network


def test_entries_of_a_sequential_close_up_and_others_become_identities(resnet: nn.Module) -> None:
    paths = ["stage1.1", "stage2.1", "last"]
    smaller = remove_blocks(resnet, paths, PICTURE)
    assert len(smaller.stage1) == 2
    assert smaller.stage1[1].conv1.weight.equal(resnet.stage1[2].conv1.weight)
    assert isinstance(smaller.stage2[1], nn.Identity)
    assert isinstance(smaller.last, nn.Identity)
    with left_out(resnet, paths):
        assert_same_outputs(smaller, resnet, PICTURE)
    rest = [block.path for block in removable_blocks(smaller, PICTURE)]
    assert rest == ["stage1.0", "stage1.1"]


def test_left_out_by_hand(resnet: nn.Module) -> None:
    """Without all residual blocks: the stem, the one block that widens, the mean, the head."""
    smaller = remove_blocks(resnet, RESIDUAL, PICTURE)
    with torch.no_grad():
        x = resnet.stage2[0](resnet.stem(PICTURE)).mean(dim=(2, 3))
        assert smaller(PICTURE).equal(resnet.head(x))


def test_named_entries_keep_their_names() -> None:
    network = nn.Sequential()
    for name in ("first", "second", "third"):
        network.add_module(name, Basic(3, 3))
    smaller = remove_blocks(network, ["second"], PICTURE)
    assert [name for name, _ in smaller.named_children()] == ["first", "third"]


def test_flags_modes_and_hooks_go_with_the_copy(resnet: nn.Module) -> None:
    resnet.train()
    resnet.stage1[2].conv1.weight.requires_grad = False
    resnet.stage1.register_forward_hook(lambda *_: None)
    smaller = remove_blocks(resnet, ["stage1.0"], PICTURE)
    assert all(module.training for module in smaller.modules())
    assert not smaller.stage1[1].conv1.weight.requires_grad
    assert len(smaller.stage1._forward_hooks) == 1
    assert "forward" not in vars(resnet.stage1[0])


def test_a_network_that_counts_on_its_blocks_keeps_them() -> None:
    class Indexed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.Sequential(Basic(3, 3), Basic(3, 3))

        def forward(self, x: Tensor) -> Tensor:
            return self.blocks[1](self.blocks[0](x)) * 2

    torch.manual_seed(0)
    with pytest.raises(
        PruningError, match=r"without blocks\.0 the network does not run: index 1 is out of range"
    ):
        remove_blocks(Indexed(), ["blocks.0"], PICTURE)

    class Picky(Indexed):
        def forward(self, x: Tensor) -> Tensor:
            return self.blocks(x) * len(self.blocks)

    with pytest.raises(
        PruningError, match=r"without blocks\.0 the network computes something else"
    ):
        remove_blocks(Picky(), ["blocks.0"], PICTURE)


class Odd(nn.Module):
    """Modules that cannot go, each for a reason of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 1)
        self.empty = nn.Sequential(nn.ReLU(), nn.Identity())
        self.idle = nn.Sequential(nn.Conv2d(3, 3, 1))
        self.wide = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 1))
        self.twice = nn.Sequential(nn.Conv2d(5, 5, 1))
        self.again = self.twice
        self.stage = nn.Sequential(Basic(5, 5))
        self.pair = Pair()

    def forward(self, x: Tensor) -> Tensor:
        x = self.again(self.twice(self.wide(self.empty(self.layer(x)))))
        return self.pair(self.stage(x), x)


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(5, 5, 1)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        return self.conv(one) + other


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("", "it is the whole network"),
        ("layer", "it is a single layer"),
        ("empty", "it has no parameters"),
        ("idle", "it is never called by itself"),
        ("wide", r"it turns \(2, 3, 16, 16\) float32 into \(2, 5, 16, 16\) float32, so that"),
        ("twice", "it is the same module as again"),
        ("stage", "smaller blocks lie inside it: remove those, such as 'stage.0'"),
        ("pair", "it is called with something else than one tensor"),
        ("stage.1", r"there is no such module. Did you mean 'stage.0'\?"),
    ],
)
def test_what_is_no_block_says_why(path: str, words: str) -> None:
    with pytest.raises(PruningError, match=f"^block '{path}' cannot be removed: {words}") as caught:
        remove_blocks(Odd(), [path], PICTURE)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["model.9", "model.2", "model.2.m.0.cv1"])
def test_rows_that_cannot_say_it_keep_a_module(nano: Detector, path: str) -> None:
    words = r"the rows of a detector can only say fewer repeats of a block, such as model\.2\.m\.0,"
    with pytest.raises(PruningError, match=words):
        remove_blocks(nano, [path])


class Branched(nn.Module):
    """A branch of two small blocks, with the input added on or not."""

    def __init__(self, add: bool) -> None:
        super().__init__()
        self.add = add
        self.one = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())
        self.rest = nn.Sequential(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()))

    def forward(self, x: Tensor) -> Tensor:
        out = self.rest(self.one(x))
        return x + out if self.add else out


@pytest.mark.parametrize(
    ("network", "listed"),
    [
        (nn.Sequential(Branched(add=True), Branched(add=True)), ["0", "1"]),
        (nn.Sequential(Branched(add=True), Branched(add=False)), ["0", "1.one", "1.rest.0"]),
        (nn.Sequential(Calls(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()))), ["0"]),
        (Calls(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())), ["block"]),
    ],
)
def test_no_listed_block_lies_inside_another(network: nn.Module, listed: list[str]) -> None:
    assert [block.path for block in removable_blocks(network, PICTURE)] == listed


def test_what_lies_inside_a_block_goes_with_it() -> None:
    network = nn.Sequential(nn.Sequential(Branched(add=True), Branched(add=True)))
    with pytest.raises(PruningError, match=r"it lies inside '0\.1', which goes as a whole"):
        remove_blocks(network, ["0.1.rest"], PICTURE)


def test_another_network_needs_inputs(resnet: nn.Module) -> None:
    with pytest.raises(PruningError, match="blocks: give example inputs"):
        removable_blocks(resnet)


# -- damage


def test_the_difference_by_hand() -> None:
    """Level 1: 4 / 2; level 2: (1 + 1) / 8; their mean."""
    whole = [torch.tensor([0.0, 2.0]), torch.tensor([1.0, 5.0])]
    without = [torch.tensor([0.0, 4.0]), torch.tensor([2.0, 4.0])]
    assert relative_squared_difference(without, whole) == pytest.approx((2 + 0.25) / 2)


def test_the_difference_does_not_know_units() -> None:
    whole, without = torch.rand(2, 30, generator=torch.Generator().manual_seed(0))
    once = relative_squared_difference(without, whole)
    assert relative_squared_difference(without * 7 + 3, whole * 7 + 3) == pytest.approx(once)
    assert relative_squared_difference(whole, whole) == 0
    assert relative_squared_difference(torch.ones(3), torch.ones(3)) == 0, "nothing varies"


def test_damage_is_the_distance_from_the_network_without_the_block(nano: Detector) -> None:
    paths = ["model.2.m.0", "model.17.m.0"]
    damage = block_damage(nano, paths, [IMAGES[:1], IMAGES[1:]])
    for path in paths:
        smaller = remove_blocks(nano, [path])
        expected = [
            relative_squared_difference(outputs_of(smaller, image), outputs_of(nano, image))
            for image in (IMAGES[:1], IMAGES[1:])
        ]
        assert damage[path] == pytest.approx(sum(expected) / 2)


def test_a_block_that_adds_nothing_does_no_damage(resnet: nn.Module) -> None:
    nn.init.zeros_(resnet.stage1[1].bn2.weight)
    nn.init.zeros_(resnet.stage1[1].bn2.bias)
    damage = block_damage(resnet, RESIDUAL, [PICTURE])
    assert damage.pop("stage1.1") == 0
    assert all(value > 0 for value in damage.values())


def test_a_distance_of_ones_own_is_averaged_over_images(resnet: nn.Module) -> None:
    sizes = iter((2.0, 5.0))

    def distance(_outputs: object, _whole: object) -> float:
        return next(sizes)

    batches = (batch for batch in (PICTURE, PICTURE[:1]))  # iterated once: a generator will do
    assert block_damage(resnet, ["last"], batches, distance) == {"last": pytest.approx(9 / 3)}


def test_judging_changes_nothing(resnet: nn.Module) -> None:
    resnet.train()
    before = copy.deepcopy(resnet.state_dict())
    block_damage(resnet, RESIDUAL, [PICTURE])
    assert all(tensor.equal(before[name]) for name, tensor in resnet.state_dict().items())
    assert all(module.training and "forward" not in vars(module) for module in resnet.modules())


def test_a_forward_of_its_own_comes_back(resnet: nn.Module) -> None:
    def own(x: Tensor) -> Tensor:
        return x * 2

    resnet.last.forward = own
    with left_out(resnet, ["last"]):
        assert resnet.last(PICTURE).equal(PICTURE)
    assert resnet.last.forward is own


@pytest.mark.parametrize(
    ("paths", "images", "words"),
    [
        (RESIDUAL, [], "block damage: there are no images"),
        (["stem"], [PICTURE], "block 'stem' cannot be removed: it turns"),
        (["last"], [PICTURE * torch.nan], "last: outputs without it are not finite"),
    ],
)
def test_damage_that_cannot_be_told(
    resnet: nn.Module, paths: Any, images: list[Tensor], words: str
) -> None:
    with pytest.raises(PruningError, match=words):
        block_damage(resnet, paths, images)
