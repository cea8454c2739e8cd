"""`prunus data check`: read a data set and name each problem."""

from prunus.data.config import DataCheckConfig

SETTINGS = DataCheckConfig


def run(settings: DataCheckConfig) -> dict[str, object]:
    from prunus.pipeline.data import check  # late: torch loads only once the settings are right

    return check(settings)
