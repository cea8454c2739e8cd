"""`prunus report`: one HTML page of finished runs."""

from prunus.report.config import ReportConfig

SETTINGS = ReportConfig


def run(settings: ReportConfig) -> dict[str, object]:
    from prunus.pipeline.report import report  # late: torch loads only once the settings are right

    return report(settings)
