"""A plan made again on other weights: what is kept has their values, to the last bit."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from prunus.core.config import parse
from prunus.core.errors import ConfigError, PruningError
from prunus.model.build import build_detector
from prunus.model.channels.trace import trace
from prunus.model.detector import Detector
from prunus.model.spec import read_arch
from prunus.prune.blocks.remove import remove_blocks
from prunus.prune.config import PruneConfig
from prunus.prune.detectors import probe
from prunus.prune.evidence import Calibration
from prunus.prune.plan import Plan, make_plan
from prunus.prune.replay import removed_tags, replay
from prunus.prune.run import prune
from prunus.prune.surgery import named_tensors

BLOCK = "model.4.m.1"


@pytest.fixture
def early(nano: Detector, randomised: Callable[[nn.Module], nn.Module]) -> Detector:
    """The same architecture with other values everywhere."""
    torch.manual_seed(7)
    detector = build_detector(read_arch("yolov5n"), nano.names)
    randomised(detector)
    return detector


def plan_of(detector: Detector, blocks: tuple[str, ...] = ()) -> Plan:
    lighter = remove_blocks(detector, blocks)
    plan = prune(lighter, probe(lighter), percent=0.3, criterion="l2").plan
    return plan.model_copy(update={"blocks": blocks})


@pytest.mark.parametrize("blocks", [(), (BLOCK,)])
def test_what_is_kept_has_the_early_values_exactly(
    blocks: tuple[str, ...], nano: Detector, early: Detector
) -> None:
    plan = plan_of(nano, blocks)
    before = {name: tensor.clone() for name, tensor in named_tensors(early).items()}
    smaller, repair = replay(plan, early)
    assert repair is None
    expected = dict(named_tensors(remove_blocks(early, blocks)))
    for item in plan.shortenings:
        expected[item.tensor] = expected[item.tensor].index_select(item.dimension, item.kept())
    found = named_tensors(smaller)
    assert found.keys() == expected.keys()
    assert all(found[name].equal(expected[name]) for name in found)
    assert all(early_.equal(before[name]) for name, early_ in named_tensors(early).items())
    assert smaller(torch.rand(1, 3, 64, 64))[0].isfinite().all()


def test_the_tags_of_a_plan_are_those_that_made_it(nano: Detector) -> None:
    table = trace(nano, probe(nano))
    group = table.free_groups[3]
    tags = group.tags[1::3].sort().values
    plan = make_plan(nano, table, tags)
    assert removed_tags(plan, table).equal(tags)
    assert removed_tags(plan.model_copy(update={"shortenings": ()}), table).numel() == 0


def test_a_repair_brings_the_outputs_nearer(nano: Detector, early: Detector) -> None:
    torch.manual_seed(0)
    images = [torch.rand(4, 3, 64, 64) for _ in range(4)]
    calibration = Calibration(lambda: [image.clone() for image in images])
    plan = plan_of(nano)
    repaired, outcome = replay(plan, early, calibration, "ridge")
    assert outcome is not None
    assert outcome.errors[outcome.kept] == min(outcome.errors.values())
    assert outcome.errors["ridge"] < outcome.errors["as cut"]
    plain, _ = replay(plan, early)
    assert shapes(repaired) == shapes(plain)


def test_another_architecture_is_refused(nano: Detector) -> None:
    plan = plan_of(nano)
    other = build_detector(read_arch("yolov5s"), nano.names)
    with pytest.raises(PruningError, match=r"plan: model\.\d+\..*: expected"):
        replay(plan, other)


def test_other_classes_are_no_obstacle(nano: Detector) -> None:
    other = build_detector(read_arch("yolov5n"), ["one"])
    smaller, _ = replay(plan_of(nano), other)
    assert smaller.head.classes == 1
    assert smaller(torch.rand(1, 3, 64, 64))[0].shape[-1] == 6


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"flops": 0.5}, r"--flops: --plan says already what goes\. Leave out one of them\."),
        ({"criterion": "l1", "keep": (3,)}, r"--criterion and --keep: --plan says already"),
        ({"remove_blocks": 1, "data": "d.yaml"}, r"--remove-blocks: --plan says already"),
        ({"dry_run": True}, r"--dry-run: --plan says already"),
        ({"repair": "ridge"}, r"--repair ridge: looks at training images\. Give --data\."),
    ],
)
def test_a_plan_decides_alone(values: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse(PruneConfig, {"weights": "w.pt", "plan": "plan.json", **values})


@pytest.mark.parametrize(
    ("values", "repair"), [({}, "none"), ({"repair": "bn", "data": "d.yaml"}, "bn")]
)
def test_nothing_is_repaired_unless_asked_for(values: dict[str, object], repair: str) -> None:
    settings = parse(PruneConfig, {"weights": "w.pt", "plan": "plan.json", **values})
    assert settings.repair_again == repair


def shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    tensors: dict[str, Tensor] = copy.copy(named_tensors(network))
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}
