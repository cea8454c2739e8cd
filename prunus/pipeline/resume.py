"""Which training `prunus train` goes on with, if any."""

from pathlib import Path

from prunus.core.config import parse
from prunus.core.distributed import restarted
from prunus.core.errors import TrainingError
from prunus.core.files import read_yaml
from prunus.core.runs import CONFIG, in_use, only_begun
from prunus.pipeline.pictures import TRAINING_PICTURES
from prunus.train.config import TrainConfig
from prunus.train.find import AUTO, VERB, find_run
from prunus.train.start import saved_settings


def run_to_resume(settings: TrainConfig) -> Path | None:
    """Return the run to go on with: the one that is asked for, or that `torchrun` restarts.

    `--resume` alone means that of `--out`, or else the newest one that has saved something, or else
    the newest one that has begun.

    Raises:
        TrainingError: There is none, and one is asked for.
    """
    request = settings.resume
    if request == AUTO and settings.out is not None:
        request = settings.out
    if request is not None:
        try:
            return find_run(request, settings.project)
        except TrainingError:
            if (begun := _newest_begun(settings.project / VERB)) is None:
                raise
            return begun
    if not restarted():
        return None
    try:
        folder = find_run(AUTO, settings.project) if settings.out is None else settings.out
        same = saved_settings(folder) == settings
    except TrainingError:  # it had not saved anything yet
        return None
    return folder if same else None


def begun_settings(folder: Path) -> TrainConfig:
    """Return the settings of a training that was begun and has saved nothing.

    Raises:
        ConfigError: They cannot be read, or are those of another verb.
    """
    saved = read_yaml(folder / CONFIG)
    values = saved if isinstance(saved, dict) else {}
    return parse(TrainConfig, values, str(folder / CONFIG))


def _newest_begun(parent: Path) -> Path | None:
    found = [
        folder
        for folder in parent.glob("*")
        if only_begun(folder, TRAINING_PICTURES) and not in_use(folder)
    ]
    return max(found, key=lambda folder: (folder / CONFIG).stat().st_mtime, default=None)
