"""`prunus data check`: read a data set and name each problem."""

from prunus.data.config import DataCheckConfig

SETTINGS = DataCheckConfig
TOO_MANY = 1


def run(settings: DataCheckConfig) -> dict[str, object]:
    from prunus.pipeline.data import check  # late: torch loads only once the settings are right

    return check(settings)


def status(report: dict[str, object]) -> int:
    """Return the exit status: 1 when more is wrong than `--max-problems` allows."""
    return TOO_MANY if report["too_many_problems"] else 0
