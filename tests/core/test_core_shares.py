"""Shares and N:M patterns as people and YAML files write them."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from prunus.core.config import Settings, parse, setting
from prunus.core.errors import ConfigError
from prunus.core.shares import Pattern, PatternText, Share, read_pattern


class Wish(Settings):
    amount: Share = setting(0.5, "how much", gt=0, lt=1)
    nm: PatternText | None = setting(None, "which pattern")


@pytest.mark.parametrize(("given", "share"), [(0.3, 0.3), (30, 0.3), ("30", 0.3), ("0.3", 0.3)])
def test_per_cent_and_shares_are_both_understood(given: object, share: float) -> None:
    assert parse(Wish, {"amount": given}).amount == share


@pytest.mark.parametrize(
    ("text", "pattern"), [("2:4", (2, 4)), (" 1 : 4", (1, 4)), ("4:8", (4, 8))]
)
def test_a_pattern_is_read(text: str, pattern: tuple[int, int]) -> None:
    assert read_pattern(text) == pattern
    assert read_pattern(text).zeros == 1 - pattern[0] / pattern[1]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("4:2", r"--nm: 4:2: N must be at least 1 and smaller than M\. 2:4 keeps"),
        ("4:4", r"--nm: 4:4: N must be at least 1 and smaller than M"),
        ("0:4", r"--nm: 0:4: N must be at least 1"),
        ("half", r"--nm: 'half' is no pattern\. Write 2:4 to keep 2 of every 4 weights"),
        (4, r"--nm: 0:4: N must be at least 1"),
    ],
)
def test_what_is_no_pattern_is_refused_in_one_line(given: object, words: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{words}[^\n]*$"):
        parse(Wish, {"nm": given})


@pytest.mark.parametrize("text", ["2:4", "1:4", "4:8", "1:16"])
def test_an_unquoted_pattern_in_yaml_is_read_although_yaml_takes_it_for_a_time(
    text: str, tmp_path: Path
) -> None:
    path = tmp_path / "wish.yaml"
    path.write_text(f"nm: {text}\n")
    values = yaml.safe_load(path.read_text())
    assert isinstance(values["nm"], int)
    assert parse(Wish, values).nm == text


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ((2, 4), True),
        ((1, 4), True),
        ((1, 2), True),
        ((2, 8), True),
        ((4, 8), False),
        ((3, 4), False),
    ],
)
def test_which_patterns_always_fulfil_2_of_4(pattern: tuple[int, int], fits: bool) -> None:
    assert Pattern(*pattern).fits_2_of_4 is fits


def test_reading_shares_does_not_load_torch() -> None:
    code = "import sys, prunus.core.shares; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
