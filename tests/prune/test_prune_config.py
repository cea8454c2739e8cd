import subprocess
import sys

import pytest

from prunus.core.config import parse
from prunus.core.errors import ConfigError
from prunus.prune.config import PruneConfig
from prunus.prune.criteria import AUTO, CRITERIA


@pytest.mark.parametrize(("given", "share"), [(0.5, 0.5), (50, 0.5), ("30", 0.3), ("0.3", 0.3)])
def test_per_cent_and_shares_are_both_understood(given: object, share: float) -> None:
    assert parse(PruneConfig, {"weights": "w.pt", "percent": given}).percent == share


@pytest.mark.parametrize("given", [0, 1, 100, -3, "half"])
def test_no_share_is_refused(given: object) -> None:
    with pytest.raises(ConfigError, match=r"--percent: expected .*, got "):
        parse(PruneConfig, {"weights": "w.pt", "percent": given})


def test_a_negative_row_is_refused() -> None:
    with pytest.raises(ConfigError, match="keep"):
        parse(PruneConfig, {"weights": "w.pt", "keep": ("-1",)})


def test_the_default_criterion_exists() -> None:
    assert parse(PruneConfig, {"weights": "w.pt"}).criterion in (AUTO, *CRITERIA)


def test_the_help_names_every_criterion() -> None:
    text = PruneConfig.model_fields["criterion"].description or ""
    assert all(name in text for name in CRITERIA)


def test_reading_settings_does_not_load_torch() -> None:
    code = "import sys, prunus.prune.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
