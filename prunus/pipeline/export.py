"""`export`: weights → a runtime's file that has been seen to compute the same, a report."""

from dataclasses import asdict

from prunus.core.runs import start
from prunus.export.config import ExportConfig
from prunus.export.run import run_export


def export(settings: ExportConfig) -> dict[str, object]:
    """Write a file for each format, compare each with torch on images, and return the report."""
    with start("export", settings) as run:
        run.add_input("weights", settings.weights)
        results = run_export(settings, run.folder)
        run.report = {
            "files": [
                {
                    "path": str(result.path),
                    "format": result.format,
                    "file_mb": result.megabytes,
                    "sha256": result.sha256,
                    "parity": asdict(result.parity),
                    "seconds": result.seconds,
                }
                for result in results
            ],
            "paths": {result.format: str(result.path) for result in results},
        }
        return run.finish()
