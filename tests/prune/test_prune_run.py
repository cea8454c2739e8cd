import copy
from pathlib import Path

import pytest
import torch

from prunus.core.errors import PruningError
from prunus.model.cost import count_flops, count_parameters
from prunus.model.detector import Detector
from prunus.prune.run import Calibration, prune
from prunus.weights.files import load_weights
from prunus.weights.native import save_weights


@pytest.mark.parametrize("criterion", ["bn_scale", "l1"])
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_half_of_the_channels_go(nano: Detector, criterion: str, scope: str) -> None:
    result = prune(nano, criterion=criterion, percent=0.5, scope=scope)  # type: ignore[arg-type]
    assert result.selection.achieved == pytest.approx(0.5, abs=0.04)
    assert result.error < 1e-12
    assert result.params == (count_parameters(nano), count_parameters(result.detector))
    assert result.flops == (count_flops(nano), count_flops(result.detector))
    assert result.params[1] < 0.5 * result.params[0]
    assert not result.fold.skipped
    for width in result.selection.widths:
        assert width.after >= 8 and (width.after % 8 == 0 or width.after == width.before)
    maps = result.detector.eval()(torch.rand(1, 3, 64, 64))
    assert [tuple(level.shape) for level in maps] == [(1, 3, s, s, 8) for s in (8, 4, 2)]


def test_the_table_shows_every_layer_and_why(nano: Detector) -> None:
    lines = prune(nano, percent=0.6).table().splitlines()
    assert "of the prunable channels removed (60.0% asked)" in lines[0]
    assert any("model.24.m.0" in line and "an output of the model" in line for line in lines)
    assert any("model.4.cv1.conv+model.4.m.0.cv2.conv" in line for line in lines)


def test_the_detector_is_left_alone(nano: Detector) -> None:
    state = copy.deepcopy(nano.state_dict())
    nano.train()
    prune(nano, percent=0.3)
    assert nano.training
    assert all(tensor.equal(state[name]) for name, tensor in nano.state_dict().items())


def test_resting_parameters_change_nothing(nano: Detector) -> None:
    learning = prune(nano, percent=0.3).detector.state_dict()
    resting = prune(nano.requires_grad_(False), percent=0.3).detector.state_dict()
    assert all(tensor.equal(resting[name]) for name, tensor in learning.items())


def test_nothing_removed_is_an_error(nano: Detector) -> None:
    with pytest.raises(
        PruningError, match=r"nothing was removed: 1\.0% of the channels .* --percent"
    ):
        prune(nano, percent=0.01, round_to=512)


def test_even_where_all_gammas_of_a_layer_are_zero_it_keeps_channels(nano: Detector) -> None:
    nano.model[3].bn.weight.data.zero_()
    result = prune(nano, percent=0.5)
    assert result.detector.model[3].conv.out_channels == 8
    assert "model.3.conv" in {width.name for width in result.selection.clamped}


def test_kept_rows_keep_their_widths(nano: Detector) -> None:
    result = prune(nano, percent=0.5, keep=range(10))
    for width in result.selection.widths:
        row = int(width.name.split(".")[1])
        assert (width.after == width.before) == (row < 10 or row == 24), width


def test_a_row_that_is_not_there_is_named(nano: Detector) -> None:
    with pytest.raises(PruningError, match="keep: no row 25; the detector has rows 0 to 24"):
        prune(nano, keep=[3, 25])


def test_an_unknown_criterion_is_answered_with_the_nearest(nano: Detector) -> None:
    with pytest.raises(PruningError, match=r"no criterion 'bn_scal'\. Did you mean 'bn_scale'"):
        prune(nano, criterion="bn_scal")


def test_a_damaged_file_is_said_to_be_damaged(nano: Detector) -> None:
    nano.model[3].bn.weight.data[5] = float("nan")
    with pytest.raises(PruningError, match=r"model\.3\.conv: its weights are not finite"):
        prune(nano)


@pytest.mark.parametrize(("scores", "kept"), [((0.2, 0.3), True), ((0.3, 0.3), False)])
def test_recalibration_is_kept_only_where_it_helps(
    nano: Detector, scores: tuple[float, float], kept: bool
) -> None:
    given = iter(scores)
    judged: list[Detector] = []

    def score(detector: Detector) -> float:
        judged.append(detector)
        return next(given)

    images = [torch.rand(2, 3, 64, 64)]
    result = prune(nano, percent=0.3, calibration=Calibration(images, score))
    assert result.recalibration is not None
    assert (result.recalibration.before, result.recalibration.after) == scores
    assert result.recalibration.kept == kept
    assert result.detector is judged[int(kept)]


def test_without_images_there_is_no_recalibration(nano: Detector) -> None:
    assert prune(nano, percent=0.3).recalibration is None


def test_a_pruned_detector_survives_the_file_and_a_second_pruning(
    nano: Detector, tmp_path: Path
) -> None:
    small = prune(nano, percent=0.5).detector.eval()
    save_weights(small, tmp_path / "small.safetensors")
    loaded = load_weights(tmp_path / "small.safetensors").detector.eval()
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        for one, other in zip(small(image), loaded(image), strict=True):
            torch.testing.assert_close(one, other)
    assert prune(loaded, percent=0.3).params[1] < count_parameters(small)
