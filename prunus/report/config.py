"""The settings of `prunus report`."""

from pathlib import Path

from prunus.core.config import setting
from prunus.core.runs import RunSettings


class ReportConfig(RunSettings):
    """Which runs to show."""

    runs: tuple[Path, ...] = setting(
        ...,
        "folders of finished runs: one of compress gives its report, others are compared",
        "RUN",
        "--runs",
        min_length=1,
    )
    pictures: int = setting(10, "images that are shown before and after, of a compress run", ge=0)
