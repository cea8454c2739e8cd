"""R9: sixty bad samples in one data set: each is named, only what is bad goes, none is edited."""

import hashlib
import io
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from prunus.core.config import parse
from prunus.data.config import DataCheckConfig
from prunus.data.image_index import ImageIndex
from prunus.data.index import build_index
from prunus.data.review.alike import fingerprints
from prunus.data.rules import RULES
from prunus.data.spec import DataSpec, read_data
from prunus.pipeline.data import check
from prunus.pipeline.train import train
from prunus.train.config import TrainConfig

GOOD = "0 .5 .5 .4 .4\n1 .3 .3 .2 .2\n"
Make = Callable[[], bytes]


def picture(height: int = 48, width: int = 64) -> Image.Image:
    pixels = np.random.default_rng(height * width).integers(0, 255, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


def saved(image: Image.Image, kind: str, **how: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format=kind, **how)
    return stream.getvalue()


def png(height: int = 48, width: int = 64) -> bytes:
    return saved(picture(height, width), "PNG")


def jpeg(**how: Any) -> bytes:
    return saved(picture(), "JPEG", **how)


def rotated(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return jpeg(exif=exif)


def animated(kind: str) -> bytes:
    frames = [picture(), Image.new("RGB", (64, 48))]
    return saved(frames[0], kind, save_all=True, append_images=frames[1:])


def of_size(width: int, height: int) -> bytes:
    """A PNG whose header promises another size than its data holds."""
    header = b"IHDR" + struct.pack(">II", width, height) + b"\x08\x02\x00\x00\x00"
    check = struct.pack(">I", zlib.crc32(header))
    whole = png()
    return whole[:12] + header + check + whole[33:]


def scrambled(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes(64) + content[middle + 64 :]


def with_thumbnail(content: bytes) -> bytes:
    """A JPEG with a whole small JPEG in its header (JFIF 1.02, extension segment)."""
    note = b"JFXX\0\x10" + jpeg()
    return content[:2] + b"\xff\xff\xe0" + struct.pack(">H", len(note) + 2) + note + content[2:]


@dataclass(frozen=True)
class Sample:
    """One bad sample.

    Attributes:
        image: Its bytes; None for none.
        label: Text or bytes of the label file; None for none.
        rule: What the report must say; "" when all is well.
        boxes: How many stay; None when the image is left out.
        name: File name of the image, when it matters.
        lines: Lines of the label file that are named.
    """

    image: Make | None = png
    label: str | bytes | None = GOOD
    rule: str = ""
    boxes: int | None = 2
    name: str = ""
    lines: tuple[int, ...] = field(default=())


def out(image: Make | None, rule: str, name: str = "") -> Sample:
    return Sample(image, GOOD, rule, None, name)


def bad_line(line: str, rule: str, boxes: int = 2) -> Sample:
    return Sample(png, f"{GOOD}{line}\n", rule, boxes, lines=(3,))


SAMPLES: dict[str, Sample] = {
    # pictures that are left out
    "jpeg-cut-in-half": out(lambda: jpeg()[: len(jpeg()) // 2], "image-cut-short", "a.jpg"),
    "jpeg-without-end": out(lambda: jpeg()[:-2], "image-cut-short", "a.jpg"),
    "jpeg-with-thumbnail-cut": out(
        lambda: with_thumbnail(jpeg())[:-99], "image-cut-short", "a.jpg"),
    "jpeg-first-bytes": out(lambda: jpeg()[:20], "image-kind", "a.jpg"),
    "png-cut": out(lambda: png()[:-20], "image-cut-short"),
    "webp-cut": out(lambda: saved(picture(), "WEBP")[:-9], "image-header", "a.webp"),
    "bmp-cut": out(lambda: saved(picture(), "BMP")[:-99], "image-cut-short", "a.bmp"),
    "empty": out(lambda: b"", "image-empty"),
    "text-in-jpg": out(lambda: b"<html>404 Not Found</html>", "image-kind", "a.jpg"),
    "gif": out(lambda: saved(picture(), "GIF"), "image-kind", "a.gif"),
    "gif-animated": out(lambda: animated("GIF"), "image-kind", "a.gif"),
    "gif-called-jpg": out(lambda: animated("GIF"), "image-kind", "a.jpg"),
    "heic": out(lambda: b"\x00\x00\x00\x18ftypheic" + bytes(40), "image-kind", "a.heic"),
    "jpeg-2000": out(lambda: saved(picture(), "JPEG2000"), "image-kind", "a.jp2"),
    "pdf-called-png": out(lambda: b"%PDF-1.7\n" + bytes(99), "image-kind"),
    "one-pixel": out(lambda: png(1, 1), "image-too-small"),
    "nine-pixels-high": out(lambda: png(9, 64), "image-too-small"),
    "one-pixel-wide": out(lambda: png(64, 1), "image-too-small"),
    "header-of-zero-width": out(lambda: of_size(0, 48), "image-kind"),
    "header-of-a-gigapixel": out(lambda: of_size(60_000, 60_000), "image-too-large"),
    "header-of-a-bomb": out(lambda: of_size(10_000, 10_000), "image-too-large"),
    "dangling-link": out(None, "image-missing", "link.png"),
    "fifo": out(None, "image-odd-file", "fifo.png"),
    # pictures that are odd but good
    "cmyk": Sample(lambda: saved(picture().convert("CMYK"), "JPEG"), name="a.jpg"),
    "grey": Sample(lambda: saved(picture().convert("L"), "JPEG"), name="a.jpg"),
    "png-16-bit": Sample(
        lambda: saved(Image.fromarray(np.full((48, 64), 40_000, np.uint16)), "PNG")
    ),
    "palette": Sample(lambda: saved(picture().convert("P"), "PNG")),
    "black-and-white": Sample(lambda: saved(picture().convert("1"), "PNG")),
    "transparent": Sample(lambda: saved(picture().convert("RGBA"), "PNG")),
    "exif-3": Sample(lambda: rotated(3), name="a.jpg"),
    "exif-6": Sample(lambda: rotated(6), name="a.jpg"),
    "exif-8": Sample(lambda: rotated(8), name="a.jpg"),
    "exif-nonsense": Sample(lambda: rotated(77), name="a.jpg"),
    "webp-animated": Sample(lambda: animated("WEBP"), name="a.webp"),
    "png-called-jpg": Sample(png, name="a.jpg"),
    "jpeg-called-png": Sample(jpeg),
    "tiff-of-two-pages": Sample(lambda: animated("TIFF"), name="a.tif"),
    "jpeg-with-a-note-behind": Sample(lambda: jpeg() + b"note" * 99, name="a.jpg"),
    "jpeg-with-thumbnail": Sample(lambda: with_thumbnail(jpeg()), name="a.jpg"),
    "progressive": Sample(lambda: jpeg(progressive=True), name="a.jpg"),
    "png-with-a-broken-middle": Sample(lambda: scrambled(png()), rule="image-damaged"),
    "unicode": Sample(name="梅 🍒 ñ.png"),
    "blanks-and-quotes": Sample(name=" 'a' \"b\" .png"),
    "control-characters": Sample(name="a\x1b[2J\n.png"),
    "upper-case-ending": Sample(jpeg, name="A.JPG"),
    "two-dots": Sample(name="a.b.c.png"),
    # labels
    "class-too-high": bad_line("2 .5 .5 .2 .2", "box-class"),
    "class-negative": bad_line("-1 .5 .5 .2 .2", "box-class"),
    "class-fraction": bad_line("0.5 .5 .5 .2 .2", "box-class"),
    "class-name": bad_line("plum .5 .5 .2 .2", "box-number"),
    "four-columns": bad_line("0 .5 .5 .2", "box-columns"),
    "six-columns": bad_line("0 .5 .5 .2 .2 .9", "box-columns"),
    "nan": bad_line("0 nan .5 .2 .2", "box-not-finite"),
    "infinite": bad_line("0 .5 .5 inf .2", "box-not-finite"),
    "negative-size": bad_line("0 .5 .5 -.2 .2", "box-no-area"),
    "zero-size": bad_line("0 .5 .5 0 0", "box-no-area"),
    "negative-centre": bad_line("0 -.5 .5 .2 .2", "box-outside"),
    "pixels": bad_line("0 320 240 50 60", "box-outside"),
    "over-the-edge": bad_line("0 .95 .5 .3 .3", "box-sticks-out", 3),
    "twice": bad_line("0 .5 .5 .4 .4", "box-twice"),
    "commas": bad_line("0,.5,.5,.2,.2", "box-columns"),
    "polygon-nan": bad_line("0 .1 .1 nan .2 .3 .3", "box-not-finite"),
    "polygon-and-boxes": Sample(
        label=GOOD + "0 .1 .1 .5 .1 .5 .5\n", rule="label-mixed", boxes=3, lines=(1, 2)
    ),
    "mark-and-windows-lines": Sample(
        label=b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode()
    ),
    "no-last-newline": Sample(label=GOOD.strip()),
    "blank-lines": Sample(label=f"\n\n{GOOD}\n  \n"),
    "empty-label": Sample(label="", boxes=0),
    "no-label": Sample(label=None, rule="label-missing", boxes=0),
    "label-is-binary": Sample(png, b"\xff\xfe\x00", "label-unreadable", None),
    "label-is-a-folder": Sample(png, b"folder", "label-unreadable", None),
}  # fmt: skip


def fingerprint(folder: Path) -> dict[str, str]:
    return {
        os.fsdecode(os.fsencode(file)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def write_sample(root: Path, key: str, sample: Sample) -> None:
    name = Path(sample.name or "a.png")
    stem, suffix = name.stem, name.suffix
    images, labels = root / "images" / key, root / "labels" / key
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    if sample.image is not None:
        (images / f"{stem}{suffix}").write_bytes(sample.image())
    elif stem == "fifo":
        os.mkfifo(images / "fifo.png")
    else:
        (images / "link.png").symlink_to(root / "nowhere.png")
    label = labels / f"{stem}.txt"
    if sample.label == b"folder":
        label.mkdir()
    elif sample.label is not None:
        content = sample.label if isinstance(sample.label, bytes) else sample.label.encode()
        label.write_bytes(content)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> DataSpec:
    root = tmp_path_factory.mktemp("corpus")
    for key, sample in SAMPLES.items():
        write_sample(root, key, sample)
    (root / "val").mkdir()
    for number in range(2):
        (root / f"val/{number}.png").write_bytes(png(40 + number, 60))
        (root / f"val/{number}.txt").write_text(GOOD)
    for name, image in (
        ("broken.png", scrambled(png(44, 60))),
        ("cut.jpg", with_thumbnail(jpeg())[:-99]),
    ):
        (root / "val" / name).write_bytes(image)
        (root / "val" / name).with_suffix(".txt").write_text(GOOD)
    content = {"train": "images", "val": "val", "names": ["plum", "leaf"]}
    (root / "data.yaml").write_text(yaml.safe_dump(content))
    return read_data(root / "data.yaml")


@pytest.fixture(scope="module")
def index(corpus: DataSpec) -> ImageIndex:
    return build_index(corpus, "train", cache=False)


@pytest.fixture(scope="module")
def report(corpus: DataSpec, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("report") / "check"
    return check(parse(DataCheckConfig, {"data": corpus.path, "out": out, "image_size": 64}))


def test_there_are_sixty_and_each_rule_exists() -> None:
    assert len(SAMPLES) >= 60
    assert {sample.rule for sample in SAMPLES.values()} - {""} <= set(RULES)


pytestmark = pytest.mark.filterwarnings("ignore:Image size")


@pytest.mark.parametrize("key", SAMPLES)
def test_only_what_is_bad_goes(index: ImageIndex, key: str) -> None:
    sample = SAMPLES[key]
    places = [n for n, path in enumerate(index.paths) if path.parent.name == key]
    if sample.boxes is None:
        assert places == []
    else:
        (place,) = places
        boxes = index.boxes_of(place)
        assert len(boxes) == sample.boxes
        if sample.boxes:
            np.testing.assert_allclose(
                boxes[:2], [[0, 0.5, 0.5, 0.4, 0.4], [1, 0.3, 0.3, 0.2, 0.2]]
            )


@pytest.mark.parametrize("key", SAMPLES)
def test_the_report_names_it_with_its_rule(
    index: ImageIndex, report: dict[str, Any], key: str
) -> None:
    sample = SAMPLES[key]
    found = [problem for problem in index.problems if problem.file.parent.name == key]
    if sample.rule in ("image-damaged", "label-missing"):  # only `data check` looks for these
        assert found == []
    else:
        assert {problem.rule for problem in found} == ({sample.rule} if sample.rule else set())
        if sample.lines:
            assert tuple(problem.line for problem in found) == sample.lines
    lines = [
        line for line in report["problems"] + report["remarks"] if f"/{key}/" in line.split(": ")[0]
    ]
    lines = [line for line in lines if "the same bytes as" not in line]
    assert bool(lines) == bool(sample.rule)
    assert all(line.isprintable() for line in lines)


def test_the_broken_middle_is_found_by_decoding_it(index: ImageIndex) -> None:
    (problem,) = fingerprints(index, "train").damaged
    assert problem.file.parent.name == "png-with-a-broken-middle"


@pytest.mark.integration
def test_training_over_the_corpus_completes_and_edits_nothing(
    corpus: DataSpec, report: dict[str, Any], tmp_path: Path
) -> None:
    before = fingerprint(corpus.root)
    assert report["too_many_problems"]
    settings = {
        "data": corpus.path, "cfg": "yolov5n", "epochs": 1, "batch_size": 24, "image_size": 64,
        "out": tmp_path / "run", "workers": 0,
    }  # fmt: skip
    result = train(parse(TrainConfig, settings))
    assert Path(str(result["last"])).is_file()
    assert fingerprint(corpus.root) == before
