"""`prunus quantize`: write a file that computes in 8 bits, and prove what it costs."""

from prunus.export.quantize.config import QuantizeConfig

SETTINGS = QuantizeConfig
TOO_MUCH = 1


def run(settings: QuantizeConfig) -> dict[str, object]:
    from prunus.pipeline.quantize import quantize  # late: torch loads once the settings are right

    return quantize(settings)


def status(report: dict[str, object]) -> int:
    """Return the exit status: 1 when more accuracy is lost than `--max-drop` allows."""
    return 0 if report["within_max_drop"] else TOO_MUCH
