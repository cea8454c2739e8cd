"""The before/after table, by hand."""

from prunus.report.steps import StepRow, steps_markdown, steps_table

ROWS = [
    StepRow("dense", 0.9, 0.6, 0.59, 1_867_405, 4.468, 7.6, {"torch": 20.0, "onnx": 10.0}),
    StepRow("pruned, as cut", 0.1, 0.05, None, 900_000, 2.2, 3.6),
    StepRow("fine-tuned", 0.89, 0.595, 0.58, 900_000, 2.2, 3.6, {"torch": 16.0, "onnx": 5.0}),
]


def test_speed_ups_are_over_the_first_timed_row() -> None:
    last = steps_table("t", ROWS).splitlines()[-1].split()
    assert last[-4:] == ["16.00", "1.25x", "5.00", "2.00x"]


def test_what_was_not_measured_is_a_dash() -> None:
    assert steps_markdown(ROWS).splitlines()[3] == (
        "| pruned, as cut | 0.100 | 0.050 | - | 900,000 | 2.20 | 3.60 | - | - | - | - |"
    )


def test_columns_nobody_measured_are_left_out() -> None:
    header = steps_markdown([StepRow("dense", 0.5, 0.25)]).splitlines()[0]
    assert header == "| step | mAP50 | mAP50-95 | params | GFLOPs | MB |"
