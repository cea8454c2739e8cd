"""What a quantization came to: rows of files, the layers that stayed float and why, as told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prunus.core.console import log, table
from prunus.export.quantize.search import Found, Trial


@dataclass(frozen=True)
class Row:
    """One file, on validation images.

    Attributes:
        name: What it is.
        map50: Mean average precision at IoU .5.
        map50_95: The same over .5 to .95.
        file_mb: With its companion, 10^6 bytes.
        ms: A call with one thread.
    """

    name: str
    map50: float
    map50_95: float
    file_mb: float
    ms: float

    def as_dict(self) -> dict[str, object]:
        return {
            "name": self.name,
            "map50": round(self.map50, 4),
            "map50_95": round(self.map50_95, 4),
            "file_mb": round(self.file_mb, 3),
            "ms": round(self.ms, 3),
        }


def returned(
    fixed: Sequence[str], found: Found | None, noise: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Return the layers in float: why, and what the model was judged at with them in float.

    Args:
        fixed: Those that the user named.
        found: What the search chose, if there was one.
        noise: Of each layer; the shares are of all of it.
    """
    total = sum(noise.values())
    rows: list[dict[str, Any]] = [
        {"layer": name, "why": "--float", "noise_share": None, "map50_95": None} for name in fixed
    ]
    if found is None:
        return rows
    accuracies = {len(trial.floating): trial.accuracy for trial in found.trials}
    for number, name in enumerate(found.chosen.floating, start=1):
        rows.append(
            {
                "layer": name,
                "why": "search",
                "noise_share": round(noise[name] / total, 4) if total else 0.0,
                "map50_95": accuracies.get(number),
            }
        )
    return rows


def search_facts(found: Found) -> dict[str, object]:
    """Return the search for a report."""

    def facts(trial: Trial) -> dict[str, object]:
        return {"float_layers": len(trial.floating), "map50_95": round(trial.accuracy, 4)}

    return {"reached": found.reached, "trials": [facts(trial) for trial in found.trials]}


def tell(report: Mapping[str, Any], rows: Sequence[Row], max_drop: float) -> None:
    """Log the tables, the file, and a warning when too much was lost.

    Args:
        report: Of the verb.
        rows: The float file first, the written one last.
        max_drop: What may be lost.
    """
    first = rows[0]
    cells = [
        (
            row.name,
            f"{row.map50:.4f}",
            f"{row.map50_95:.4f}",
            f"{row.map50_95 - first.map50_95:+.4f}",
            f"{row.file_mb:.2f}",
            f"{row.ms:.2f}",
            f"{first.ms / row.ms:.2f}x",
        )
        for row in rows
    ]
    header = ("file", "mAP50", "mAP50-95", "change", "MB", "ms", "speed-up")
    log.info("%s", table(f"on {report['images']['validation']} validation images", header, cells))
    if report["float_layers"]:
        _tell_returned(report["float_layers"])
    log.info("%s", report["path"])
    if not report["judged"]:
        log.warning(
            "%s was written, but what it loses is not known: no validation image has labels. "
            "Label some.",
            report["path"],
        )
    elif not report["within_max_drop"]:
        log.warning(
            "%s loses %.4f mAP50-95 and was written all the same: %s. Try more "
            "--calibration-images or --max-trials, another --method, or --float.",
            report["path"],
            report["drop"],
            _too_much(report, max_drop),
        )


def _too_much(report: Mapping[str, Any], max_drop: float) -> str:
    if report["drop"] > max_drop:
        return f"--max-drop allows {max_drop:g}"
    return f"no trial of the search came within --max-drop {max_drop:g} on its own images"


def _tell_returned(layers: list[dict[str, Any]]) -> None:
    cells = [
        (
            row["layer"],
            row["why"],
            None if row["noise_share"] is None else f"{100 * row['noise_share']:.1f} %",
            None if row["map50_95"] is None else f"{row['map50_95']:.4f}",
        )
        for row in layers
    ]
    header = ("layer in float", "why", "its share of the noise", "judged with it and those above")
    log.info("%s", table("kept in float", header, cells))
