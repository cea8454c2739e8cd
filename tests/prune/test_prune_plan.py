"""A plan, saved, read and applied to a network built anew, does what the cut did."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from networks.blocks import BLOCKS
from networks.cuts import enliven_, random_share, widths_disagree
from networks.detector_blocks import DETECTOR_BLOCKS, INPUTS
from networks.foreign import ASKED
from torch import Tensor, nn

from prunus.core.errors import PruningError
from prunus.model.build import build_detector
from prunus.model.channels.trace import trace
from prunus.model.detector import Detector
from prunus.model.spec import read_arch
from prunus.prune.blocks.remove import remove_blocks
from prunus.prune.plan import Plan, apply_plan, make_plan, read_plan
from prunus.prune.surgery import named_tensors, remove

IMAGE = torch.rand(1, 3, 8, 8)


def replayed(
    build: Callable[[], nn.Module], inputs: Any, path: Path, share: float = 0.4
) -> tuple[nn.Module, nn.Module]:
    """Return a cut network, and the plan of the cut applied to another with the same weights."""
    network = enliven_(build())
    table = trace(network, inputs)
    tags = random_share(share, seed=5)(table)
    plan = make_plan(network, table, tags)
    plan.save(path)
    assert read_plan(path) == plan
    fresh = build()
    fresh.load_state_dict(network.state_dict())
    return remove(network, table, tags), apply_plan(read_plan(path), fresh)


def assert_alike(one: nn.Module, other: nn.Module) -> None:
    """See that tensors, sharing, sizes, flags and modes are the same."""
    ours, theirs = named_tensors(one), named_tensors(other)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name
        assert tensor.requires_grad == theirs[name].requires_grad, name
        assert type(tensor) is type(theirs[name]), name
    assert len({id(tensor) for tensor in ours.values()}) == len(
        {id(tensor) for tensor in theirs.values()}
    )
    assert not widths_disagree(other)
    assert [m.training for m in one.modules()] == [m.training for m in other.modules()]
    assert [repr(m) for m in one.modules()] == [repr(m) for m in other.modules()]


def pair(width: int = 6, classes: int = 2) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, classes, 1)
    )


def plan_of(network: nn.Module, *channels: int, inputs: Tensor = IMAGE, **more: Any) -> Plan:
    table = trace(network, inputs)
    return make_plan(network, table, table.free_groups[0].tags[list(channels)], **more)


# -- what it does


@pytest.mark.parametrize("block", BLOCKS)
def test_the_replayed_cut_of_a_block_is_the_cut(
    block: Callable[[], nn.Module], tmp_path: Path
) -> None:
    assert_alike(*replayed(block, torch.rand(1, 3, 8, 8), tmp_path / "plan.json"))


@pytest.mark.parametrize("name", DETECTOR_BLOCKS)
def test_the_replayed_cut_of_a_detector_block_is_the_cut(name: str, tmp_path: Path) -> None:
    inputs: Any = INPUTS.get(name, torch.rand(1, 3, 16, 16))
    assert_alike(*replayed(DETECTOR_BLOCKS[name], inputs, tmp_path / "plan.json"))


@pytest.mark.parametrize("name", ["ResNet", "D-FINE"])
def test_the_replayed_cut_of_a_foreign_model_is_the_cut(name: str, tmp_path: Path) -> None:
    inputs = ASKED[name]()[1]
    assert_alike(*replayed(lambda: ASKED[name]()[0], inputs, tmp_path / "plan.json"))


def test_a_detector_built_anew_takes_the_pruned_weights(nano: Detector, tmp_path: Path) -> None:
    image = torch.rand(1, 3, 64, 64)
    table = trace(nano, image)
    tags = random_share(0.4)(table)
    smaller = remove(nano, table, tags).eval()
    make_plan(nano, table, tags).save(tmp_path / "plan.json")

    fresh = apply_plan(read_plan(tmp_path / "plan.json"), build_detector(nano.spec, nano.names))
    fresh.load_state_dict(smaller.state_dict())

    with torch.no_grad():
        assert all(map(torch.equal, fresh.eval()(image), smaller(image)))


def test_untouched_sizes_may_differ(nano: Detector) -> None:
    """Another number of classes is no other architecture."""
    table = trace(nano, torch.rand(1, 3, 64, 64))
    plan = make_plan(nano, table, random_share(0.4)(table))
    other = build_detector(read_arch("yolov5n"), ["one", "two", "three", "four", "five"])
    smaller = apply_plan(plan, other)
    assert smaller.model[0].conv.out_channels < other.model[0].conv.out_channels
    with torch.no_grad():
        assert smaller(torch.rand(1, 3, 64, 64))


@pytest.mark.parametrize("in_place", [False, True])
def test_blocks_go_before_channels(nano: Detector, in_place: bool, tmp_path: Path) -> None:
    image = torch.rand(1, 3, 64, 64)
    blocks = ("model.6.m.1", "model.17.m.0")
    shallower = remove_blocks(nano, blocks)
    table = trace(shallower, image)
    tags = random_share(0.4)(table)
    make_plan(shallower, table, tags, blocks=blocks).save(tmp_path / "plan.json")

    smaller = apply_plan(read_plan(tmp_path / "plan.json"), nano, in_place=in_place)

    assert_alike(remove(shallower, table, tags), smaller)
    assert smaller.spec == shallower.spec
    assert (smaller is nano) == in_place
    assert (len(nano.model[6].m) == 3) == (not in_place)


def test_norms_without_weights_remember_their_new_sizes(tmp_path: Path) -> None:
    def build() -> nn.Module:
        norms = nn.GroupNorm(6, 6, affine=False), nn.InstanceNorm2d(6)
        return nn.Sequential(nn.Conv2d(3, 6, 1), *norms, nn.Conv2d(6, 2, 1))

    smaller, again = replayed(build, IMAGE, tmp_path / "plan.json")
    assert smaller[1].num_channels == again[1].num_channels == again[2].num_features == 4
    assert again(IMAGE).equal(smaller(IMAGE))


def test_by_hand() -> None:
    plan = plan_of(pair(), 1, 4, facts={"criterion": "l2", "where": Path("a"), "levels": (1, 2)})
    places = {(item.tensor, item.dimension) for item in plan.shortenings}
    norm = {(f"1.{name}", 0) for name in ("weight", "bias", "running_mean", "running_var")}
    assert places == {("0.weight", 0), ("0.bias", 0), ("3.weight", 1), *norm}
    assert all((item.before, item.removed) == (6, (1, 4)) for item in plan.shortenings)
    assert plan.facts == {"criterion": "l2", "where": "a", "levels": [1, 2]}
    assert plan.table().splitlines() == [
        "2 of 6 channels removed; criterion l2; where a; levels [1, 2]",
        "layers  before  after  kept",
        "------  ------  -----  ----",
        "     0       6      4   67%",
    ]


# -- in place, and what is left alone


def test_a_copy_leaves_the_model_as_it_is() -> None:
    network = pair()
    state = copy.deepcopy(network.state_dict())
    smaller = apply_plan(plan_of(network, 0), network)
    assert smaller is not network and network[0].out_channels == 6
    assert all(tensor.equal(state[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("how", ["plan", "remove"])
def test_in_place_the_model_itself_is_cut(how: str) -> None:
    network = pair()
    network[0].weight.requires_grad = False
    network[1].eval()
    network[2].register_forward_hook(lambda *_: None)
    modules = list(network.modules())
    table = trace(network, IMAGE)
    tags = table.free_groups[0].tags[:2]
    expected = remove(network, table, tags)
    if how == "plan":
        result = apply_plan(make_plan(network, table, tags), network, in_place=True)
    else:
        result = remove(network, table, tags, in_place=True)
    assert result is network
    assert all(one is other for one, other in zip(network.modules(), modules, strict=True))
    assert_alike(expected, network)
    assert not network[0].weight.requires_grad and not network[1].training
    assert len(network[2]._forward_hooks) == 1


def test_in_place_a_channel_that_must_stay_changes_nothing() -> None:
    network = pair()
    table = trace(network, IMAGE)
    with pytest.raises(PruningError, match="all 6 channels would be removed"):
        remove(network, table, table.free_groups[0].tags, in_place=True)
    assert network[0].out_channels == 6 and network(IMAGE).shape == (1, 2, 6, 6)


def test_a_plan_of_what_must_stay_is_not_made() -> None:
    network = pair()
    table = trace(network, IMAGE)
    with pytest.raises(PruningError, match=r"channel \d+ must stay"):
        make_plan(network, table, table.groups[1].tags[:1])


# -- models that do not fit


def tied(share: bool) -> nn.Sequential:
    network = nn.Sequential(*(nn.Conv2d(inputs, 4, 1) for inputs in (3, 4, 4, 4)))
    if share:
        network[2].weight = network[1].weight
    return network


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize(
    ("model", "message"),
    [
        (pair(8), r"0.weight: expected 6 along dimension 0, got shape \(8, 3, 3, 3\)"),
        (nn.Sequential(*pair()[:3]), "3.weight: expected a tensor of this name, got none"),
        (nn.Sequential(*pair(), nn.PReLU()), "4.weight: expected no tensor of this name, got one"),
        (nn.Linear(3, 2), "0.weight: expected a tensor of this name, got none"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(
    model: nn.Module, message: str, in_place: bool
) -> None:
    state = copy.deepcopy(model.state_dict())
    with pytest.raises(PruningError, match=f"^plan: {message}[^\n]*$"):
        apply_plan(plan_of(pair(), 0), model, in_place=in_place)
    assert all(tensor.equal(state[name]) for name, tensor in model.state_dict().items())


def test_a_model_that_was_cut_already_is_refused() -> None:
    plan = plan_of(pair(), 0)
    with pytest.raises(PruningError, match=r"expected 6 along dimension 0, got shape \(5, 3, 3"):
        apply_plan(plan, apply_plan(plan, pair()))


def test_weights_that_are_shared_otherwise_are_refused() -> None:
    plan = plan_of(tied(True), 0)
    shared = "1.weight: expected one tensor under the names 1.weight, 2.weight, got 1.weight"
    with pytest.raises(PruningError, match=shared):
        apply_plan(plan, tied(False))
    assert apply_plan(plan, tied(True))[2].weight.shape == (3, 3, 1, 1)


def test_a_norm_of_another_size_is_refused() -> None:
    def build(width: int) -> nn.Module:
        norm = nn.InstanceNorm2d(width)
        return nn.Sequential(nn.Conv2d(3, 6, 1), norm, nn.Conv2d(6, 2, 1))

    plan = plan_of(build(6), 0)
    with pytest.raises(PruningError, match="plan: 1: expected a norm of 6 channels, got 7"):
        apply_plan(plan, build(7))


@pytest.mark.parametrize("in_place", [False, True])
def test_a_block_that_is_not_there_is_refused(nano: Detector, in_place: bool) -> None:
    image = torch.rand(1, 3, 64, 64)
    shallower = remove_blocks(nano, ["model.6.m.2"])
    plan = plan_of(shallower, 0, 1, inputs=image, blocks=["model.6.m.2"])
    with pytest.raises(
        PruningError, match=r"model\.6\.m\.2: expected a block to take out, got none"
    ):
        apply_plan(plan, shallower, in_place=in_place)
    wider = build_detector(read_arch("yolov5s"), nano.names)
    with pytest.raises(PruningError, match="expected 16 along dimension 0, got shape"):
        apply_plan(plan, wider, in_place=in_place)
    assert len(wider.model[6].m) == 3, "nothing is changed"


# -- files that are no plan


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PruningError, match=r"no.json: cannot be read: No such file"):
        read_plan(tmp_path / "no.json")


@pytest.mark.parametrize("text", ["[", "[]", "{}", '"plan"'])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(PruningError, match=r"plan\.json: no plan"):
        read_plan(tmp_path / "plan.json")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"version": 2}, "has format version 2; this Prunus reads version 1"),
        ({"widths": None}, "damaged: widths: Input should be a valid"),
        ({"tensors": []}, "damaged: .*0.weight gets shorter, but is not among the tensors"),
        ({"removed": [7]}, "damaged: .*0.weight, dimension 0: positions must ascend from 0"),
        ({"removed": [2, 1]}, "damaged: .*positions must ascend from 0"),
        ({"removed": [0, 1, 2, 3, 4, 5]}, "damaged: .*and leave one"),
    ],
)
def test_a_damaged_plan_is_refused(
    tmp_path: Path, changed: dict[str, object], message: str
) -> None:
    path = tmp_path / "plan.json"
    plan_of(pair(), 0).save(path)
    content = json.loads(path.read_text())
    if "removed" in changed:
        content["shortenings"][0] |= changed
    else:
        content |= changed
    path.write_text(json.dumps(content))
    with pytest.raises(PruningError, match=f"plan.json: {message}"):
        read_plan(path)
