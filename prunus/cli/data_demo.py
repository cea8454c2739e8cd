"""`prunus data demo`: make a generated data set."""

from prunus.data.config import DataDemoConfig

SETTINGS = DataDemoConfig


def run(settings: DataDemoConfig) -> dict[str, object]:
    from prunus.pipeline.data import demo  # late: torch loads only once the settings are right

    return demo(settings)
