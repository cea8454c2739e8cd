"""The server of examples/, run by uvicorn and asked by a client over a socket."""

import io
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

import prunus
from prunus.core.errors import ExportError
from prunus.model.build import build_detector
from prunus.model.spec import read_arch
from prunus.predict.model import Model
from prunus.predict.save import to_record
from prunus.weights.native import save_weights

REASON = 'needs the extra "server": pip install prunus[server] httpx'
pytest.importorskip("fastapi", reason=REASON)
uvicorn = pytest.importorskip("uvicorn", reason=REASON)
httpx = pytest.importorskip("httpx", reason=REASON)

FILE = Path(__file__).resolve().parents[2] / "examples" / "server.py"
WAIT_S = 20.0


class FindsOne:
    """A `Runner` that puts a box amid every (square) picture, when it is let."""

    names, stride, size_hw, batch = ("plum",), 32, None, None

    def __init__(self) -> None:
        self.go, self.looking = threading.Event(), threading.Event()
        self.go.set()
        self.error: Exception | None = None
        self.together = self.most_together = 0
        self.seconds = 0.0

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.together += 1
        self.most_together = max(self.most_together, self.together)
        self.looking.set()
        assert self.go.wait(WAIT_S)
        time.sleep(self.seconds)
        self.together -= 1
        if self.error is not None:
            raise self.error
        height = images.shape[2]
        share = torch.tensor([0.5, 0.5, 0.25, 0.125])
        return torch.cat((share * height, torch.tensor([0.9, 1.0])))[None, None]


@pytest.fixture(scope="module")
def server() -> ModuleType:
    spec = spec_from_file_location("server", FILE)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["server"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def runner() -> FindsOne:
    return FindsOne()


Serve = Callable[..., "httpx.Client"]


@contextmanager
def served(app: object) -> Iterator[str]:
    """Run an application on a free port, in a thread."""
    running = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        until(lambda: running.started)
        host, port = running.servers[0].sockets[0].getsockname()
        yield f"http://{host}:{port}"
    finally:
        running.should_exit = True
        thread.join(WAIT_S)
        assert not thread.is_alive()


@pytest.fixture
def serve(server: ModuleType, runner: FindsOne) -> Iterator[Serve]:
    """Serve `runner`; the words are those of `Limits`."""
    with ExitStack() as stack:

        def start(**limits: float) -> "httpx.Client":
            app = server.create_app(Model(runner, "plums"), server.Limits(**limits))
            return stack.enter_context(client_of(stack.enter_context(served(app))))

        yield start
        runner.go.set()


def client_of(url: str) -> "httpx.Client":
    return httpx.Client(base_url=url, timeout=WAIT_S, trust_env=False)


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)


def picture(kind: str = "PNG", size_wh: tuple[int, int] = (64, 64)) -> bytes:
    seeded = np.random.default_rng(0).integers(0, 256, (*size_wh[::-1], 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(seeded).save(file, kind)
    return file.getvalue()


def png_that_says(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises a picture of any size."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def in_pieces(body: bytes, size: int = 4096) -> Iterator[bytes]:
    """Make the client send chunks, without a Content-Length."""
    for start in range(0, len(body), size):
        yield body[start : start + size]


def test_finds_what_the_model_finds(serve: Serve) -> None:
    answer = serve().post("/detect", content=picture())
    assert answer.status_code == 200
    assert answer.json() == {
        "size_hw": [64, 64],
        "detections": [
            {"class": 0, "name": "plum", "score": 0.9, "box_xyxy": [24.0, 28.0, 40.0, 36.0]}
        ],
    }


def test_takes_a_picture_in_pieces(serve: Serve) -> None:
    answer = serve().post("/detect", content=in_pieces(picture("JPEG")))
    assert answer.json()["size_hw"] == [64, 64]


def test_tells_that_it_is_well(serve: Serve) -> None:
    answer = serve().get("/health")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "model": "plums", "names": ["plum"]}


@pytest.mark.parametrize("send", [bytes, in_pieces], ids=["with its length", "without"])
def test_refuses_a_body_that_is_too_large(serve: Serve, send: Callable[..., object]) -> None:
    client = serve(body_bytes=100_000)
    answer = client.post("/detect", content=send(bytes(100_001)))
    assert (answer.status_code, answer.json()) == (413, {"detail": "more than 100000 bytes"})


def test_reads_no_endless_body(serve: Serve) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 1 << 30:
            sent += 1 << 16
            yield bytes(1 << 16)

    client = serve(body_bytes=100_000, requests=1)
    with suppress(httpx.TransportError):  # who is hung up on may not hear why
        assert client.post("/detect", content=endless()).status_code == 413
    assert sent < 100 << 20, "what the sockets hold, but not all"
    assert client.post("/detect", content=picture()).status_code == 200


def test_reads_no_endless_body_of_who_is_turned_away(serve: Serve, runner: FindsOne) -> None:
    client = serve(requests=1)
    runner.go.clear()
    with ThreadPoolExecutor(1) as other:
        first = other.submit(client.post, "/detect", content=picture())
        try:
            until(runner.looking.is_set)
            assert said_to(client, length=1 << 40).startswith(b"HTTP/1.1 503")
        finally:
            runner.go.set()
        assert first.result().status_code == 200


def said_to(client: "httpx.Client", length: int) -> bytes:
    """Promise a body, send three bytes of it, and return all that is said until the line closes."""
    head = f"POST /detect HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\nabc"
    with socket.create_connection((client.base_url.host, client.base_url.port), WAIT_S) as line:
        line.sendall(head.encode())
        return b"".join(iter(lambda: line.recv(4096), b""))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "no image of a known kind"),
        (b"a tree with plums\n" * 100, "no image of a known kind"),
        (png_that_says(60_000, 60_000), "over 170 megapixels"),
        (png_that_says(9_000, 9_000), "taken for a decompression bomb"),
        (png_that_says(5_500, 5_500), "cannot be decoded"),
        (picture(size_wh=(120, 100)), "120x100 pixels, more than 10000"),
        (picture("GIF"), "no image of a known kind"),
        (picture()[:2000], "cannot be decoded"),
        (picture(size_wh=(5, 64)), "less than 10 on a side"),
    ],
    ids=["empty", "text", "60000 px", "bomb", "no pixels", "large", "GIF", "cut short", "small"],
)
def test_says_what_is_no_picture(serve: Serve, body: bytes, said: str) -> None:
    limits = {"pixels": 10_000} if "10000" in said else {}
    answer = serve(**limits).post("/detect", content=body)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]
    assert tempfile.gettempdir() not in answer.text, "no path of this machine"


def test_a_refusal_leaves_its_place(serve: Serve) -> None:
    client = serve(requests=1, body_bytes=20_000)
    for _ in range(3):
        assert client.post("/detect", content=b"text").status_code == 422
        assert client.post("/detect", content=bytes(20_001)).status_code == 413
    assert client.post("/detect", content=picture()).status_code == 200


def test_looks_at_one_picture_at_a_time(serve: Serve, runner: FindsOne) -> None:
    client, body = serve(requests=20), picture()
    runner.seconds = 0.01
    with ThreadPoolExecutor(20) as many:
        answers = list(many.map(lambda _: client.post("/detect", content=body), range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert runner.most_together == 1


def test_turns_away_when_too_many_wait(serve: Serve, runner: FindsOne) -> None:
    client, body = serve(requests=4), picture()
    runner.go.clear()
    with ThreadPoolExecutor(20) as many:
        asked = [many.submit(client.post, "/detect", content=body) for _ in range(20)]
        until(lambda: sum(each.done() for each in asked) == 16)
        assert client.get("/health").status_code == 200, "answers while the model is busy"
        runner.go.set()
    answers = [each.result() for each in asked]
    assert sorted(answer.status_code for answer in answers) == [200] * 4 + [503] * 16
    assert {answer.headers.get("retry-after") for answer in answers} == {None, "1"}
    assert client.post("/detect", content=body).status_code == 200


def test_a_late_answer_keeps_its_place_until_it_is_there(serve: Serve, runner: FindsOne) -> None:
    client, body = serve(requests=1, answer_s=0.2), picture()
    runner.go.clear()
    assert client.post("/detect", content=body).status_code == 504
    assert client.post("/detect", content=body).status_code == 503
    runner.go.set()
    until(lambda: client.post("/detect", content=body).status_code == 200)


def test_what_waited_too_long_is_never_looked_at(serve: Serve, runner: FindsOne) -> None:
    client, body = serve(requests=2, answer_s=0.2), picture()
    runner.go.clear()
    with ThreadPoolExecutor(2) as two:
        answers = list(two.map(lambda _: client.post("/detect", content=body), range(2)))
    assert [answer.status_code for answer in answers] == [504, 504]
    runner.looking.clear()
    runner.go.set()
    until(lambda: runner.together == 0)
    assert not runner.looking.wait(0.2)


def test_a_slow_body_is_given_up(serve: Serve) -> None:
    client = serve(body_s=0.2, requests=1)

    def slow() -> Iterator[bytes]:
        yield b"begin"
        time.sleep(1)
        yield b"end"

    assert client.post("/detect", content=slow()).status_code == 408
    assert client.post("/detect", content=picture()).status_code == 200


def test_a_length_that_lies_costs_a_timeout(serve: Serve) -> None:
    client = serve(body_s=0.2, requests=1)
    assert said_to(client, length=1 << 40).startswith(b"HTTP/1.1 408")
    assert client.post("/detect", content=picture()).status_code == 200


def test_a_client_that_leaves_leaves_its_place(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    client = serve(requests=1)
    with socket.create_connection((client.base_url.host, client.base_url.port), WAIT_S) as line:
        line.sendall(b"POST /detect HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\nabc")
        until(lambda: client.post("/detect", content=picture()).status_code == 503)
    until(lambda: client.post("/detect", content=picture()).status_code == 200)
    assert "Exception" not in caplog.text


def test_a_model_that_fails_is_told_without_its_path(serve: Serve, runner: FindsOne) -> None:
    client = serve()
    runner.error = ExportError("/secret/plums.onnx: the runtime crashed on it.")
    answer = client.post("/detect", content=picture())
    assert (answer.status_code, answer.json()) == (500, {"detail": "the model failed"})
    assert client.get("/health").status_code == 503
    runner.error = None
    assert client.post("/detect", content=picture()).status_code == 200
    assert client.get("/health").status_code == 200


def test_other_errors_say_nothing(serve: Serve, runner: FindsOne) -> None:
    runner.error = RuntimeError("/secret: a bug")
    answer = serve().post("/detect", content=picture())
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")


@pytest.mark.integration
def test_the_command_serves_a_file_as_python_finds(tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights = tmp_path / "plums.safetensors"
    save_weights(build_detector(read_arch("yolov5n"), ("plum", "leaf")), weights)
    content = picture("JPEG", (200, 150))
    (tmp_path / "tree.jpg").write_bytes(content)
    model = prunus.load(weights, device="cpu")
    (found,) = model(tmp_path / "tree.jpg", image_size=64, confidence=0.0)
    expected = to_record("", (150, 200), found, model.names)
    assert len(found), "something to compare"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["plums.safetensors", "--port", str(port), "--img", "64", "--conf", "0"]
    with subprocess.Popen([sys.executable, FILE, *words], cwd=tmp_path) as process:
        try:
            with client_of(f"http://127.0.0.1:{port}") as client:
                until(lambda: answers(client))
                answer = client.post("/detect", content=content).json()
        finally:
            process.terminate()
    assert answer["detections"] == expected["detections"]
    assert answer["size_hw"] == [150, 200]


def answers(client: "httpx.Client") -> bool:
    try:
        return client.get("/health").status_code == 200
    except httpx.ConnectError:
        return False


@pytest.mark.integration
def test_the_command_says_what_it_cannot_open(tmp_path: Path) -> None:
    words = [sys.executable, FILE, "none.onnx"]
    ended = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (2, "none.onnx: no such file.\n")
