"""`factorize`: weights (+ data) → one convolution as two where that saves; before and after."""

from dataclasses import asdict

from prunus.core.console import log
from prunus.core.device import keep_freed_pages, select_device
from prunus.core.runs import start
from prunus.pipeline.before_after import compare_sides, sides_table
from prunus.pipeline.images import DetectorImages
from prunus.pipeline.models import rounded_size
from prunus.prune.low_rank.config import FactorizeConfig
from prunus.prune.low_rank.run import factorise
from prunus.weights.files import load_weights
from prunus.weights.history import Step
from prunus.weights.native import SUFFIX, save_weights

FACTORIZED = f"factorized{SUFFIX}"


def factorize(settings: FactorizeConfig) -> dict[str, object]:
    """Make two convolutions of one, write the model, and return the report.

    Raises:
        PruningError: Nothing would be saved.
    """
    keep_freed_pages()
    with start("factorize", settings) as run:
        run.add_input("weights", settings.weights)
        checkpoint = load_weights(settings.weights)
        device = select_device(settings.device)
        detector = checkpoint.detector.to(device)
        side = rounded_size(settings.image_size, detector.stride)
        images = None
        if settings.data is not None:
            run.add_input("data", settings.data)
            images = DetectorImages(
                settings.data,
                detector,
                side=side,
                batch_size=settings.batch_size,
                workers=settings.workers,
                device=device,
            )
        found = factorise(
            detector,
            rank=settings.rank,
            energy=settings.kept_energy,
            flops=settings.flops,
            rows=settings.rows,
            widest=settings.widest,
            round_to=settings.round_to,
            calibration=None if images is None else images.calibration(settings.calibration_images),
        )
        log.info("%s", found.table())
        detectors = {"before": detector, "after": found.model}
        metrics = {
            name: {} if images is None else images.judge(one).metrics()
            for name, one in detectors.items()
        }
        sides = compare_sides(detectors, metrics, device, side if settings.latency else None)
        path = run.path(FACTORIZED)
        step = Step("factorize", run.settings, checkpoint.sha256, sides["after"].metrics)
        save_weights(
            found.model, path, history=(*checkpoint.history, step), licence=checkpoint.licence
        )
        log.info("%s", sides_table(f"before and after: {path}", sides))
        run.report = {
            "weights": str(path),
            **{name: one.facts() for name, one in sides.items()},
            "layers": [asdict(layer) for layer in found.layers],
            "errors": dict(found.errors),
            "kept": found.kept,
        }
        return run.finish()
