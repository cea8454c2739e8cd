"""`--resume` without a folder: the newest training that can go on."""

from pathlib import Path

from prunus.core.console import log
from prunus.core.errors import TrainingError
from prunus.core.runs import REPORT, in_use
from prunus.train.checkpoint import PREVIOUS, STATE, newest_state

AUTO = Path("auto")
VERB = "train"


def find_run(request: Path, project: Path) -> Path:
    """Return the run folder that `--resume` means.

    Args:
        request: A folder, or AUTO for the newest one with a whole state.
        project: Folder of all runs.

    Raises:
        TrainingError: There is none; those that are damaged are named in the log.
    """
    if request != AUTO or _saved_at(AUTO):
        return request
    for folder in _newest_first(project / VERB):
        if in_use(folder):
            log.info("%s: another process is at work there, looking further", folder)
            continue
        try:
            state, _ = newest_state(folder)
        except TrainingError as error:
            log.warning("%s", error)
        else:
            ended = state["position"]["epoch"] >= state["settings"]["epochs"]
            if not (ended and (folder / REPORT).is_file()):
                return folder
    raise TrainingError(
        f"--resume: nothing to resume in {project / VERB}. Give the folder of a training run, or "
        "start a new training without --resume."
    )


def _newest_first(parent: Path) -> list[Path]:
    found = [folder for folder in parent.glob("*") if _saved_at(folder)]
    return sorted(found, key=lambda folder: (_saved_at(folder), folder.name), reverse=True)


def _saved_at(folder: Path) -> float:
    """Return when a run's state was last written, 0 when there is none."""
    times = [
        (folder / name).stat().st_mtime for name in (STATE, PREVIOUS) if (folder / name).is_file()
    ]
    return max(times, default=0.0)
