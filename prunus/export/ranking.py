"""Which of the measured models to ship."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prunus.core.errors import ExportError, printable
from prunus.core.files import write_atomically

Row = Mapping[str, Any]
"""A row of `benchmark.jsonl`: latency_ms, map50_95 (or None), machine and so on."""
SAME = ("processor", "cores", "memory_gb", "system", "gpu")
"""What has to agree for two figures to be of the same machine."""


def check_one_machine(row: Row, others: Sequence[Row], where: str) -> None:
    """Check that rows of an earlier run may stand beside one of this machine.

    Raises:
        ExportError: They were measured on another machine.
    """
    for other in others:
        for fact in SAME:
            here, there = row["machine"][fact], other["machine"].get(fact)
            if here != there:
                raise ExportError(
                    f"{where}: measured on another machine ({fact}: {there}, here {here}). "
                    "Milliseconds of different machines say nothing about the models: measure "
                    "all of them in one run."
                )


def other_packages(packages: Mapping[str, str], others: Sequence[Row]) -> list[str]:
    """Name the packages that rows of an earlier run were measured with in other versions.

    Args:
        packages: Versions here, by name.
        others: Those rows; what one does not say of itself counts as the same.

    Returns:
        Such as "torch 2.12.0 (here 2.13.0)", a line each.
    """
    found = []
    for name, here in packages.items():
        versions = {str(row.get("packages", {}).get(name, here)) for row in others}
        if there := sorted(versions - {here}):
            found.append(printable(f"{name} {' and '.join(there)} (here {here})"))
    return found


def pareto_front(rows: Sequence[Row], cost: str = "latency_ms") -> list[Row]:
    """Return the rows that no other one beats in accuracy without costing more, cheapest first.

    Args:
        rows: With `map50_95`, which may be None.
        cost: The key of what is to be small.
    """
    judged = sorted(
        (row for row in rows if row["map50_95"] is not None),
        key=lambda row: (row[cost], -row["map50_95"]),
    )
    front: list[Row] = []
    for row in judged:
        if not front or row["map50_95"] > front[-1]["map50_95"]:
            front.append(row)
    return front


def best_under(rows: Sequence[Row], limit_ms: float) -> Row | None:
    """Return the most accurate row within a limit, of equal ones the fastest; None if none is."""
    within = [row for row in pareto_front(rows) if row["latency_ms"] <= limit_ms]
    return within[-1] if within else None


def plot_pareto(path: Path, rows: Sequence[Row]) -> None:
    """Draw accuracy over latency, and the front.

    Args:
        path: A PNG.
        rows: At least one of them with an accuracy.
    """
    from matplotlib.figure import Figure  # late: matplotlib takes 0.3 s to import

    figure = Figure(figsize=(9, 6), dpi=100)
    axes = figure.subplots()
    for row in rows:
        if row["map50_95"] is None:
            continue
        spot = (row["latency_ms"], row["map50_95"])
        axes.errorbar(*spot, xerr=row["iqr_ms"] / 2, fmt="o", color="0.4", capsize=2)
        axes.annotate(title(row).replace("$", r"\$"), spot, (5, 4), textcoords="offset points",
                      fontsize=7)  # fmt: skip
    front = pareto_front(rows)
    axes.step(
        [row["latency_ms"] for row in front],
        [row["map50_95"] for row in front],
        where="post",
        color="tab:purple",
        label="nothing is faster and as accurate",
    )
    axes.set(xlabel="ms a call, median and quartiles", ylabel="mAP50-95", xscale="log")
    axes.grid(alpha=0.3, which="both")
    axes.legend(loc="lower right", fontsize=8)
    figure.tight_layout()
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png"))


def title(row: Row) -> str:
    """Return a row's name."""
    return f"{Path(row['model']).stem} {row['runtime']} {row['precision']} {row['size_hw'][0]}"
