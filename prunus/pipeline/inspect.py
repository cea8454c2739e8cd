"""`inspect`: weights → rows, widths, parameters, FLOPs, history, and what freezing would freeze."""

from dataclasses import asdict

from prunus.core.console import log
from prunus.core.runs import start
from prunus.core.shares import read_pattern
from prunus.model.nm import check_nm, nm_table
from prunus.pipeline.models import model_facts
from prunus.train.freeze import freeze_table, frozen_rows
from prunus.weights.config import InspectConfig
from prunus.weights.files import load_weights
from prunus.weights.inspect import inspect_rows, rows_table


def inspect(settings: InspectConfig) -> dict[str, object]:
    """Show what is in a weights file and return the report."""
    with start("inspect", settings) as run:
        run.add_input("weights", settings.weights)
        checkpoint = load_weights(settings.weights)
        detector = checkpoint.detector
        rows = inspect_rows(detector, (settings.image_size, settings.image_size))
        facts = model_facts(detector)
        log.info("%s", rows_table(rows))
        log.info("%d parameters, %.2f GFLOPs at 640 px", facts["params"], facts["gflops"])
        log.info("activation: %s", detector.spec.activation)
        log.info("%d classes: %s", len(detector.names), ", ".join(detector.names))
        log.info("licence: %s", checkpoint.licence)
        if settings.freeze:
            log.info("%s", freeze_table(detector, frozen_rows(settings.freeze, detector.spec)))
        pattern = None if settings.nm is None else read_pattern(settings.nm)
        checks = () if pattern is None else check_nm(detector, *pattern)
        if pattern is not None:
            log.info("%s", nm_table(checks, pattern))
        run.report = {
            "model": facts,
            "activation": detector.spec.activation,
            "names": list(detector.names),
            "strides": list(detector.strides),
            "licence": checkpoint.licence,
            "history": [asdict(step) for step in checkpoint.history],
            "rows": [asdict(row) for row in rows],
            "nm": [asdict(check) for check in checks],
        }
        return run.finish()
