"""`data check` and `data demo`: what is wrong with a data set, and one that is made to measure."""

from collections import Counter
from collections.abc import Iterable

import numpy as np

from prunus.core.console import log, table
from prunus.core.runs import start
from prunus.data.config import DataCheckConfig, DataDemoConfig
from prunus.data.index import ImageIndex, build_index
from prunus.data.scenes.write import write_demo
from prunus.data.spec import read_data

SHOWN_PROBLEMS = 20
PROBLEMS = "problems.txt"


def check(settings: DataCheckConfig) -> dict[str, object]:
    """Read a data set, name its problems with file and line, and return the report."""
    with start("data-check", settings) as run:
        run.add_input("data", settings.data)
        data = read_data(settings.data)
        splits = list(data.splits) if settings.split == "all" else [settings.split]
        indices = {split: build_index(data, split) for split in splits}
        log.info("%s", _table(settings.data.name, indices))
        problems = [str(problem) for index in indices.values() for problem in index.problems]
        for line in problems[:SHOWN_PROBLEMS]:
            log.info("%s", line)
        if len(problems) > SHOWN_PROBLEMS:
            log.info("… and %d more, all in %s", len(problems) - SHOWN_PROBLEMS, run.path(PROBLEMS))
        run.path(PROBLEMS).write_text("".join(f"{line}\n" for line in problems), encoding="utf-8")
        run.report = {
            "splits": {split: _facts(index) for split, index in indices.items()},
            "problems": problems,
        }
        return run.finish()


def demo(settings: DataDemoConfig) -> dict[str, object]:
    """Write the generated data set and return the report."""
    with start("data-demo", settings) as run:
        written = write_demo(
            settings.folder,
            train=settings.train,
            val=settings.val,
            test=settings.test,
            image_size=settings.image_size,
            seed=settings.seed,
        )
        log.info("%s: ready to train on, e.g. prunus train --data %s", written, written)
        run.report = {"data": str(written)}
        return run.finish()


def _facts(index: ImageIndex) -> dict[str, object]:
    counts = Counter(index.boxes[:, 0].astype(int).tolist())
    return {
        "images": len(index),
        "backgrounds": int((np.diff(index.offsets) == 0).sum()),
        "labels": len(index.boxes),
        "per_class": {name: counts[number] for number, name in enumerate(index.names)},
        "problems": len(index.problems),
    }


def _table(title: str, indices: dict[str, ImageIndex]) -> str:
    columns = ("images", "backgrounds", "labels", "problems")
    rows: Iterable[tuple[object, ...]] = (
        (split, *(_facts(index)[column] for column in columns)) for split, index in indices.items()
    )
    return table(title, ("split", *columns), rows)
