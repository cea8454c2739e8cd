"""A corpus of hostile pickles: each is refused in words, and nothing of it runs (S18).

Each payload would make a canary file, import a module or start a program. An audit hook listens to
Python itself while the file is read: any import, execution, process or connection is a failure.
"""

import codecs
import os
import pickle
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from prunus.core.errors import WeightsError
from prunus.weights.files import load_weights
from prunus.weights.pickle_reader import read_pickle

WATCHED = (
    "import",
    "exec",
    "compile",
    "marshal.",
    "os.system",
    "os.exec",
    "os.fork",
    "os.spawn",
    "os.posix_spawn",
    "os.remove",
    "pickle.find_class",
    "socket.",
    "subprocess.",
    "ctypes.",
)
_heard: list[str] = []
_listening = [False]


def _listen(event: str, _arguments: tuple[Any, ...]) -> None:
    if _listening[0] and event.startswith(WATCHED):
        _heard.append(event)


sys.addaudithook(_listen)


@contextmanager
def listening() -> Iterator[list[str]]:
    _heard.clear()
    _listening[0] = True
    try:
        yield _heard
    finally:
        _listening[0] = False


@pytest.fixture(autouse=True, scope="module")
def warm() -> None:
    """`zipfile` imports this codec at its first archive; let it do so before anyone listens."""
    codecs.lookup("cp437")


@pytest.fixture(autouse=True)
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that a payload makes when it runs: `canary` in the working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "canary"


COMMAND = "touch canary"
PROTO, MARK, STOP = b"\x80\x02", b"(", b"."


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def text(value: str) -> bytes:
    encoded = value.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def long(value: int) -> bytes:
    encoded = value.to_bytes(9, "little", signed=True)
    return b"\x8a" + bytes([len(encoded)]) + encoded


def sizes(*values: int) -> bytes:
    return MARK + b"".join(map(number, values)) + b"t"


def call(module: str, attribute: str, *arguments: bytes) -> bytes:
    return name(module, attribute) + MARK + b"".join(arguments) + b"tR"


def program(*parts: bytes) -> bytes:
    return PROTO + b"".join(parts) + STOP


def storage(count: int = 4, kind: str = "FloatStorage", key: str = "0") -> bytes:
    return (
        MARK
        + text("storage")
        + name("torch", kind)
        + text(key)
        + text("cpu")
        + number(count)
        + b"tQ"
    )


def tensor(offset: bytes, size: bytes, stride: bytes, held: bytes | None = None) -> bytes:
    return call(
        "torch._utils", "_rebuild_tensor_v2", held or storage(), offset, size, stride, b"\x89", b"}"
    )


def module(kind: tuple[str, str], state: bytes) -> bytes:
    return name(*kind) + b")\x81" + state + b"b"


def reduced(function: Callable[..., Any], *arguments: Any, protocol: int = 2) -> bytes:
    """What Python's own pickler writes for an object that calls `function`."""

    class Payload:
        def __reduce__(self) -> Any:
            return function, arguments

    return pickle.dumps({"model": Payload()}, protocol=protocol)


MODEL = ("models.yolo", "Model")
CONV = ("models.common", "Conv")
SYSTEM = name("os", "system") + text(COMMAND) + b"\x85R"

CALLS_OF_CODE = {
    "os.system": (reduced(os.system, COMMAND), r"refers to '(posix|nt)\.system'"),
    "os.system in protocol 0": (reduced(os.system, COMMAND, protocol=0), "instruction DICT"),
    "os.system in protocol 4": (reduced(os.system, COMMAND, protocol=4), "protocol 4"),
    "eval": (
        program(call("builtins", "eval", text("open('canary', 'w')"))),
        r"refers to 'builtins\.eval'",
    ),
    "exec": (reduced(exec, "open('canary', 'w')"), r"refers to '__builtin__\.exec'"),
    "compile": (reduced(compile, "1", "x", "eval"), r"refers to '__builtin__\.compile'"),
    "open": (reduced(open, "canary", "w"), r"refers to '(io|_io|__builtin__)\.open'"),
    "__import__": (
        program(call("builtins", "__import__", text("antigravity"))),
        r"refers to 'builtins\.__import__'",
    ),
    "getattr chain": (
        program(call("builtins", "getattr", name("os", "path"), text("os"))),
        r"refers to 'builtins\.getattr'",
    ),
    "pip.main": (program(call("pip", "main", text("install"))), r"refers to 'pip\.main'"),
    "pkgutil.resolve_name": (
        program(call("pkgutil", "resolve_name", text("os:system"))),
        r"refers to 'pkgutil\.resolve_name'",
    ),
    "importlib": (
        program(call("importlib", "import_module", text("antigravity"))),
        r"refers to 'importlib\.import_module'",
    ),
    "subprocess": (
        program(call("subprocess", "Popen", text(COMMAND))),
        r"refers to 'subprocess\.Popen'",
    ),
    "runpy": (program(call("runpy", "run_path", text("x.py"))), r"refers to 'runpy\.run_path'"),
    "ctypes": (program(call("ctypes", "CDLL", text("x.so"))), r"refers to 'ctypes\.CDLL'"),
    "socket": (
        program(call("socket", "create_connection", text("x"))),
        r"refers to 'socket\.create_connection'",
    ),
    "webbrowser": (program(call("webbrowser", "open", text("x"))), r"refers to 'webbrowser\.open'"),
    "timeit": (program(call("timeit", "timeit", text("1"))), r"refers to 'timeit\.timeit'"),
    "torch.load": (program(call("torch", "load", text("x"))), r"refers to 'torch\.load'"),
    "torch.hub": (program(call("torch.hub", "load", text("x"))), r"refers to 'torch\.hub\.load'"),
    "torch collect_env": (
        program(call("torch.utils.collect_env", "run", text(COMMAND))),
        r"refers to 'torch\.utils\.collect_env\.run'",
    ),
    "torch importing by name": (
        program(call("torch._utils", "_import_dotted_name", text("os.system"))),
        r"refers to 'torch\._utils\._import_dotted_name'",
    ),
    "numpy runstring": (
        program(call("numpy.testing._private.utils", "runstring", text("1"), b"}")),
        r"refers to 'numpy\.testing\._private\.utils\.runstring'",
    ),
    "numpy.load": (program(call("numpy", "load", text("x"))), r"refers to 'numpy\.load'"),
    "a class of the sender": (program(name("__main__", "Net")), r"refers to '__main__\.Net'"),
    "ultralytics": (
        program(name("ultralytics.nn.tasks", "DetectionModel")),
        r"of the ultralytics package \(YOLOv8 and later",
    ),
    "a prefix of an allowed module": (
        program(call("models.common.os", "system", text(COMMAND))),
        r"refers to 'models\.common\.os\.system'",
    ),
    "dots behind an allowed module": (
        program(call("models.common", "os.system", text(COMMAND))),
        r"refers to 'models\.common\.os\.system'",
    ),
    "dots behind an allowed class": (
        program(call("models.common", "Conv.forward.__globals__.get", text("x"))),
        r"refers to 'models\.common\.Conv\.forward\.__globals__",
    ),
    "dots behind OrderedDict": (
        program(call("collections", "OrderedDict.fromkeys", b"]")),
        r"refers to 'collections\.OrderedDict\.fromkeys'",
    ),
    "a space in the module": (
        program(call("models.common Conv", "system", text(COMMAND))),
        r"refers to 'models\.common\.Conv\.system'",
    ),
    "a line end in the name": (
        program(b"cmodels.common\nConv\r\n"),
        r"refers to 'models\.common\.Conv\?'",
    ),
    "letters that look alike": (
        program("cmodels.common\n\u0421onv\n".encode()),  # a Cyrillic C
        "an instruction is cut off or unknown",
    ),
    "terminal escapes in the name": (
        program(name("os\x1b[2J\x1b]0;x\x07", "system")),
        r"refers to 'os\?\[2J\?\]0;x\?\.system'",
    ),
    "a very long name": (program(name("o" * 5000, "system")), r"refers to 'o{80}…'"),
}

INSTRUCTIONS = {
    "STACK_GLOBAL": (
        program(text("os"), text("system"), b"\x93", text(COMMAND), b"\x85R"),
        "instruction STACK_GLOBAL",
    ),
    "STACK_GLOBAL of short strings": (program(b"\x8c\x02os\x8c\x06system\x93"), "SHORT_BINUNICODE"),
    "INST": (
        program(MARK, text(COMMAND), b"ios\nsystem\n"),
        r"instruction INST \(os\.system\)",
    ),
    "OBJ": (program(MARK, name("models.common", "Conv"), b"o"), "instruction OBJ"),
    "NEWOBJ_EX": (program(name("models.common", "Conv"), b")}\x92"), "instruction NEWOBJ_EX"),
    "EXT1": (program(b"\x82\x01"), "instruction EXT1"),
    "EXT2": (program(b"\x83\x01\x00"), "instruction EXT2"),
    "EXT4": (program(b"\x84\x01\x00\x00\x00"), "instruction EXT4"),
    "a call hidden by POP": (program(SYSTEM, b"0}"), r"refers to 'os\.system'"),
    "POP": (program(b"}}0"), "instruction POP"),
    "POP_MARK": (program(b"}", MARK, b"}1"), "instruction POP_MARK"),
    "DUP": (program(b"}2"), "instruction DUP"),
    "PERSID": (program(b"P0\n"), "instruction PERSID"),
    "FRAME": (program(b"\x95" + bytes(8), b"}"), "instruction FRAME"),
    "MEMOIZE": (program(b"}\x94"), "instruction MEMOIZE"),
    "BYTEARRAY8": (program(b"\x96" + bytes(8)), "instruction BYTEARRAY8"),
    "NEXT_BUFFER": (program(b"\x97"), "instruction NEXT_BUFFER"),
    "LONG4": (program(b"\x8b\x01\x00\x00\x00\x01"), "instruction LONG4"),
    "INT": (program(b"I1\n"), "instruction INT"),
    "FLOAT": (program(b"F1\n"), "instruction FLOAT"),
    "STRING": (program(b"S'\\x41'\n"), r"instruction STRING \(A\)"),
    "EMPTY_SET": (program(b"\x8f"), "instruction EMPTY_SET"),
    "unknown instruction": (program(b"\xff"), "cut off or unknown"),
    "protocol 5": (b"\x80\x05}.", "protocol 5"),
    "protocol 255": (b"\x80\xff}.", "protocol 255"),
    "calling a class": (program(call(*CONV)), r"calls 'models\.common\.Conv'"),
    "calling a storage": (program(call("torch", "FloatStorage")), r"calls 'torch\.FloatStorage'"),
    "calling text": (program(text("os.system"), b")R"), "calls a value"),
    "calling with a list": (program(name("torch", "Size"), b"]R"), "arguments are no tuple"),
    "making a function": (
        program(name("torch._utils", "_rebuild_tensor_v2"), b")\x81"),
        r"makes an object of 'torch\._utils\._rebuild_tensor_v2'",
    ),
    "making text": (program(text("os.system"), b")\x81"), "makes an object of a value"),
    "making with arguments": (
        program(name("models.common", "Conv"), text(COMMAND), b"\x85\x81"),
        "an object is made with arguments",
    ),
    "OrderedDict with arguments": (
        program(name("collections", "OrderedDict"), b"]\x85R"),
        "an OrderedDict is made with arguments",
    ),
    "attributes of a class": (
        program(name("models.common", "Conv"), b"}", text("__setstate__"), b"Nsb"),
        "attributes are given to what takes none",
    ),
    "attributes given twice": (
        program(name(*CONV), b")\x81}b}b"),
        "attributes are given to what takes none",
    ),
    "attributes of a number": (program(b"K\x01}b"), "attributes are given to what takes none"),
    "a huge memo index": (program(b"}r\xff\xff\xff\xff"), "memo index lies beyond"),
    "an unset memo index": (program(b"h\x05"), "memo index that was never set"),
    "no value": (program(), "ends in the middle of a value"),
    "two values": (program(b"}}"), "ends in the middle of a value"),
    "an open mark": (program(MARK, b"}"), "ends in the middle of a value"),
    "no mark": (program(b"t"), "a mark is missing"),
    "an empty stack": (program(b"R"), "a value is missing"),
    "nothing to remember": (program(b"q\x00"), "a value is missing"),
    "appending to a dict": (program(b"}Na"), "appended to what is no list"),
    "setting in a list": (program(b"]NNs"), "a key is set in what is no dict"),
    "half a pair": (program(b"}", MARK, b"Nu"), "a key is set in what is no dict"),
    "a list as a key": (program(b"}]Ns"), "key is neither text nor a whole number"),
    "a tensor as a key": (
        program(b"}", tensor(number(0), sizes(1), sizes(1)), b"Ns"),
        "key is neither text nor a whole number",
    ),
    "a number of 2000 bits": (program(b"\x8a\xfa" + b"\x7f" * 250), "more than 64 bits"),
    "no STOP": (b"\x80\x02}", "cut off or unknown"),
    "text cut off": (PROTO + b"X\xff\xff\xff\xffabc", "cut off or unknown"),
    "text that is no UTF-8": (program(b"X\x02\x00\x00\x00\xff\xfe"), "cut off or unknown"),
    "a second pickle behind STOP": (program(b"}") + program(SYSTEM), "bytes follow its end"),
    "nothing at all": (b"", "cut off or unknown"),
    "a million and one instructions": (
        b"\x80\x02" + b"N" * 1_000_001 + b".",
        "more than 1,000,000 instructions",
    ),
}

TENSORS = {
    "beyond the storage": tensor(number(0), sizes(5), sizes(1)),
    "offset beyond the storage": tensor(number(4), sizes(1), sizes(1)),
    "stride beyond the storage": tensor(number(0), sizes(2, 2), sizes(4, 1)),
    "negative offset": tensor(number(-1), sizes(2), sizes(1)),
    "negative size": tensor(number(0), sizes(-2), sizes(1)),
    "negative stride": tensor(number(3), sizes(2), sizes(-1)),
    "gigantic size": tensor(number(0), MARK + long(2**62) + b"t", sizes(1)),
    "gigantic size without stride": tensor(number(0), MARK + long(2**62) + b"t", sizes(0)),
    "sizes whose product overflows": tensor(number(0), sizes(*[2**31 - 1] * 8), sizes(*[0] * 8)),
    "nine dimensions": tensor(number(0), sizes(*[1] * 9), sizes(*[1] * 9)),
    "more sizes than strides": tensor(number(0), sizes(1, 1), sizes(1)),
    "fractions": tensor(b"G" + struct.pack(">d", 0.5), sizes(1), sizes(1)),
    "text for a size": tensor(number(0), MARK + text("1") + b"t", sizes(1)),
    "truth for a size": tensor(number(0), MARK + b"\x88t", sizes(1)),
    "a list for a size": tensor(number(0), b"]", sizes(1)),
    "no storage": tensor(number(0), sizes(1), sizes(1), held=b"N"),
    "too few arguments": call("torch._utils", "_rebuild_tensor_v2", storage()),
    "a parameter of nothing": call("torch._utils", "_rebuild_parameter", b"N", b"\x88", b"}"),
    "a parameter without arguments": call("torch._utils", "_rebuild_parameter"),
    "storage id a number": number(7) + b"Q",
    "storage id a list": b"]Q",
    "storage id a function": name("torch._utils", "_rebuild_tensor_v2") + b"Q",
    "storage id too short": MARK + text("storage") + b"tQ",
    "storage of another kind": MARK + text("module") + b"NNNNtQ",
    "storage of a class": storage().replace(b"torch\nFloatStorage", b"models.yolo\nModel"),
    "storage key a path": storage(key="../../etc/passwd"),
    "storage key of other digits": storage(key="٣"),
    "negative count": storage(count=-1),
    "two kinds for one storage": MARK + storage(4) + storage(2, "DoubleStorage") + b"t",
    "two counts for one storage": MARK + storage(4) + storage(3) + b"t",
}


def refused(path: Path, canary: Path, message: str) -> str:
    """Load, and assert that it is refused in these words with nothing run. Returns the message."""
    with listening() as heard, pytest.raises(WeightsError, match=message) as caught:
        load_weights(path)
    assert heard == []
    assert not canary.exists()
    words = str(caught.value)
    assert words.startswith(f"{path}: ")
    assert words.isprintable()
    assert len(words) < 500 + len(str(path))
    return words


@pytest.mark.parametrize(("pickled", "message"), CALLS_OF_CODE.values(), ids=list(CALLS_OF_CODE))
def test_a_name_that_is_not_listed_is_refused_before_anything_runs(
    archive: Any, canary: Path, pickled: bytes, message: str
) -> None:
    refused(archive(pickled), canary, message)


@pytest.mark.parametrize(("pickled", "message"), INSTRUCTIONS.values(), ids=list(INSTRUCTIONS))
def test_an_instruction_that_is_not_needed_or_makes_no_sense_is_refused(
    archive: Any, canary: Path, pickled: bytes, message: str
) -> None:
    refused(archive(pickled), canary, message)


@pytest.mark.parametrize("value", TENSORS.values(), ids=list(TENSORS))
def test_a_tensor_that_leaves_its_storage_is_refused(
    archive: Any, canary: Path, value: bytes
) -> None:
    path = archive(program(b"}", text("model"), value, b"s"), {"0": bytes(16)})
    refused(path, canary, "its pickle is damaged: (a tensor|a parameter|a reference|storage 0)")


@pytest.mark.parametrize(
    ("storages", "message"),
    [
        ({}, "storage 0 is missing"),
        ({"1": bytes(16)}, "storage 0 is missing"),
        ({"0": bytes(15)}, "storage 0 has 15 bytes instead of 16"),
        ({"0": bytes(20)}, "storage 0 has 20 bytes instead of 16"),
    ],
)
def test_a_storage_must_be_there_and_have_its_exact_size(
    archive: Any, canary: Path, storages: dict[str, bytes], message: str
) -> None:
    value = tensor(number(0), sizes(4), sizes(1))
    refused(archive(program(b"}", text("model"), value, b"s"), storages), canary, message)


def modules(children: bytes) -> bytes:
    """A model whose `_modules` are these key, value pairs."""
    return module(MODEL, b"}" + text("_modules") + b"}" + MARK + children + b"us")


def doubling(levels: int, leaf: bytes, pair: Callable[[bytes], bytes]) -> bytes:
    """Values that hold the value before them twice: 2^levels leaves in a few bytes."""
    parts = [leaf, b"q\x00"]
    for level in range(levels):
        parts += [pair(bytes([104, level])), b"q", bytes([level + 1])]
    return b"".join(parts)


def test_modules_that_contain_themselves_are_refused(archive: Any, canary: Path) -> None:
    model = name(*MODEL) + b")\x81q\x01}" + text("_modules") + b"}" + text("a") + b"h\x01ss" + b"b"
    refused(archive(program(model)), canary, "modules, 256 side by side, or some that contain")


def test_a_bomb_of_shared_modules_is_refused(archive: Any, canary: Path) -> None:
    def pair(get: bytes) -> bytes:
        return modules(text("a") + get + text("b") + get)

    bomb = doubling(12, name(*CONV) + b")\x81", pair)
    kept = text("kept") + b"]" + MARK + bomb + b"es"
    root = b"}" + kept + text("model") + bytes([104, 12]) + b"s"
    refused(archive(program(root)), canary, "more than 5,000 modules")


def test_a_bomb_of_shared_rows_is_refused(archive: Any, canary: Path) -> None:
    bomb = doubling(30, b"]", lambda get: b"]" + MARK + get + get + b"e")
    rows = b"]" + MARK + bomb + b"e"
    state = b"}" + text("yaml") + b"}" + text("backbone") + rows + b"ss"
    refused(archive(program(module(MODEL, state))), canary, "is no list of YOLOv5 rows")


def test_a_flood_of_rows_is_refused(archive: Any, canary: Path) -> None:
    rows = b"]" + MARK + b"N" * 10_001 + b"e"
    state = b"}" + text("yaml") + b"}" + text("head") + rows + b"ss"
    refused(archive(program(module(MODEL, state))), canary, "is no list of YOLOv5 rows")


def test_too_many_modules_side_by_side_are_refused(archive: Any, canary: Path) -> None:
    children = b"".join(text(str(i)) + b"N" for i in range(257))
    refused(archive(program(modules(children))), canary, "256 side by side")


@pytest.mark.parametrize("key", [number(3), text(""), text("x" * 300)])
def test_modules_need_names(archive: Any, canary: Path, key: bytes) -> None:
    children = key + module(CONV, b"}")
    refused(archive(program(modules(children))), canary, "a module without a usable name")


def test_attributes_with_meaning_to_python_are_only_stored(archive: Any, canary: Path) -> None:
    """`__class__`, `__reduce__` and `__setstate__` of a record are entries of a dict."""
    state = b"}" + b"".join(
        text(word) + name("torch", "Size") + b"s"
        for word in ("__class__", "__reduce__", "__setstate__", "__del__")
    )
    refused(archive(program(module(MODEL, state))), canary, "holds no architecture")


def test_deep_nesting_is_no_danger() -> None:
    deep = read_pickle(program(b")" + b"\x85" * 500_000)).root
    assert isinstance(deep, tuple)


def test_the_watch_would_notice(canary: Path) -> None:
    """Python's own unpickler runs the payload: the canary and the hook do their work."""
    payload = reduced(os.system, COMMAND)
    with listening() as heard:
        pickle.loads(payload)  # noqa: S301 - the corpus must be seen to bite
    assert {"pickle.find_class", "os.system"} <= set(heard)
    assert canary.exists()


def test_no_environment_variable_opens_a_way_round(
    archive: Any, canary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for switch in ("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "PRUNUS_UNSAFE", "PRUNUS_ALLOW_PICKLE"):
        monkeypatch.setenv(switch, "1")
    refused(archive(reduced(os.system, COMMAND)), canary, "refers to")


def test_the_package_never_touches_an_unpickler() -> None:
    """No module of this room imports pickle or calls torch.load."""
    room = Path(sys.modules["prunus.weights.files"].__file__ or "").parent
    for file in room.glob("*.py"):
        source = file.read_text(encoding="utf-8")
        assert "import pickle\n" not in source, file
        assert "torch.load(" not in source, file
