"""The door of the room: a detector, images and settings in; better weights out."""

from pathlib import Path

from prunus.core.console import log
from prunus.core.device import keep_freed_pages
from prunus.data.index import ImageIndex
from prunus.model.detector import Detector
from prunus.train.anchors import fit_anchors_
from prunus.train.batch_size import with_fitting_batch
from prunus.train.build import announce, build_engine
from prunus.train.checkpoint import restore_
from prunus.train.config import TrainConfig
from prunus.train.engine import Engine
from prunus.train.freeze import fingerprint
from prunus.train.images import TrainingImages
from prunus.train.interrupt import Interrupt
from prunus.train.logs import Board
from prunus.train.progress import Origin, Progress, TrainResult
from prunus.train.session import Session


def train(
    detector: Detector,
    training: ImageIndex,
    validation: ImageIndex,
    settings: TrainConfig,
    folder: Path,
    *,
    origin: Origin | None = None,
    teacher: Detector | None = None,
) -> TrainResult:
    """Train a detector.

    Args:
        detector: Trained in place; a pruned one keeps its shape.
        training: Images to learn from.
        validation: Images to judge by.
        settings: How.
        folder: The run's folder: gets weights, state, results.csv and TensorBoard's events.
        origin: Where the detector came from; written into the weights that are saved.
        teacher: Whose answers are imitated beside the labels; same classes, strides, anchors.

    Raises:
        TrainingError: The settings cannot work, or numbers stopped being finite.
        PrunusError: A file could not be written.
        KeyboardInterrupt: The training was interrupted; its state is saved.
        SystemExit: By SIGTERM; its state is saved.
    """
    keep_freed_pages()
    origin = origin or Origin()
    image_size = fitting_size(settings.image_size, detector.stride)
    settings = with_fitting_batch(settings, detector, image_size, len(training))
    loader = TrainingImages(training, settings, image_size, detector.stride)
    if origin.state is None and settings.auto_anchor:
        fit_anchors_(detector, training, image_size, settings.hyp.anchor_t)
    engine = build_engine(
        detector, settings, image_size=image_size, batches=len(loader), teacher=teacher
    )
    announce(engine)
    progress = Progress()
    if origin.state is not None:
        restore_(engine, origin.state)
        progress = Progress(**origin.state["progress"])
    before = fingerprint(detector, engine.frozen)
    session = Session(engine, settings, folder, origin, progress)
    session.begin()
    board = Board(folder, engine.position.epoch)
    try:
        with Interrupt() as interrupt:
            session.run(loader, validation, image_size, board, interrupt)
    finally:
        session.outputs.attempt(board.close)
    session.outputs.finish()
    _check_frozen(engine, before)
    return session.result()


def _check_frozen(engine: Engine, before: str) -> None:
    """Make sure that what was frozen has kept every bit, and say so."""
    if not engine.frozen:
        return
    for detector in (engine.detector, engine.average.detector):
        if fingerprint(detector, engine.frozen) != before:
            raise RuntimeError("frozen rows have changed while training: a bug of Prunus")
    log.info("frozen: %d rows are the same to the last bit (%s)", len(engine.frozen), before)


def fitting_size(image_size: int, stride: int) -> int:
    """Round an image size up to a multiple of the stride, at least twice the stride."""
    size = max(-(-image_size // stride), 2) * stride
    if size != image_size:
        log.info("--img %d: rounded up to %d, a multiple of %d", image_size, size, stride)
    return size
