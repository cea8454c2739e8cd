"""Settings from flags and YAML; every wrong one is explained at once, in words."""

import argparse
from pathlib import Path
from typing import Literal

import pytest

from prunus.core.config import Settings, add_arguments, from_arguments, parse, setting
from prunus.core.errors import ConfigError


class Cut(Settings):
    weights: Path = setting(..., "what to cut")
    image_size: int = setting(640, "side", "--img", "--imgsz", "--img-size", ge=32)
    percent: float = setting(0.5, "share to go, 50 % say", gt=0, lt=1)
    rows: tuple[int | str, ...] = setting((), "rows to keep", "--keep")
    exist_ok: bool = setting(False, "reuse the folder")
    scope: Literal["global", "layer"] = setting("global", "where to compare")
    limit: float | None = setting(None, "no more than this")


def read(*words: str) -> Cut:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_arguments(parser, Cut)
    return from_arguments(Cut, parser.parse_args(list(words)), "cut")


def test_flags_become_typed_settings() -> None:
    got = read(
        "--weights", "a.pt", "--imgsz", "320", "--keep", "1", "neck", "--exist-ok", "--limit", ".5"
    )
    assert got == Cut(
        weights=Path("a.pt"), image_size=320, rows=("1", "neck"), exist_ok=True, limit=0.5
    ) or got.rows == (1, "neck")
    assert got.image_size == 320
    assert got.limit == 0.5


def test_no_turns_a_switch_off() -> None:
    assert not read("--weights", "a", "--no-exist-ok").exist_ok


def test_flags_win_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "cut.yaml"
    file.write_text("weights: b.pt\nimage-size: 96\npercent: 0.25\n")
    got = read("--config", str(file), "--percent", "0.75")
    assert (got.weights, got.image_size, got.percent) == (Path("b.pt"), 96, 0.75)


def test_settings_cannot_be_changed() -> None:
    got = parse(Cut, {"weights": "a"})
    with pytest.raises(ValueError, match="frozen"):
        got.percent = 0.1  # type: ignore[misc]


def test_all_problems_come_at_once_each_on_its_line() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(Cut, {"percant": 1, "image_size": "big", "scope": "all"}, "cut.yaml")
    lines = str(caught.value).splitlines()
    assert "cut.yaml: --weights: is needed. what to cut" in lines
    assert "cut.yaml: percant: unknown setting. Did you mean 'percent'?" in lines
    assert any(line.startswith("cut.yaml: --img: expected a valid integer") for line in lines)
    assert any(line.startswith("cut.yaml: --scope: expected 'global' or 'layer'") for line in lines)


def test_an_unknown_key_in_the_file_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "cut.yaml"
    file.write_text("weight: b.pt\n")
    with pytest.raises(
        ConfigError, match=r"cut\.yaml: weight: unknown setting. Did you mean 'weights'"
    ):
        read("--config", str(file))


@pytest.mark.parametrize(
    ("text", "words"),
    [("- 1\n", "expected settings as"), ("a: [", "not valid YAML"), (None, "no such file")],
)
def test_a_bad_file_is_explained(tmp_path: Path, text: str | None, words: str) -> None:
    file = tmp_path / "cut.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError, match=words):
        read("--config", str(file))


def test_help_shows_defaults_and_survives_percent_signs() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser, Cut)
    text = " ".join(parser.format_help().split())
    assert "share to go, 50 % say (default: 0.5)" in text
    assert "what to cut (required)" in text


def test_a_flag_may_mean_something_without_a_value() -> None:
    class Bare(Settings):
        resume: str = setting("", "go on", bare="auto")

    parser = argparse.ArgumentParser()
    add_arguments(parser, Bare)
    for words, value in (([], ""), (["--resume"], "auto"), (["--resume", "x"], "x")):
        assert from_arguments(Bare, parser.parse_args(words), "bare").resume == value
