"""The report of `prunus data check` as a page: what, how many, what will happen, what to do.

Every word from the data set is escaped: a class may be called `<script>` or `=cmd()`.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from prunus.data.problems import Problem, cell, markdown
from prunus.data.rules import RULES

EXAMPLES = 20
CSV_HEADER = ("place", "line", "rule", "effect", "message")


def page(
    title: str,
    verdict: str,
    splits: Mapping[str, Mapping[str, object]],
    findings: Sequence[Problem],
    anchors: Sequence[Mapping[str, object]],
) -> str:
    """Return Markdown.

    Args:
        title: The data set's name.
        verdict: One line.
        splits: Facts of each split; those that are plain numbers become the first table's columns,
            `classes` and `sizes` tables of their own.
        findings: All problems and remarks.
        anchors: Rows of name and best possible recall.
    """
    parts = [f"# {markdown(title)}\n", f"{markdown(verdict)}\n", "## Splits\n", _splits(splits)]
    parts += ["## Findings\n", _summary(findings)]
    parts += [f"### Class balance: {split}\n\n{_rows(facts['classes'])}" for split, facts in splits.items()]  # fmt: skip  # noqa: E501
    parts += ["## Box sizes\n", _sizes(splits)]
    if anchors:
        parts += ["## Anchors\n", _rows(anchors)]
    parts += [_examples(rule, findings) for rule in dict.fromkeys(p.rule for p in findings)]
    return "\n".join(parts)


def findings_csv(findings: Iterable[Problem]) -> str:
    """Return the findings for a spreadsheet, with nothing in them that it would run."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    for problem in findings:
        words = (str(problem.file), problem.line or "", problem.rule, problem.effect)
        writer.writerow([cell(str(word)) for word in (*words, problem.message)])
    return stream.getvalue()


def _splits(splits: Mapping[str, Mapping[str, object]]) -> str:
    rows = [
        {"split": split, **{key: value for key, value in facts.items() if isinstance(value, int)}}
        for split, facts in splits.items()
    ]
    return _rows(rows)


def _sizes(splits: Mapping[str, Mapping[str, object]]) -> str:
    rows = []
    for split, facts in splits.items():
        sizes = facts["sizes"]
        if isinstance(sizes, Mapping):
            row = {key: value for key, value in sizes.items() if not isinstance(value, Mapping)}
            sides = " / ".join(str(value) for value in sizes["side_px"].values())
            rows.append({"split": split, **row, "side in px at 5/25/50/75/95 %": sides})
    return _rows(rows)


def _summary(findings: Sequence[Problem]) -> str:
    if not findings:
        return "None.\n"
    counts = Counter(problem.rule for problem in findings)
    return _rows(
        [
            {"rule": rule, "found": n, "effect": RULES[rule].effect, "advice": RULES[rule].advice}
            for rule, n in counts.most_common()
        ]
    )


def _examples(rule: str, findings: Sequence[Problem]) -> str:
    listed = [problem for problem in findings if problem.rule == rule]
    lines = [f"- {markdown(str(problem))}" for problem in listed[:EXAMPLES]]
    if len(listed) > EXAMPLES:
        lines.append(f"- … and {len(listed) - EXAMPLES} more in problems.txt")
    return f"### {rule}\n\n" + "\n".join(lines) + "\n"


def _rows(rows: object) -> str:
    """Return a table of mappings with the same keys."""
    if not isinstance(rows, Sequence) or not rows:
        return "None.\n"
    head = list(rows[0])
    lines = [f"| {' | '.join(map(markdown, head))} |", "|" + "---|" * len(head)]
    lines += [f"| {' | '.join(_shown(row[key]) for key in head)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _shown(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else markdown(str(value))
