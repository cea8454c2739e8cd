"""Victims that can be killed, and a data set and a network that are small enough to do it often."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

Job = dict[str, Any]
Victim = Callable[..., "Running"]
SCRIPT = Path(__file__).parent / "victim.py"


class Running:
    """A victim at work."""

    def __init__(self, server: "subprocess.Popen[str]", job: Job) -> None:
        assert server.stdin is not None
        self._server, self.log = server, Path(job["log"])
        server.stdin.write(json.dumps(job) + "\n")
        server.stdin.flush()
        self.said: list[dict[str, Any]] = []
        self.pid: int = self.until("pid")

    def until(self, key: str) -> Any:
        """Read what the victim says up to a key; return the key's value."""
        assert self._server.stdout is not None
        while True:
            line = self._server.stdout.readline()
            assert line, "the server of victims is gone"
            self.said.append(json.loads(line))
            if key in self.said[-1]:
                return self.said[-1][key]

    def end(self) -> int:
        """Wait for the end; return the exit status, negative for a signal."""
        status: int = self.until("status")
        return status

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def relatives(self) -> list[int]:
        """Return the processes of its session that are still there."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == self.pid and fields[0] != "Z":
                found.append(int(folder.name))
        return found


@pytest.fixture(scope="session")
def server() -> Iterator["subprocess.Popen[str]"]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, str(SCRIPT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout is not None
        assert "ready" in process.stdout.readline()
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def victim(server: "subprocess.Popen[str]", tmp_path: Path) -> Victim:
    """Start a victim; keywords are the job's."""

    def start(**job: Any) -> Running:
        return Running(server, {"log": str(tmp_path / "log"), **job})

    return start


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """An architecture with yolov5n's rows and a sixth of its channels."""
    text = (resources.files("prunus.model") / "archs" / "yolov5n.yaml").read_text("utf-8")
    path = tmp_path / "tiny.yaml"
    path.write_text(re.sub(r"width_multiple: [\d.]+", "width_multiple: 0.04", text))
    assert "0.04" in path.read_text()
    return path


@pytest.fixture
def words(data: Path, tiny: Path) -> Callable[..., list[str]]:
    """The words of `prunus train` on the small data set; keywords are further settings."""

    def make(folder: Path, **settings: object) -> list[str]:
        values = {
            "data": data, "cfg": tiny, "img": 64, "batch": 2, "epochs": 2, "nominal-batch": 4,
            "precision": "fp32", "device": "cpu", "out": folder, "save-minutes": 1e-9,
            **{name.replace("_", "-"): value for name, value in settings.items()},
        }  # fmt: skip
        flags = [word for name, value in values.items() for word in (f"--{name}", str(value))]
        return ["train", *flags, "--no-auto-anchor", "--no-plots"]

    return make
