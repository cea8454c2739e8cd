"""`prunus export`: write a file for a runtime."""

from prunus.export.config import ExportConfig

SETTINGS = ExportConfig


def run(settings: ExportConfig) -> dict[str, object]:
    from prunus.pipeline.export import export  # late: torch loads only once the settings are right

    return export(settings)
