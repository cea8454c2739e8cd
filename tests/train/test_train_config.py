"""Settings: official flag names, presets, files, and what is wrong with them."""

import argparse
from pathlib import Path

import pytest

from prunus.core.config import add_arguments, from_arguments, parse
from prunus.core.errors import ConfigError
from prunus.model.loss import LossGains
from prunus.train.build import loss_gains
from prunus.train.config import Hyperparameters, TrainConfig, preset_names


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
