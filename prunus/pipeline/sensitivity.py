"""`sensitivity`: weights + data → what is lost per group and ratio; resumable; table and picture.

Channels are masked, which is what pruning computes before any repair.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from prunus.core.config import parse
from prunus.core.console import log
from prunus.core.device import keep_freed_pages
from prunus.core.errors import PruningError
from prunus.core.files import read_yaml, sha256
from prunus.core.runs import CONFIG, Run, start
from prunus.model.channels.trace import trace
from prunus.pipeline.sensitivity_subject import ACCURACY, LIKENESS, Subject
from prunus.prune.sensitivity import record as records
from prunus.prune.sensitivity.config import SensitivityConfig
from prunus.prune.sensitivity.curves import Cliff, cliff_table, cliffs
from prunus.prune.sensitivity.plot import plot
from prunus.prune.sensitivity.points import measure, planned
from prunus.prune.sensitivity.record import RECORD, Header, Record
from prunus.weights.files import load_weights

PICTURE = "sensitivity.png"
LOST = {ACCURACY: "share of mAP50-95 lost", LIKENESS: "relative squared error of the outputs"}
"""What is lost of each score, in words."""
NOT_MEASURED = ("project", "name", "exist_ok", "out", "resume", "weights", "data", "max_drop")
"""Settings that no score depends on; of weights and data the content counts, not the path."""
SPEED_ONLY = ("workers", "device")
"""Settings that change scores by rounding only."""


def sensitivity(settings: SensitivityConfig) -> dict[str, object]:
    """Measure every point that is missing, and return the report.

    Raises:
        PruningError: The folder holds points of other weights or settings, or nothing can be lost.
        KeyboardInterrupt: Stopped; the points so far are kept.
    """
    settings = _resumed(settings)
    assert settings.weights is not None and settings.data is not None
    keep_freed_pages()
    checkpoint = load_weights(settings.weights)
    subject = Subject(settings, settings.data, checkpoint.detector)
    measured = _measured_settings(settings, sha256(settings.data))
    known = _known(settings, checkpoint.sha256, measured)
    with start("sensitivity", settings) as run:
        run.add_input("weights", settings.weights)
        run.add_input("data", settings.data)
        if known is None:
            order, dense = subject.order(), subject.dense()
            header = Header(checkpoint.sha256, measured, subject.score, dense, order)
            known = records.begin(run.path(RECORD), header)
        record = _measure(subject, known, settings, run.path(RECORD))
        found = cliffs(record, settings.max_drop)
        _show(found, record, settings.max_drop, run.path(PICTURE))
        run.report = _report(found, record, run)
        return run.finish()


def _resumed(settings: SensitivityConfig) -> SensitivityConfig:
    """Return the settings of the run to go on with, under those that were given now."""
    folder = settings.resume
    if folder is None:
        return settings
    if not (folder / RECORD).is_file():
        raise PruningError(
            f"{folder}: holds no {RECORD}, so nothing to resume. Give the folder of a "
            "`prunus sensitivity` run."
        )
    saved = read_yaml(folder / CONFIG)
    given = settings.model_dump(exclude_unset=True)
    merged = {**(saved if isinstance(saved, dict) else {}), **given}
    place = {"out": folder, "exist_ok": True, "resume": None}
    return parse(SensitivityConfig, {**merged, **place}, str(folder / CONFIG))


def _measured_settings(settings: SensitivityConfig, data_sha256: str) -> dict[str, object]:
    """Return the settings that the scores depend on, JSON-ready."""
    unused = ("images",) if settings.quick else ()
    plain = settings.model_dump(mode="json", exclude={*NOT_MEASURED, *SPEED_ONLY, *unused})
    return {**plain, "ratios": sorted(set(plain["ratios"])), "data_sha256": data_sha256}


def _known(
    settings: SensitivityConfig, weights_sha256: str, measured: Mapping[str, object]
) -> Record | None:
    """Return what the run folder holds already, checked; None when there is nothing."""
    folder = settings.out or settings.project / "sensitivity" / settings.name
    path = folder / RECORD
    if not settings.exist_ok or not path.is_file():
        return None
    record = records.read_record(path)
    record.header.check(weights_sha256, measured, path)
    records.mend(path)
    return record


def _measure(subject: Subject, known: Record, settings: SensitivityConfig, path: Path) -> Record:
    """Measure what is missing, and write each point down as it comes."""
    header, points = known.header, dict(known.points)
    order = known.order
    total = len(planned(order, settings.ratios))
    if points:
        log.info(
            "%s: %d of %d points are there, %d to go", path, len(points), total, total - len(points)
        )
    network = subject.network
    missing = measure(
        network,
        trace(network, subject.probe),
        order,
        subject.judge,
        ratios=settings.ratios,
        worthless=settings.floor * header.dense,
        known=known.points.values(),
    )
    try:
        for point in missing:
            records.append(path, point)
            points[point.key] = point
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(
            f"{len(points)} of {total} points are kept. Go on with: prunus sensitivity --resume "
            f"{path.parent}"
        ) from stop
    return replace(known, points=points)


def _show(found: Sequence[Cliff], record: Record, max_drop: float, picture: Path) -> None:
    lost = LOST[record.header.score]
    log.info("%s", cliff_table(found, max_drop, lost))
    plot(picture, found, max_drop, lost)
    log.info(
        "whole network: %s %.4f; picture: %s", record.header.score, record.header.dense, picture
    )


def _report(found: Sequence[Cliff], record: Record, run: Run) -> dict[str, object]:
    return {
        "record": str(run.path(RECORD)),
        "picture": str(run.path(PICTURE)),
        "score": record.header.score,
        "dense": record.header.dense,
        "points": len(record.points),
        "filled": sum(point.filled for point in record.points.values()),
        "groups": [asdict(cliff) for cliff in found],
    }
