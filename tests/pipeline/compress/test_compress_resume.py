"""What a command may say of a run that it goes on with."""

from pathlib import Path

import pytest

from prunus.core.config import parse
from prunus.core.errors import ConfigError
from prunus.core.runs import start
from prunus.pipeline.chain.reopen import open_run
from prunus.pipeline.compress.config import CompressConfig


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """Return the folder of a run that was stopped at once."""
    values = {"data": "d.yaml", "weights": "w.pt", "max_drop": 1.0, "hours": 1.0}
    with start("compress", parse(CompressConfig, {**values, "out": tmp_path / "c"})) as run:
        return run.folder


def again(folder: Path, **values: object) -> CompressConfig:
    run, settings = open_run("compress", parse(CompressConfig, {"resume": folder, **values}))
    with run:
        return settings


def test_a_run_goes_on_with_its_own_settings(begun: Path) -> None:
    settings = again(begun)
    assert (settings.data, settings.max_drop, settings.hours) == (Path("d.yaml"), 1.0, 1.0)


def test_it_may_be_given_more_to_spend(begun: Path) -> None:
    settings = again(begun, hours=3, attempts=5, furthest=True)
    assert (settings.hours, settings.attempts, settings.furthest) == (3, 5, True)
    assert settings.max_drop == 1.0
    assert again(begun).hours == 3, "and keeps it"


def test_the_same_command_with_resume_goes_on(begun: Path) -> None:
    assert again(begun, data="d.yaml", weights="w.pt", max_drop=1.0).data == Path("d.yaml")


def test_what_would_make_other_models_is_refused(begun: Path) -> None:
    with pytest.raises(ConfigError, match=r"--max-drop: the run that goes on was begun with 1\.0"):
        again(begun, max_drop=2.0)
    with pytest.raises(ConfigError, match=r"--img: the run that goes on was begun with 640"):
        again(begun, image_size=320)
    assert again(begun).max_drop == 1.0
