"""The ten architectures: published counts and FLOPs, strides, biases, and what is refused."""

import math

import pytest
import torch
from torch import nn

from prunus.core.errors import ModelError
from prunus.model.blocks import ConvBlock
from prunus.model.build import build_detector
from prunus.model.cost import count_flops, count_parameters, flops_by_layer
from prunus.model.detector import Detector
from prunus.model.families.yolov5 import repeats_of, scaled_repeats, scaled_width
from prunus.model.fuse import fuse
from prunus.model.spec import ArchSpec, arch_from_mapping, arch_names, read_arch

# name: (parameters, fused parameters, GFLOPs of the convolutions at 640, batch-norm channels)
PUBLISHED = {
    "yolov5n": (1_872_157, 1_867_405, 4.47, 4_752),
    "yolov5s": (7_235_389, 7_225_885, 16.43, 9_504),
    "yolov5m": (21_190_557, 21_172_173, 48.87, 18_384),
    "yolov5l": (46_563_709, 46_533_693, 108.99, 30_016),
    "yolov5x": (86_749_405, 86_705_005, 205.45, 44_400),
    "yolov5n6": (3_246_940, 3_239_884, 4.56, 7_056),
    "yolov5s6": (12_626_620, 12_612_508, 16.80, 14_112),
    "yolov5m6": (35_731_932, 35_704_908, 49.91, 27_024),
    "yolov5l6": (76_770_172, 76_726_332, 111.24, 43_840),
    "yolov5x6": (140_794_780, 140_730_220, 209.56, 64_560),
}
VOC_FUSED = {"yolov5n": 1_786_225, "yolov5s": 7_064_065, "yolov5m": 20_929_713}
NAMES = tuple(f"class {i}" for i in range(80))


def test_the_published_table_covers_every_architecture() -> None:
    assert sorted(PUBLISHED) == arch_names()


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_equal_the_published_ones(name: str) -> None:
    parameters, fused, gflops, channels = PUBLISHED[name]
    detector = build_detector(read_arch(name), NAMES)
    norms = [m for m in detector.modules() if isinstance(m, nn.BatchNorm2d)]
    assert count_parameters(detector) == parameters
    assert sum(norm.num_features for norm in norms) == channels
    assert round(count_flops(detector) / 1e9, 2) == gflops
    assert parameters - channels == fused, "fusing trades gamma and beta for one bias a channel"


@pytest.mark.parametrize("name", ["yolov5n", "yolov5s", "yolov5n6"])
def test_a_fused_detector_has_the_published_count(name: str) -> None:
    assert count_parameters(fuse(build_detector(read_arch(name), NAMES))) == PUBLISHED[name][1]


@pytest.mark.parametrize("name", VOC_FUSED)
def test_twenty_classes_have_the_published_count(name: str) -> None:
    assert count_parameters(fuse(build_detector(read_arch(name), NAMES[:20]))) == VOC_FUSED[name]


@pytest.mark.parametrize(
    ("name", "strides"), [("yolov5n", (8, 16, 32)), ("yolov5n6", (8, 16, 32, 64))]
)
def test_strides(name: str, strides: tuple[int, ...]) -> None:
    detector = build_detector(read_arch(name), NAMES[:3])
    assert detector.strides == strides
    assert detector.stride == strides[-1]


def test_building_leaves_batch_norm_statistics_and_modes_alone(nano: Detector) -> None:
    for module in nano.modules():
        assert module.training
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert not module.running_mean.any()
            assert (module.eps, module.momentum) == (1e-3, 0.03)


def test_first_biases_expect_eight_objects_and_spread_classes() -> None:
    torch.manual_seed(0)
    detector = build_detector(read_arch("yolov5n"), NAMES)
    for conv, stride in zip(detector.head.m, detector.strides, strict=True):
        assert isinstance(conv, nn.Conv2d)
        assert conv.bias is not None
        bias = conv.bias.detach().view(3, 85)
        reach = 1 / math.sqrt(conv.in_channels)  # torch's own initialisation lies within it
        assert (bias[:, 4] - math.log(8 / (640 / stride) ** 2)).abs().max() <= reach
        assert (bias[:, 5:] - math.log(0.6 / (80 - 0.99999))).abs().max() <= reach
        assert bias[:, :4].abs().max() <= reach


def test_one_class_has_a_finite_first_bias() -> None:
    detector = build_detector(read_arch("yolov5n"), ["only"])
    assert all(parameter.isfinite().all() for parameter in detector.parameters())


def test_state_dict_names_are_the_official_ones(nano: Detector) -> None:
    names = set(nano.state_dict())
    assert {
        "model.0.conv.weight",
        "model.0.bn.running_mean",
        "model.2.m.0.cv1.conv.weight",
        "model.9.cv1.conv.weight",
        "model.24.m.0.bias",
        "model.24.anchors",
    } <= names


def test_anchors_are_in_grid_cells_and_flipped_when_they_run_against_the_strides() -> None:
    spec = read_arch("yolov5n")
    turned = ArchSpec(**{**vars(spec), "anchors_px": spec.anchors_px[::-1]})
    expected = torch.tensor(spec.anchors_px) / torch.tensor([8.0, 16.0, 32.0]).view(3, 1, 1)
    for candidate in (spec, turned):
        torch.testing.assert_close(build_detector(candidate, NAMES[:2]).anchors, expected)


@pytest.mark.parametrize(
    ("repeats", "gain", "expected"),
    [(3, 0.33, 1), (9, 0.33, 3), (6, 0.75, 4), (1, 1.33, 1), (2, 0.1, 1), (0, 1.33, 0)],
)
def test_depth_rounds_halves_to_even(repeats: int, gain: float, expected: int) -> None:
    assert scaled_repeats(repeats, gain) == expected


@pytest.mark.parametrize("name", ["yolov5n", "yolov5n6", "yolov5x"])
def test_repeats_as_built_say_the_same_detector(name: str) -> None:
    spec = read_arch(name)
    detector = build_detector(spec, NAMES[:2])
    exact = spec.with_repeats([repeats_of(row) for row in detector.model])
    assert exact.depth_multiple == 1
    assert arch_from_mapping(exact.to_mapping(), "again") == exact
    again = build_detector(exact, NAMES[:2])
    assert list(again.state_dict()) == list(detector.state_dict())


@pytest.mark.parametrize("name", ["yolov5n6", "yolov5x"])
def test_a_c3_may_have_fewer_bottlenecks_or_none(name: str) -> None:
    """Under the depth multiples of .33 and 1.33 no row says 2 (yolov5n6) or 3 and 5 (yolov5x)."""
    spec = read_arch(name)
    counts = [1] * len(spec.rows)
    counts[2], counts[4], counts[6] = 0, 5, 2
    detector = build_detector(spec.with_repeats(counts), NAMES[:2])
    assert [len(detector.model[row].m) for row in (2, 4, 6)] == [0, 5, 2]
    assert not any(name.startswith("model.2.m.") for name in detector.state_dict())
    assert detector(torch.rand(1, 3, 128, 128))[0].shape[2] == 16


def test_a_c3_without_bottlenecks_is_three_convolutions_by_hand(nano: Detector) -> None:
    nano.model[2].m = nn.Sequential()
    block, x = nano.model[2].eval(), torch.rand(1, 32, 4, 4)
    assert block(x).equal(block.cv3(torch.cat((block.cv1(x), block.cv2(x)), dim=1)))


def test_one_number_a_row_is_needed() -> None:
    with pytest.raises(ValueError, match="is shorter than argument 1"):
        read_arch("yolov5n").with_repeats([1, 2])


def test_the_output_width_is_never_scaled() -> None:
    assert scaled_width(768, 0.5, 3 * (251 + 5)) == 768
    assert scaled_width(768, 0.5, 255) == 384
    assert scaled_width(100, 0.25, 255) == 32


def test_decoding_by_hand() -> None:
    detector = build_detector(read_arch("yolov5n"), ["a", "b"])
    maps = [torch.zeros(1, 3, 2, 2, 7), torch.zeros(1, 3, 1, 1, 7), torch.zeros(1, 3, 1, 1, 7)]
    maps[0][0, 1, 1, 0] = torch.tensor([0.0, 100.0, 0.0, -100.0, 2.0, -2.0, 0.0])
    candidates = detector.decode(maps)
    assert candidates.shape == (1, 12 + 3 + 3, 7)
    found = candidates[0, 4 + 2]  # level 0, anchor 1, row 1, column 0
    # centre (2·0.5 - 0.5)·8 = 4 and (2·1 - 0.5 + 1)·8 = 20; anchor 16x30: width 16, height 0
    sigmoid = [1 / (1 + math.exp(-x)) for x in (2.0, -2.0, 0.0)]
    torch.testing.assert_close(found, torch.tensor([4.0, 20.0, 16.0, 0.0, *sigmoid]))


def test_fusing_changes_nothing_but_rounding(nano: Detector) -> None:
    torch.manual_seed(1)
    for module in nano.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(std=0.2)
            module.running_var.uniform_(0.5, 1.5)
    images = torch.rand(2, 3, 64, 64)
    nano.eval()
    fused = fuse(nano)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    with torch.no_grad():
        for dense, folded in zip(nano(images), fused(images), strict=True):
            torch.testing.assert_close(folded, dense, rtol=1e-4, atol=1e-5)


def test_flops_by_layer_of_one_convolution_by_hand(nano: Detector) -> None:
    # row 0: 6x6 kernel, 3 → 16 channels, stride 2: 32x32 outputs at 64 px
    assert flops_by_layer(nano, (64, 64))["model.0.conv"] == 2 * 36 * 3 * 16 * 32 * 32


def test_a_spec_survives_its_mapping() -> None:
    spec = read_arch("yolov5m6")
    assert arch_from_mapping(spec.to_mapping(), "again") == spec


def test_the_blocks_pad_so_that_stride_one_keeps_the_size() -> None:
    assert ConvBlock(3, 4, 5)(torch.rand(1, 3, 7, 9)).shape == (1, 4, 7, 9)


GOOD = {
    "anchors": [[1, 2], [3, 4]],
    "backbone": [[-1, 1, "Conv", [8, 3, 2]], [-1, 1, "Conv", [8, 3, 2]]],
    "head": [[[0, 1], 1, "Detect", ["nc", "anchors"]]],
}
BAD = {
    "not a mapping": ([1], "not an architecture"),
    "no head": ({**GOOD, "head": None}, "head: expected a list"),
    "keys missing": ({"anchors": 3}, "lacks backbone, head"),
    "short row": ({**GOOD, "backbone": [[-1, 1, "Conv"]]}, r"row 0: expected \[from"),
    "later row": (
        {**GOOD, "backbone": [[5, 1, "Conv", [8]]]},
        "row 0: 'from' must name earlier rows",
    ),
    "unknown block": (
        {**GOOD, "backbone": [[-1, 1, "Focus", [8]], [-1, 1, "C3", [8]]]},
        "row 0: block 'Focus'",
    ),
    "wrong type": (
        {**GOOD, "backbone": [[-1, 1, "Conv", ["x"]], [-1, 1, "C3", [8]]]},
        "row 0: block 'Conv' does",
    ),
    "no convolution": (
        {**GOOD, "backbone": [[-1, 0, "Conv", [8]], [-1, 1, "Conv", [8]]]},
        r"row 0: block 'Conv' needs 1 repeat or more, got 0\. Only C3 may have none\.",
    ),
    "negative repeats": (
        {**GOOD, "backbone": [[-1, -1, "C3", [8]], [-1, 1, "Conv", [8]]]},
        r"mine\.yaml: row 0: repeats must be a whole number from 0 to 1000, got -1\.",
    ),
    "repeats of no number": (
        {**GOOD, "backbone": [[-1, False, "C3", [8]], [-1, 1, "Conv", [8]]]},
        "row 0: repeats must be a whole number from 0 to 1000, got False",
    ),
    "odd anchors": ({**GOOD, "anchors": [[1, 2, 3], [1, 2]]}, "width, height pairs"),
    "levels": ({**GOOD, "anchors": [[1, 2]]}, "the head reads 2 levels"),
    "misfit": (
        {**GOOD, "head": [[[0, 1], 1, "Concat", [1]], [[1, 2], 1, "Detect", ["nc", "anchors"]]]},
        "rows do not fit together",
    ),
    "no family": (
        {**GOOD, "family": "yolov4"},
        "no architecture family 'yolov4'. Did you mean 'yolov5'",
    ),
}


@pytest.mark.parametrize(("content", "words"), BAD.values(), ids=BAD.keys())
def test_a_wrong_architecture_is_explained(content: object, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        build_detector(arch_from_mapping(content, "mine.yaml"), ["a"])


def test_a_misspelt_name_is_corrected() -> None:
    with pytest.raises(ModelError, match=r"yolov5z: no such architecture\. Did you mean 'yolov5"):
        read_arch("yolov5z")
