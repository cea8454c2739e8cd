"""The settings of `prunus sparsify`."""

import subprocess
import sys

import pytest

from prunus.core.config import parse
from prunus.core.errors import ConfigError
from prunus.prune.masks.config import SparsifyConfig
from prunus.prune.masks.methods import METHODS


@pytest.mark.parametrize(
    ("given", "share"), [({}, 0.3), ({"amount": 50}, 0.5), ({"nm": "2:4"}, None)]
)
def test_a_share_or_a_pattern_is_wanted(given: dict[str, object], share: float | None) -> None:
    settings = parse(SparsifyConfig, {"weights": "w.pt", **given})
    assert settings.share == share
    assert parse(SparsifyConfig, settings.model_dump(mode="json")) == settings


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"nm": "4:2"}, r"--nm: 4:2: N must be at least 1 and smaller than M"),
        ({"nm": "2:4", "amount": 0.5}, r"--nm 2:4 fixes the share .* Leave out --amount"),
        ({"nm": "2:4", "scope": "global"}, r"--nm 2:4 chooses within each group .* --scope global"),
        ({"amount": 1}, r"--amount: expected .*, got "),
    ],
)
def test_what_cannot_be_is_said_in_one_line(given: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{words}[^\n]*$"):
        parse(SparsifyConfig, {"weights": "w.pt", **given})


def test_the_help_names_every_method() -> None:
    text = SparsifyConfig.model_fields["method"].description or ""
    assert all(name in text for name in METHODS)


def test_reading_settings_does_not_load_torch() -> None:
    code = "import sys, prunus.prune.masks.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
