"""What `prunus val` may be asked for together."""

from pathlib import Path
from typing import Any

import pytest

from prunus.core.config import parse
from prunus.core.errors import ConfigError
from prunus.evaluate.config import ValConfig

NEEDED = {"weights": "a.pt", "data": "data.yaml"}


def config(**values: Any) -> ValConfig:
    return parse(ValConfig, {**NEEDED, **values})


def test_one_weights_file_or_several() -> None:
    assert config().weights == (Path("a.pt"),)
    assert config(weights=["a.pt", Path("b.pt")]).weights == (Path("a.pt"), Path("b.pt"))
    with pytest.raises(ConfigError, match=r"--weights: expected .* at least 1 item"):
        config(weights=[])


def test_task_names_the_split_too() -> None:
    assert config().images == "val"
    assert config(task="test").images == "test"
    assert config(split="train", task="train").images == "train"
    assert config(split="test", task="speed").images == "test"
    with pytest.raises(ConfigError, match="--split val and --task test differ: give one"):
        config(split="val", task="test")


@pytest.mark.parametrize("extra", [{"bootstrap": 10}, {"compare": "runs/val/exp"}])
def test_speed_takes_times_only(extra: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="--task speed takes times, no mAP"):
        config(task="speed", **extra)


def test_resamples_have_a_limit() -> None:
    assert config(bootstrap=100_000).bootstrap == 100_000
    with pytest.raises(ConfigError, match="--bootstrap: expected less than or equal to 100000"):
        config(bootstrap=100_001)


def test_a_score_needs_its_row() -> None:
    assert config(save_txt=True, save_conf=True).save_conf
    with pytest.raises(ConfigError, match="--save-conf is a column of --save-txt"):
        config(save_conf=True)
