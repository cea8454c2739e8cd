"""Free memory: the machine's or the container's, whichever is less."""

from pathlib import Path

import pytest

from prunus.core import memory
from prunus.core.memory import available_bytes


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    4000 kB\n")
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    return tmp_path


def limit(machine: Path, most: str, used: int, cached: int) -> None:
    (machine / "memory.max").write_text(f"{most}\n")
    (machine / "memory.current").write_text(f"{used}\n")
    (machine / "memory.stat").write_text(f"anon 1\ninactive_file {cached}\n")


def test_without_a_limit_it_is_the_machine_s(machine: Path) -> None:
    assert available_bytes() == 4_096_000
    limit(machine, "max", 5, 5)
    assert available_bytes() == 4_096_000


def test_a_container_s_limit_counts_when_it_is_less(machine: Path) -> None:
    limit(machine, "3000000", 2_500_000, 200_000)
    assert available_bytes() == 700_000
    limit(machine, "3000000", 4_000_000, 0)
    assert available_bytes() == 0
    limit(machine, "900000000", 0, 0)
    assert available_bytes() == 4_096_000


def test_a_system_that_does_not_tell(machine: Path) -> None:
    (machine / "meminfo").unlink()
    assert available_bytes() is None


def test_this_machine_has_some() -> None:
    amount = available_bytes()
    assert amount is None or 0 < amount < 1 << 50
