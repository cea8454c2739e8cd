"""The door of the room: a detector, images and settings in; better weights out."""

from hashlib import blake2b
from pathlib import Path

from prunus.core.console import log
from prunus.core.device import keep_freed_pages
from prunus.core.distributed import ALONE, Processes
from prunus.core.errors import TrainingError
from prunus.data.index import ImageIndex
from prunus.model.detector import Detector
from prunus.train.anchors import fit_anchors_
from prunus.train.batch_size import with_fitting_batch
from prunus.train.build import announce, build_engine
from prunus.train.checkpoint import restore_
from prunus.train.config import MEASURED_BATCH, TrainConfig
from prunus.train.engine import Engine
from prunus.train.freeze import fingerprint
from prunus.train.images import TrainingImages
from prunus.train.interrupt import Interrupt
from prunus.train.loggers import Board, RunFacts, open_loggers
from prunus.train.progress import Origin, Progress, TrainResult
from prunus.train.session import Session


def train(  # noqa: PLR0913  what is trained, on what, how, and with whom
    detector: Detector,
    training: ImageIndex,
    validation: ImageIndex,
    settings: TrainConfig,
    folder: Path,
    *,
    origin: Origin | None = None,
    teacher: Detector | None = None,
    processes: Processes = ALONE,
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
        processes: Who else trains, each with its share of every batch; the first one writes.

    Raises:
        TrainingError: The settings cannot work, or numbers stopped being finite.
        PrunusError: A file could not be written.
        KeyboardInterrupt: The training was interrupted; its state is saved.
        SystemExit: By SIGTERM; its state is saved.
    """
    keep_freed_pages()
    processes.meet()  # one may have read its images for longer than the others wait in a sum
    origin = origin or Origin()
    image_size = fitting_size(settings.image_size, detector.stride)
    _check_batch(settings.batch_size, processes)
    settings = with_fitting_batch(settings, detector, image_size, len(training))
    loader = TrainingImages(training, settings, image_size, detector.stride, processes)
    if origin.state is None and settings.auto_anchor and teacher is None:  # its anchors are kept
        fit_anchors_(detector, training, image_size, settings.hyp.anchor_t)
    engine = build_engine(
        detector,
        settings,
        image_size=image_size,
        batches=len(loader),
        teacher=teacher,
        processes=processes,
    )
    announce(engine)
    progress = Progress()
    if origin.state is not None:
        restore_(engine, origin.state)
        progress = Progress(**origin.state["progress"])
    _check_same(engine, training, validation)
    before = fingerprint(detector, engine.frozen)
    session = Session(engine, settings, folder, origin, progress)
    session.begin()
    board = Board()
    if processes.first:
        resumed = origin.state is not None
        facts = RunFacts(folder, engine.position.epoch, settings.plain(), resumed)
        board = open_loggers(settings.loggers, facts, session.outputs.attempt)
    with board, Interrupt() as interrupt:
        session.run(loader, validation, image_size, board, interrupt)
    session.outputs.finish()
    _check_frozen(engine, before)
    return session.result()


def _check_batch(batch_size: int, processes: Processes) -> None:
    if processes.count > 1 and batch_size < processes.count:
        wish = "be measured" if batch_size == MEASURED_BATCH else f"be {batch_size}"
        raise TrainingError(
            f"--batch: cannot {wish} where {processes.count} processes train together: it is the "
            f"number of images in all of them. Give {processes.count} or more."
        )


def _check_same(engine: Engine, *indexes: ImageIndex) -> None:
    """Make sure that all processes begin with the same weights, images and labels."""
    if engine.processes.count == 1:
        return
    digest = blake2b()
    for index in indexes:
        for part in (index.sizes_hw, index.offsets, index.boxes):
            digest.update(part.tobytes())
    every = range(len(engine.detector.spec.rows))
    own = {
        "weights": fingerprint(engine.detector, every),
        "images or labels": digest.hexdigest(),
    }
    gathered = engine.processes.gather(own)
    for what in own:
        if len({facts[what] for facts in gathered}) > 1:
            raise TrainingError(
                f"the processes that train together have different {what}. Give all machines the "
                "same files."
            )


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
