"""`predict`: a model + images → annotated images, label files, predictions.jsonl, a report."""

from prunus.core.console import log
from prunus.core.runs import start
from prunus.export.backends import open_runner
from prunus.predict.config import PredictConfig
from prunus.predict.run import run_predict


def predict(settings: PredictConfig) -> dict[str, object]:
    """Find objects in images, write what was asked for, and return the report."""
    with start("predict", settings) as run:
        run.add_input("weights", settings.weights)
        runner = open_runner(
            settings.weights,
            device=settings.device,
            precision=settings.precision,
            threads=settings.threads,
        )
        summary = run_predict(runner, settings, run.folder)
        log.info(
            "%d objects in %d images, %.1f images/s: %s",
            summary.detections,
            summary.images,
            summary.images_per_second,
            run.folder,
        )
        run.report = {
            "images": summary.images,
            "detections": summary.detections,
            "images_per_second": summary.images_per_second,
        }
        return run.finish()
