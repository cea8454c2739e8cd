"""`prunus demo`: the main job on a generated data set."""

from prunus.pipeline.config import DemoConfig

SETTINGS = DemoConfig


def run(settings: DemoConfig) -> dict[str, object]:
    from prunus.pipeline.demo import demo  # late: torch loads only once the settings are right

    return demo(settings)
