"""`compress` killed with SIGKILL in every stage: it goes on, and ends with the same table."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from prunus.weights.files import load_weights

SIDE = 64
PATIENCE_S = 300


def command(orchard: Path, weights: Path, folder: Path) -> list[str]:
    return [
        sys.executable, "-m", "prunus", "compress", "--data", str(orchard), "--weights",
        str(weights), "--img", str(SIDE), "--adapt-epochs", "1", "--finetune-epochs", "1",
        "--batch", "4", "--nominal-batch", "4", "--percent", "0.4", "--no-int8", "--repeats", "3",
        "--bootstrap", "0", "--round-to", "8", "--out", str(folder), "--quiet",
    ]  # fmt: skip


def stages(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("[0-9][0-9]-*"))


def kill_in_a_new_stage(words: list[str], folder: Path, seen: set[str]) -> bool:
    """Run until a stage begins that was not killed before, and kill there; True at the end."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(words, env=environment, stderr=subprocess.PIPE)
    deadline = time.monotonic() + PATIENCE_S
    while process.poll() is None:
        assert time.monotonic() < deadline
        new = [name for name in stages(folder) if name not in seen]
        if new:
            seen.add(new[-1])
            time.sleep(0.15)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            return False
        time.sleep(0.01)
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()
    return True


def digest(weights: Path) -> str:
    """Return the fingerprint of a file's tensors; its header holds milliseconds too."""
    tensors = load_weights(weights).detector.state_dict()
    bits = b"".join(tensor.contiguous().numpy().tobytes() for tensor in tensors.values())
    return hashlib.sha256(bits).hexdigest()


def outcome(folder: Path) -> tuple[Any, ...]:
    """Return what does not depend on a clock."""
    report = json.loads((folder / "report.json").read_text())
    table = [(row["step"], row["map50_95"], row["test_map50_95"], row["params"])
             for row in report["steps"]]  # fmt: skip
    models = [(model["name"], digest(folder / model["weights"])) for model in report["models"]]
    return table, models, [stage["name"] for stage in report["stages"]]


def test_killed_in_every_stage_it_ends_with_the_same_table(
    orchard: Path, weights: Path, tmp_path: Path
) -> None:
    undisturbed = command(orchard, weights, tmp_path / "a")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(undisturbed, env=environment, check=True)
    folder = tmp_path / "b"
    words, seen = command(orchard, weights, folder), set[str]()
    while not kill_in_a_new_stage(words, folder, seen):
        words = [*words[:3], "compress", "--resume", str(folder), "--quiet"]
    assert seen == set(stages(tmp_path / "a")), "every stage was killed once"
    assert outcome(folder) == outcome(tmp_path / "a")
