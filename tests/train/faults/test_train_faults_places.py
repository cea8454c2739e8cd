"""The same seed, the same bits; runs disturb neither each other nor the data (R14, R17)."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from prunus.core.files import sha256
from prunus.train import start
from prunus.train.checkpoint import LAST
from prunus.train.config import TrainConfig
from prunus.train.logs import RESULTS
from prunus.weights.files import load_weights

pytestmark = pytest.mark.integration
MakeSettings = Callable[..., TrainConfig]
Victim = Callable[..., Any]
Words = Callable[..., list[str]]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_weights(folder / LAST).detector.state_dict()


def assert_same(one: Path, other: Path) -> None:
    assert (one / RESULTS).read_text() == (other / RESULTS).read_text()
    theirs = weights(other)
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in weights(one).items())


def fingerprints(root: Path) -> dict[str, str]:
    return {str(path): sha256(path) for path in sorted(root.rglob("*")) if path.is_file()}


def test_the_same_seed_gives_the_same_bits_whatever_the_workers(
    settings: MakeSettings, tiny: Path, tmp_path: Path
) -> None:
    for name, values in {"a": {}, "b": {}, "c": {"workers": 3}, "d": {"seed": 1}}.items():
        start.run(settings(cfg=str(tiny), **values), tmp_path / name)
    assert_same(tmp_path / "a", tmp_path / "b")
    assert_same(tmp_path / "a", tmp_path / "c")
    assert (tmp_path / "a" / RESULTS).read_text() != (tmp_path / "d" / RESULTS).read_text()


def test_two_trainings_at_once_on_the_same_data_and_project(
    words: Words, data: Path, tmp_path: Path
) -> None:
    before = fingerprints(data.parent)
    arguments = words(tmp_path / "unused")
    place = arguments.index("--out")
    arguments[place : place + 2] = ["--project", str(tmp_path / "runs")]
    command = [sys.executable, "-m", "prunus.cli.main", *arguments, "--quiet"]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    folders = sorted((tmp_path / "runs" / "train").iterdir())
    assert [folder.name for folder in folders] == ["exp", "exp2"]
    assert_same(*folders)
    after = fingerprints(data.parent)
    assert {path: after[path] for path in before} == before


def test_read_only_data_behind_a_relative_link_with_an_odd_name(
    settings: MakeSettings, data: Path, tiny: Path, tmp_path: Path
) -> None:
    """A real read-only mount where this user may make one; else a folder without write bits."""
    odd = tmp_path / "mit Leerzeichen 中文 🍒"
    odd.mkdir()
    (data.parent / "images").rename(odd / "pictures")
    (data.parent / "images").symlink_to(Path("..") / odd.name / "pictures")
    start.run(settings(cfg=str(tiny)), tmp_path / "writable")
    mounted = subprocess.run(
        ["mount", "--bind", "-o", "ro", str(data.parent), str(data.parent)],
        check=False, capture_output=True,
    )  # fmt: skip
    try:
        if mounted.returncode:
            data.parent.chmod(0o555)
        elif os.access(data.parent, os.W_OK):
            subprocess.run(["mount", "-o", "remount,bind,ro", str(data.parent)], check=False)
        folder = tmp_path / "läuft 跑 🍇" / "run"
        start.run(settings(cfg=str(tiny), workers=1), folder)
    finally:
        if mounted.returncode:
            data.parent.chmod(0o755)
        else:
            subprocess.run(["umount", "-l", str(data.parent)], check=True)
    assert_same(tmp_path / "writable", folder)
