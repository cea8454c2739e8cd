"""`prunus data convert`: write a data set in another format."""

from prunus.data.config import DataConvertConfig

SETTINGS = DataConvertConfig


def run(settings: DataConvertConfig) -> dict[str, object]:
    from prunus.pipeline.data import convert  # late: torch loads only once the settings are right

    return convert(settings)
