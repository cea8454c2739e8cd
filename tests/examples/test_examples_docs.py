"""What docs/export.md shows to programs without Prunus finds what Prunus finds."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import prunus

PAGE = Path(__file__).resolve().parents[2] / "docs" / "export.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_another_program_finds_what_prunus_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    makes_a_file, other_program = BLOCK.findall(PAGE.read_text("utf-8"))
    assert "prunus" not in other_program
    exec(makes_a_file, {})  # noqa: S102
    page: dict[str, Any] = {}
    exec(other_program, page)  # noqa: S102
    (found,) = prunus.load("plums.onnx")("tree.png", confidence=0.0, iou=0.45, max_detections=300)
    assert len(found) > 10
    np.testing.assert_allclose(page["detections"][:, 5], found.scores, rtol=1e-5)
    assert page["detections"][:, 6].astype(int).tolist() == found.classes.tolist()
    inside = page["boxes"].clip(0, [128, 96, 128, 96])  # Prunus cuts boxes at the border
    np.testing.assert_allclose(inside, found.boxes_xyxy, atol=1e-2)
