"""Whatever bytes a file has, it loads or is refused by `WeightsError`; it never crashes."""

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prunus.core.errors import WeightsError
from prunus.model.build import build_detector
from prunus.model.detector import Detector
from prunus.model.spec import arch_from_mapping
from prunus.weights.files import load_weights
from prunus.weights.module_tree import read_model
from prunus.weights.native import save_weights
from prunus.weights.pickle_reader import read_pickle

TINY_ROWS = {
    "anchors": [[10, 13]],
    "backbone": [[-1, 1, "Conv", [8, 3, 2]]],
    "head": [[-1, 1, "C3", [8]], [[1], 1, "Detect", ["nc", "anchors"]]],
}
QUICK = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
MUTATIONS = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4)


def loads_or_refuses(path: Path) -> bool:
    """Return whether it loads."""
    try:
        detector = load_weights(path).detector
    except WeightsError as error:
        assert str(error).startswith(f"{path}: ")
        assert "\n" not in str(error)
        return False
    assert all(tensor.isfinite().all() for tensor in detector.state_dict().values())
    return True


def mutated(content: bytes, mutations: list[tuple[float, int]], kept: float) -> bytes:
    changed = bytearray(content[: max(1, int(len(content) * kept))])
    for place, value in mutations:
        changed[int(place * len(changed))] = value
    return bytes(changed)


@pytest.fixture
def tiny() -> Detector:
    torch.manual_seed(0)
    return build_detector(arch_from_mapping(TINY_ROWS, "tiny"), ["plum"]).eval()


@pytest.fixture
def official_bytes(tmp_path: Path, tiny: Detector, official: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save({"model": official(tiny)}, buffer)
    (tmp_path / "tiny.pt").write_bytes(buffer.getvalue())
    assert loads_or_refuses(tmp_path / "tiny.pt")
    return buffer.getvalue()


@pytest.fixture
def native_bytes(tmp_path: Path, tiny: Detector) -> bytes:
    path = tmp_path / "tiny.safetensors"
    save_weights(tiny, path)
    assert loads_or_refuses(path)
    return path.read_bytes()


@given(mutations=MUTATIONS, kept=st.sampled_from([1.0, 1.0, 1.0, 0.999, 0.7]))
@QUICK
def test_any_bytes_of_an_official_file(
    tmp_path: Path, official_bytes: bytes, mutations: list[tuple[float, int]], kept: float
) -> None:
    path = tmp_path / "fuzzed.pt"
    path.write_bytes(mutated(official_bytes, mutations, kept))
    loads_or_refuses(path)


@given(mutations=MUTATIONS, kept=st.sampled_from([1.0, 1.0, 1.0, 0.999, 0.7]))
@QUICK
def test_any_bytes_of_the_pickle_inside(
    tmp_path: Path, official_bytes: bytes, mutations: list[tuple[float, int]], kept: float
) -> None:
    """Past the archive's checksums: the mutated pickle gets a right one."""
    path = tmp_path / "fuzzed.pt"
    with zipfile.ZipFile(io.BytesIO(official_bytes)) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("data.pkl"):
                content = mutated(content, mutations, kept)
            new.writestr(name, content)
    loads_or_refuses(path)


@given(mutations=MUTATIONS, kept=st.sampled_from([1.0, 1.0, 1.0, 0.999, 0.7]))
@QUICK
def test_any_bytes_of_a_native_file(
    tmp_path: Path, native_bytes: bytes, mutations: list[tuple[float, int]], kept: float
) -> None:
    path = tmp_path / "fuzzed.safetensors"
    path.write_bytes(mutated(native_bytes, mutations, kept))
    loads_or_refuses(path)


OPCODES = bytes.fromhex("28 29 2e 30 32 4a 4b 4d 4e 47 58 51 52 5d 61 62 63 65 68 69 6a 71 72")
OPCODES += bytes.fromhex("73 74 75 7d 80 81 82 85 86 87 88 89 8a 93")
PIECES = st.one_of(
    st.sampled_from([bytes([code]) for code in OPCODES]),
    st.sampled_from(
        [
            b"cmodels.yolo\nModel\n",
            b"ccollections\nOrderedDict\n",
            b"ctorch._utils\n_rebuild_tensor_v2\n",
            b"ctorch\nFloatStorage\n",
            b"X\x08\x00\x00\x00_modules",
            b"X\x04\x00\x00\x00yaml",
            b"X\x07\x00\x00\x00storage",
            b"q\x00",
            b"h\x00",
            b"K\x01",
        ]
    ),
    st.binary(max_size=3),
)


@given(pieces=st.lists(PIECES, max_size=60))
@settings(max_examples=600, deadline=None, derandomize=True)
def test_any_program_of_instructions(pieces: list[bytes]) -> None:
    try:
        read_model(read_pickle(b"\x80\x02" + b"".join(pieces) + b".").root)
    except WeightsError:
        return


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3) | st.integers(0, 300), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(value=VALUES)
@settings(max_examples=50, deadline=None, derandomize=True)
def test_plain_values_are_read_as_python_reads_them(value: object) -> None:
    """Agreement with Python's own unpickler on data without any names."""
    pickled = pickle.dumps(value, protocol=2)
    assert repr(read_pickle(pickled).root) == repr(pickle.loads(pickled))  # noqa: S301 - our own
