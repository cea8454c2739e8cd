"""`data check`, `data convert` and `data demo`: judge a data set, rewrite it, or generate one."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from prunus.core.console import log, table
from prunus.core.errors import printable
from prunus.core.files import write_text
from prunus.core.runs import Run, start
from prunus.data.config import DataCheckConfig, DataConvertConfig, DataDemoConfig
from prunus.data.convert.run import losses, write_data_set
from prunus.data.index import ImageIndex, build_index
from prunus.data.problems import Problem
from prunus.data.review.alike import fingerprints, near_images, same_files
from prunus.data.review.balance import absent_classes, class_balance
from prunus.data.review.page import findings_csv, page
from prunus.data.review.sizes import boxes_px, size_facts, tiny_boxes
from prunus.data.review.strays import strays
from prunus.data.rules import COSTLY
from prunus.data.scenes.write import write_demo
from prunus.data.spec import DataSpec, read_data
from prunus.model.spec import read_arch
from prunus.train.anchors import Sizes, best_possible_recall
from prunus.weights.files import load_weights

SHOWN_PROBLEMS = 20
PROBLEMS, PAGE, TABLE = "problems.txt", "check.md", "findings.csv"
ARCHS = ("yolov5n", "yolov5n6")
"""One for each set of default anchors: three levels, and four."""
ANCHOR_THRESHOLD = 4.0
"""Training's default: an anchor takes boxes whose sides differ by less than this factor."""
RECALL_ENOUGH = 0.98
"""Training fits new anchors below this (spec 2.10)."""

Indices = Mapping[str, ImageIndex]


def check(settings: DataCheckConfig) -> dict[str, object]:
    """Read a data set, name what is wrong with file and line, and return the report.

    `too_many_problems` in the report says whether a share of faults is above the limit, or a whole
    shard could not be read: how many images it holds is not known.
    """
    with start("data-check", settings) as run:
        run.add_input("data", settings.data)
        candidates = _anchors(settings.weights)
        if settings.weights is not None:
            run.add_input("weights", settings.weights)
        spec = read_data(settings.data)
        splits = list(spec.splits) if settings.split == "all" else [settings.split]
        indices = {split: build_index(spec, split) for split in splits}
        anchors = _anchor_fit(indices, settings.image_size, candidates)
        findings = _findings(spec, indices, settings) + _poor_anchors(spec, anchors)
        shares = _shares(indices, findings)
        lost_shards = sum(problem.rule == "shard-unreadable" for problem in findings)
        too_many = max(shares.values()) > settings.max_problems or lost_shards > 0
        facts = {split: _facts(index, settings.image_size) for split, index in indices.items()}
        verdict = _verdict(shares, settings.max_problems, lost_shards)
        _write(run, findings, page(spec.path.name, verdict, facts, findings, anchors))
        _tell(run, spec.path.name, facts, findings, verdict)
        costly = [problem for problem in findings if problem.effect in COSTLY]
        run.report = {
            "splits": facts,
            "problems": [str(problem) for problem in costly],
            "remarks": [str(problem) for problem in findings if problem.effect not in COSTLY],
            "rules": dict(Counter(problem.rule for problem in findings)),
            "anchors": anchors,
            "shares": shares,
            "too_many_problems": too_many,
        }
        return run.finish()


def convert(settings: DataConvertConfig) -> dict[str, object]:
    """Write a data set in another format and return the report; say first what cannot be kept."""
    with start("data-convert", settings) as run:
        run.add_input("data", settings.data)
        spec = read_data(settings.data)
        indices = {split: build_index(spec, split) for split in spec.splits}
        lost = [printable(line) for line in losses(spec, indices, settings.to)]
        for line in lost:
            log.warning("not carried over: %s", line)
        written = write_data_set(spec, indices, settings.to, run.folder, copy=settings.copy_images)
        log.info("%s: ready to train on, e.g. prunus train --data %s", written, written)
        run.report = {
            "data": str(written),
            "lost": lost,
            "splits": {
                split: {"images": len(index), "boxes": len(index.boxes)}
                for split, index in indices.items()
            },
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


def _findings(spec: DataSpec, indices: Indices, settings: DataCheckConfig) -> list[Problem]:
    """Return everything that was found, faults of files first."""
    found = [problem for index in indices.values() for problem in index.problems]
    for split in indices:
        found += strays(spec, split)
    if not settings.fast:
        prints = {
            split: fingerprints(index, f"looking at {split}") for split, index in indices.items()
        }
        found += [problem for item in prints.values() for problem in item.damaged]
        found += same_files(spec.root, prints) + near_images(spec.root, prints)
    found += absent_classes(Path(spec.path.name), indices)
    for index in indices.values():
        found += tiny_boxes(index, settings.image_size)
    named = dict.fromkeys(problem.relative_to(spec.root) for problem in found)
    return sorted(named, key=lambda problem: problem.effect not in COSTLY)


def _anchors(weights: Path | None) -> dict[str, Sizes]:
    """Return the default anchors in pixels, or those of a model, by its name.

    Raises:
        WeightsError: See `weights.files.load_weights`.
    """
    if weights is not None:
        detector = load_weights(weights).detector
        return {weights.name: detector.anchors_px.reshape(-1, 2).double().numpy()}
    return {
        name: np.array(read_arch(name).anchors_px, dtype=np.float64).reshape(-1, 2)
        for name in ARCHS
    }


def _anchor_fit(
    indices: Indices, image_size: int, candidates: Mapping[str, Sizes]
) -> list[dict[str, object]]:
    """Return the best possible recall of anchors on the training boxes."""
    index = indices.get("train") or next(iter(indices.values()))
    sizes = boxes_px(index, image_size)
    if not len(sizes):
        return []
    fit = []
    for name, anchors in candidates.items():
        recall = best_possible_recall(anchors, sizes, ANCHOR_THRESHOLD)
        fit.append({"anchors of": name, "image_size": image_size, "best possible recall": recall})
    return fit


def _poor_anchors(spec: DataSpec, fit: list[dict[str, object]]) -> list[Problem]:
    recalls = [float(str(row["best possible recall"])) for row in fit]
    if not recalls or max(recalls) > RECALL_ENOUGH:
        return []
    names = " or ".join(printable(str(row["anchors of"])) for row in fit)
    message = f"no anchor of {names} takes {1 - max(recalls):.1%} of the boxes"
    return [Problem(Path(spec.path.name), None, message, "anchors-miss")]


def _shares(indices: Indices, findings: list[Problem]) -> dict[str, float]:
    """Return which share of boxes, of images, and of images of two splits has a fault."""
    effects = Counter(problem.effect for problem in findings)
    images, boxes = (sum(map(size, indices.values())) for size in (len, lambda i: len(i.boxes)))
    damaged = sum(problem.rule == "image-damaged" for problem in findings)
    left_out, dropped = effects["image left out"], effects["box dropped"]
    leaked = sum(problem.rule in ("split-same-image", "split-near-image") for problem in findings)
    return {
        "boxes": (dropped + effects["box clipped"]) / max(boxes + dropped, 1),
        "images": left_out / max(images + left_out - damaged, 1),
        "leaked": leaked / max(images, 1),
    }


def _verdict(shares: Mapping[str, float], most: float, lost_shards: int) -> str:
    words = (
        f"{shares['boxes']:.2%} of the boxes and {shares['images']:.2%} of the images have faults, "
        f"{shares['leaked']:.2%} of the images are in two splits"
    )
    over = max(shares.values()) > most
    verdict = f"{words}: {'above' if over else 'within'} the limit of {most:.2%} (--max-problems)."
    return f"{verdict} {lost_shards} shards cannot be read at all." if lost_shards else verdict


def _facts(index: ImageIndex, image_size: int) -> dict[str, object]:
    counts = Counter(index.boxes[:, 0].astype(int).tolist())
    return {
        "images": len(index),
        "backgrounds": int((np.diff(index.offsets) == 0).sum()),
        "labels": len(index.boxes),
        "problems": sum(problem.effect in COSTLY for problem in index.problems),
        "per_class": {name: counts[number] for number, name in enumerate(index.names)},
        "classes": class_balance(index),
        "sizes": size_facts(index, image_size),
    }


def _write(run: Run, findings: list[Problem], text: str) -> None:
    write_text(run.path(PROBLEMS), "".join(f"{problem}\n" for problem in findings))
    write_text(run.path(TABLE), findings_csv(findings))
    write_text(run.path(PAGE), text)


def _tell(
    run: Run,
    title: str,
    facts: Mapping[str, Mapping[str, object]],
    findings: list[Problem],
    verdict: str,
) -> None:
    columns = ("images", "backgrounds", "labels", "problems")
    rows = [(split, *(facts[split][column] for column in columns)) for split in facts]
    log.info("%s", table(printable(title), ("split", *columns), rows))
    for problem in findings[:SHOWN_PROBLEMS]:
        log.info("%s", problem)
    if len(findings) > SHOWN_PROBLEMS:
        log.info("… and %d more, all in %s", len(findings) - SHOWN_PROBLEMS, run.path(PROBLEMS))
    log.info("%s", verdict)
    log.info("the whole report: %s", Path(run.path(PAGE)))
