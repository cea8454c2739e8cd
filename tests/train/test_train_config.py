"""Settings: official flag names, presets, files, and what is wrong with them."""

import argparse
from pathlib import Path

import pytest

from prunus.core.config import add_arguments, from_arguments, parse
from prunus.core.errors import ConfigError
from prunus.model.loss import LossGains
from prunus.train.build import loss_gains
from prunus.train.config import TrainConfig
from prunus.train.hyperparameters import Hyperparameters, preset_names


def settings_of(words: str) -> TrainConfig:
    parser = argparse.ArgumentParser()
    add_arguments(parser, TrainConfig)
    return from_arguments(TrainConfig, parser.parse_args(words.split()), "train")


def test_the_classic_command_line_is_understood() -> None:
    settings = settings_of(
        "--img 320 --batch-size 8 --epochs 5 --data d.yaml --weights w.pt --freeze 10 "
        "--hyp scratch-high --optimizer AdamW --cos-lr --patience 7 --label-smoothing 0.1 "
        "--seed 3 --sparsity 0.005"
    )
    assert (settings.image_size, settings.batch_size, settings.epochs) == (320, 8, 5)
    assert settings.freeze == ("10",)
    assert settings.optimizer == "adamw"
    assert settings.hyp.scale == 0.9
    assert settings.sparsity == 0.005
    assert settings.cos_lr
    assert settings_of("--weights=").weights is None
    assert settings_of("--sparsity auto --freeze 0 1 2").freeze == ("0", "1", "2")


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_complete_and_known_by_its_official_name(name: str) -> None:
    settings = parse(TrainConfig, {"hyp": name})
    assert settings == parse(TrainConfig, {"hyp": f"hyp.{name}.yaml"})
    assert settings == parse(TrainConfig, settings.plain())


def test_the_defaults_are_those_of_scratch_low() -> None:
    assert parse(TrainConfig, {"hyp": "scratch-low"}).hyp == Hyperparameters()
    assert loss_gains(Hyperparameters(), 0.0) == LossGains()


def test_a_file_of_the_users_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("lr0: 0.02\nanchors: 3\niou_t: 0.2\n")
    assert parse(TrainConfig, {"hyp": path}).hyp.lr0 == 0.02
    path.write_text("lr: 0.02\n")
    with pytest.raises(ConfigError, match=r"hyp\.lr: unknown setting"):
        parse(TrainConfig, {"hyp": path})
    with pytest.raises(
        ConfigError, match=r"no preset or file 'scratch-lo'\. Did you mean 'scratch-low'"
    ):
        parse(TrainConfig, {"hyp": "scratch-lo"})


@pytest.mark.parametrize("flag", ["--lr0", "--hyp.lr0"])
def test_a_single_value_goes_before_its_preset_and_is_recorded_there(flag: str) -> None:
    settings = settings_of(f"--hyp voc {flag} 0.001 --weight-decay 0 --fl_gamma 1.5")
    voc = parse(TrainConfig, {"hyp": "voc"}).hyp
    assert settings.hyp == voc.model_copy(
        update={"lr0": 0.001, "weight_decay": 0.0, "fl_gamma": 1.5}
    )
    assert "lr0" not in settings.plain()
    assert settings.plain()["hyp"]["lr0"] == 0.001
    assert parse(TrainConfig, settings.plain()) == settings


def test_a_single_value_goes_before_the_default_and_a_file(tmp_path: Path) -> None:
    assert settings_of("--mixup 0.3").hyp == Hyperparameters(mixup=0.3)
    path = tmp_path / "mine.yaml"
    path.write_text("lr0: 0.02\nmixup: 0.1\n")
    assert settings_of(f"--hyp {path} --mixup 0.3").hyp == Hyperparameters(lr0=0.02, mixup=0.3)
    base = Hyperparameters(lr0=0.02)
    assert parse(TrainConfig, {"hyp": base, "mixup": 0.3}).hyp == Hyperparameters(
        lr0=0.02, mixup=0.3
    )


def test_a_wrong_single_value_is_named() -> None:
    with pytest.raises(ConfigError, match=r"train: hyp\.lrf: expected less than or equal to 1"):
        settings_of("--lrf 2")
    with pytest.raises(ConfigError, match="no preset or file 'vox'"):
        settings_of("--hyp vox --lrf 0.1")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("scratch-low", {"lrf": 0.01, "scale": 0.5, "mixup": 0, "copy_paste": 0, "cls": 0.5}),
        ("scratch-med", {"lrf": 0.1, "scale": 0.9, "mixup": 0.1, "copy_paste": 0, "cls": 0.3}),
        ("scratch-high", {"lrf": 0.1, "obj": 0.7, "mixup": 0.1, "copy_paste": 0.1, "cls": 0.3}),
        ("voc", {"lr0": 0.00334, "momentum": 0.74832, "obj_pw": 0.67198, "mosaic": 0.858}),
        ("objects365", {"lr0": 0.00258, "lrf": 0.17, "cls_pw": 0.825, "anchor_t": 3.44}),
    ],
)
def test_presets_have_the_published_values(name: str, values: dict[str, float]) -> None:
    hyp = parse(TrainConfig, {"hyp": name}).hyp
    assert {key: getattr(hyp, key) for key in values} == values


def test_a_preset_may_bring_settings_that_flags_go_before(tmp_path: Path) -> None:
    small = settings_of("--hyp small --epochs 50")
    assert (small.nominal_batch, small.closed_epochs) == (16, 0)
    assert settings_of("--hyp small --nominal-batch 32").nominal_batch == 32
    assert settings_of("--hyp small --lr0 0.02").nominal_batch == 16
    assert parse(TrainConfig, small.plain()) == small
    path = tmp_path / "mine.yaml"
    path.write_text("training: {nominal_bach: 16}\n")
    with pytest.raises(ConfigError, match=r"nominal_bach: unknown setting.*'nominal_batch'"):
        settings_of(f"--hyp {path}")


def test_mosaic_ends_after_a_number_or_a_share_of_the_epochs() -> None:
    closed = [
        settings_of(f"--epochs 30 --close-mosaic {value}").closed_epochs
        for value in ("0", "1", "15", "0.2")
    ]
    assert closed == [0, 1, 15, 6]


def test_what_pulls_may_be_said_with_sparsity_or_as_it_is_anyway() -> None:
    settings = settings_of("--sparsity auto --mask-eval 5 --regulariser group --beta-sparsity 1")
    assert (settings.mask_eval, settings.regulariser, settings.beta_sparsity) == (5, "group", 1)
    settings_of("--mask-eval 0 --regulariser l1 --beta-sparsity 0")


def test_cache_alone_means_memory() -> None:
    assert settings_of("--cache --rect").cache == "ram"
    assert settings_of("--cache disk").cache == "disk"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("--image-weights --rect", "--image-weights and --rect exclude each other"),
        ("--repeat-factor 0.1 --image-weights", "--image-weights and --repeat-factor exclude"),
        ("--rect --multi-scale", "--rect and --multi-scale exclude each other"),
        ("--batch 0", "--batch 0: give 1 or more, or -1 to have it measured"),
        ("--batch -2", "--batch: expected greater than or equal to -1"),
        ("--mask-eval 5", "train: --mask-eval: nothing is pulled on without --sparsity. Add --spa"),
        ("--regulariser group --beta-sparsity 1", "--regulariser and --beta-sparsity: nothing is"),
        ("--cache tape", "--cache: expected 'ram', 'disk' or 'none'"),
    ],
)
def test_what_excludes_each_other_is_said(words: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        settings_of(words)
