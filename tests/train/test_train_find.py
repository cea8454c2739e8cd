"""`--resume` alone: what keeps a training from being the one to go on with."""

from pathlib import Path

import pytest
import torch

from prunus.core.errors import TrainingError
from prunus.core.runs import REPORT
from prunus.train.checkpoint import FORMAT_VERSION, PREVIOUS, STATE
from prunus.train.find import AUTO, find_run
from prunus.train.sealed import write_sealed

EPOCHS = 3


def stopped(folder: Path, epoch: int) -> Path:
    """Leave a training that was stopped after so many of its epochs."""
    folder.mkdir(parents=True)
    texts: dict[str, object] = dict.fromkeys(("architecture", "progress", "origin"), "{}")
    state = {"format_version": FORMAT_VERSION, "w": torch.ones(4), "position": {"epoch": epoch}}
    settings = f'{{"epochs": {EPOCHS}}}'
    write_sealed(folder / STATE, {**state, **texts, "settings": settings}, folder / PREVIOUS)
    return folder


@pytest.mark.parametrize(
    ("epoch", "reported", "found"),
    [(1, False, True), (1, True, True), (EPOCHS, False, True), (EPOCHS, True, False)],
)
def test_only_what_has_ended_and_reported_is_passed_over(
    tmp_path: Path, epoch: int, reported: bool, found: bool
) -> None:
    """A report may be that of an earlier training in the same folder (`--exist-ok`)."""
    run = stopped(tmp_path / "train" / "exp", epoch)
    if reported:
        (run / REPORT).write_text("{}")
    if found:
        assert find_run(AUTO, tmp_path) == run
    else:
        with pytest.raises(TrainingError, match="nothing to resume"):
            find_run(AUTO, tmp_path)
