"""A small detection server: a picture in, JSON out. An example to start from, not a product.

    pip install "prunus[server]"
    python examples/server.py best.onnx
    curl --data-binary @tree.jpg http://127.0.0.1:8000/detect

The body of `POST /detect` is the picture itself: JPEG, PNG, BMP, WebP or TIFF. What a client can
cost is bounded (`Limits`): bytes are counted as they come, pixels are read off the header before
anything is decoded, one picture is looked at at a time, and few may wait. There is no TLS and no
login here: put a proxy that has both in front before anybody else can reach it.
"""

import argparse
import asyncio
import logging
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import BoundedSemaphore

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from starlette.requests import ClientDisconnect

import prunus
from prunus.core.errors import DataError, PrunusError
from prunus.data.decode import Pixels, load_image, read_header
from prunus.predict.config import CONFIDENCE, IMAGE_SIZE
from prunus.predict.model import Model
from prunus.predict.save import to_record

log = logging.getLogger("uvicorn.error")
HANG_UP = {"Connection": "close"}
"""Of answers before the body's end: without it uvicorn would go on reading the rest, for ever."""


@dataclass(frozen=True)
class Limits:
    """What a request may cost.

    Attributes:
        body_bytes: Of a picture as it is sent.
        pixels: Of a picture; decoded, each takes three bytes.
        requests: Read, waiting or looked at at the same time; more are turned away.
        body_s: Seconds for a body to arrive.
        answer_s: Seconds from then on.
    """

    body_bytes: int = 10_000_000
    pixels: int = 50_000_000
    requests: int = 8
    body_s: float = 10.0
    answer_s: float = 30.0


class Service:
    """A model that looks at one picture after another, in a thread of its own.

    Attributes:
        failed: Whether the last picture brought the model down.
    """

    def __init__(self, model: Model, limits: Limits, *, image_size: int, confidence: float) -> None:
        self.model, self.limits, self.failed = model, limits, False
        self._image_size, self._confidence = image_size, confidence
        self._thread = ThreadPoolExecutor(1, "model")
        self._places = BoundedSemaphore(limits.requests)

    async def detect(self, request: Request) -> dict[str, object]:
        """Return the record of the picture that is the request's body."""
        if not self._places.acquire(blocking=False):
            raise HTTPException(503, "too many are waiting", {"Retry-After": "1", **HANG_UP})
        try:
            body = await self._body_of(request)
            job = self._thread.submit(self._look, body)
        except BaseException:
            self._places.release()
            raise
        # Not before the thread is done with it: an answer that came too late still keeps it busy.
        job.add_done_callback(lambda _: self._places.release())
        try:
            return await asyncio.wait_for(asyncio.wrap_future(job), self.limits.answer_s)
        except asyncio.TimeoutError:
            raise HTTPException(504, "no answer in time") from None
        except DataError as error:
            raise HTTPException(422, str(error)) from None
        except PrunusError as error:
            log.error("%s", error)  # it names files, which are nobody's business
            raise HTTPException(500, "the model failed") from None

    def close(self) -> None:
        """Forget what waits."""
        self._thread.shutdown(cancel_futures=True)

    async def _body_of(self, request: Request) -> bytes:
        try:
            return await asyncio.wait_for(self._read(request), self.limits.body_s)
        except asyncio.TimeoutError:
            raise HTTPException(408, "the body took too long", HANG_UP) from None
        except ClientDisconnect:
            raise HTTPException(400, "the body was cut short") from None

    async def _read(self, request: Request) -> bytes:
        """Count what comes: a Content-Length may be missing.

        As much again is read and dropped, so that who sent a little too much hears the answer.
        """
        body, most, seen = bytearray(), self.limits.body_bytes, 0
        async for chunk in request.stream():
            seen += len(chunk)
            if seen <= most:
                body += chunk
            elif seen > 2 * most:
                break
        if seen > most:
            raise HTTPException(413, f"more than {most} bytes", HANG_UP)
        return bytes(body)

    def _look(self, body: bytes) -> dict[str, object]:
        pixels = self._decoded(body)
        try:
            (found,) = self.model(pixels, image_size=self._image_size, confidence=self._confidence)
        except BaseException:
            self.failed = True
            raise
        self.failed = False
        size_hw = (pixels.shape[0], pixels.shape[1])
        record = to_record("", size_hw, found, self.model.names)
        return {key: record[key] for key in ("size_hw", "detections")}

    def _decoded(self, body: bytes) -> Pixels:
        """Return the picture; raises DataError, whose message names no file."""
        height, width = read_header(body).size_hw
        if height * width > self.limits.pixels:
            raise DataError(f"{width}x{height} pixels, more than {self.limits.pixels}")
        with NamedTemporaryFile() as file:
            file.write(body)
            file.flush()
            try:
                return load_image(Path(file.name))
            except DataError as error:
                raise DataError(str(error).replace(f"{file.name}: ", "")) from None


def create_app(
    model: Model,
    limits: Limits = Limits(),
    *,
    image_size: int = IMAGE_SIZE,
    confidence: float = CONFIDENCE,
) -> FastAPI:
    """Return the application that serves a model.

    Args:
        model: Opened.
        limits: What a request may cost.
        image_size: Long side in pixels at which the model looks.
        confidence: Least score of a detection.
    """
    service = Service(model, limits, image_size=image_size, confidence=confidence)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    # No pages of documentation: they load scripts from elsewhere.
    app = FastAPI(title="prunus", docs_url=None, redoc_url=None, lifespan=lifespan)

    @app.get("/health")
    async def health() -> dict[str, object]:
        if service.failed:
            raise HTTPException(503, "the model failed")
        return {"status": "ok", "model": model.title, "names": model.names}

    app.post("/detect")(service.detect)
    return app


def main() -> None:
    """Serve the model that the command line names."""
    parser = argparse.ArgumentParser(description="Serve a detector on this machine.")
    parser.add_argument("model", help="a .safetensors, an official .pt or an exported file")
    parser.add_argument("--host", default="127.0.0.1", help="this machine only, if not given")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--img", type=int, default=IMAGE_SIZE, help="long side in pixels")
    parser.add_argument("--conf", type=float, default=CONFIDENCE, help="least score")
    words = parser.parse_args()
    try:
        model = prunus.load(words.model)
    except PrunusError as error:
        parser.exit(error.status, f"{error}\n")
    app = create_app(model, image_size=words.img, confidence=words.conf)
    # Beyond 100 connections uvicorn itself answers 503.
    uvicorn.run(app, host=words.host, port=words.port, limit_concurrency=100)


if __name__ == "__main__":
    main()
