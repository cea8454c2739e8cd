"""S20 and S21: data sets made to do harm. Nothing runs, nothing leaks, nothing grows."""

import gzip
import io
import json
import os
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from prunus.core.errors import DataError
from prunus.data import index
from prunus.data.index import build_index
from prunus.data.paths import images_in
from prunus.data.spec import read_data

Writer = Callable[..., Path]
GOOD = "0 .5 .5 .2 .2"
GOOD_YAML = "train: images\nnames: [a]\n"
MAX_RSS_MB = 512
PATIENCE_S = 5.0


def merge_bomb() -> str:
    levels = "\n".join(
        f"l{n}: &l{n} {{<<: [{', '.join([f'*l{n - 1}'] * 9)}]}}" for n in range(1, 12)
    )
    return f"l0: &l0 {{x: 1}}\n{levels}\n{GOOD_YAML}"


def alias_bomb() -> str:
    levels = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 12))
    return f"l0: &l0 [x]\n{levels}\ntrain: images\nnames: *l11\n"


HOSTILE_YAML = {
    "merged mappings": (merge_bomb(), r"'<<' \(merged mappings\) is not read"),
    "nested aliases": (alias_bomb(), r"names: 0 is a list of 9, not text"),
    "a million names, one a line": (
        "train: images\nnames:\n" + "- n\n" * 1_000_000, "over 100000 entries"),
    "a million names in a row": (
        f"train: images\nnames: [{'n,' * 1_000_000}]\n", "over 100000 entries"),
    "thirty thousand names": (
        "train: images\nnames:\n" + "- n\n" * 30_000, "30000 classes; at most 20000"),
    "megabytes": (GOOD_YAML + "#" * (5 << 20), "over 4 MB"),
    "deep nesting": ("names: " + "[" * 50_000, "nested 32 deep: not a data YAML"),
    "python object": (GOOD_YAML + "path: !!python/object/apply:os.system [id]", "not valid YAML"),
    "python name": (GOOD_YAML + "path: !!python/name:os.system", "not valid YAML"),
    "climbing": ("train: ../../../etc\nnames: [a]", "lies outside the data set's folder"),
    "absolute": ("train: /etc/passwd\nnames: [a]", "lies outside the data set's folder"),
    "climbing in a list": ("train: [images, ../..]\nnames: [a]", "lies outside"),
    "escape sequence in a name": ('train: images\nnames: ["\\e]0;x\\a"]', "control characters"),
    "newline in a name": ('train: images\nnames: ["a\\nb"]', "control characters"),
    "newline in a key": ('val: images\nnames: [a]\n"trian\\nx": 1', r"unknown key 'trian\\nx'"),
    "escape sequence in a path": ('train: "../\\e[2J/x"\nnames: [a]', r"'../\\x1b\[2J/x' lies"),
}  # fmt: skip


@pytest.mark.parametrize("key", HOSTILE_YAML)
def test_a_hostile_yaml_is_one_line_and_soon(tmp_path: Path, key: str) -> None:
    text, words = HOSTILE_YAML[key]
    (tmp_path / "images").mkdir()
    file = tmp_path / "data.yaml"
    file.write_text(text)
    start = time.monotonic()
    with pytest.raises(DataError, match=words) as caught:
        read_data(file)
    assert time.monotonic() - start < PATIENCE_S
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("target", ["/dev/zero", "fifo", "loop", "folder"])
def test_a_yaml_that_is_no_file_is_refused_unopened(tmp_path: Path, target: str) -> None:
    file = tmp_path / "data.yaml"
    if target == "fifo":
        os.mkfifo(file)
    elif target == "folder":
        file.mkdir()
    else:
        file.symlink_to(file if target == "loop" else target)
    with pytest.raises(DataError, match=r"no regular file|a folder|no such file|cannot be read"):
        read_data(file)


@pytest.mark.parametrize("target", ["/dev/zero", "fifo", "loop"])
@pytest.mark.parametrize("what", ["list.txt", "set.json"])
def test_a_list_that_is_no_file_is_refused_unopened(
    yolo_set: Writer, target: str, what: str
) -> None:
    spec = read_data(yolo_set({"a": GOOD}, train=what))
    place = spec.root / what
    if target == "fifo":
        os.mkfifo(place)
    else:
        place.symlink_to(place if target == "loop" else target)
    with pytest.raises(DataError, match=r"not a list|no regular file|no such file"):
        build_index(spec, "train")


def test_a_label_that_points_at_a_secret_does_not_leak_it(yolo_set: Writer) -> None:
    spec = read_data(yolo_set({"a": GOOD, "b": None}))
    secret = spec.root.parent / "secret"
    secret.write_text("root:hunter2:0:0\nkey hunter2 is hunter2 and so on\n")
    (spec.root / "labels" / "b.txt").symlink_to(secret)
    index = build_index(spec, "train")
    assert len(index.problems) == 2
    assert "hunter2" not in " ".join(map(str, index.problems))


def test_an_image_that_points_at_a_device_is_left_out(yolo_set: Writer) -> None:
    spec = read_data(yolo_set({"a": GOOD, "b": GOOD, "c": GOOD}))
    (spec.root / "images" / "zero.png").symlink_to("/dev/zero")
    (spec.root / "images" / "loop.png").symlink_to(spec.root / "images" / "loop.png")
    index = build_index(spec, "train")
    assert sorted(problem.rule for problem in index.problems) == ["image-missing", "image-odd-file"]
    assert len(index) == 3


def test_folders_that_point_at_each_other_end(yolo_set: Writer) -> None:
    spec = read_data(yolo_set({"a": GOOD}))
    (spec.root / "images" / "x").symlink_to(spec.root, target_is_directory=True)
    (spec.root / "loop").symlink_to(spec.root / "loop")
    assert len(build_index(spec, "train")) == 1
    loop = read_data(yolo_set({"a": GOOD}, train="loop/images"))
    with pytest.raises(DataError, match="no such file or folder"):
        build_index(loop, "train")


def test_nothing_that_a_download_asks_for_runs(yolo_set: Writer, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    spec = read_data(yolo_set({"a": GOOD}, download=f"touch {canary}\nopen({str(canary)!r}, 'w')"))
    build_index(spec, "train")
    assert not canary.exists()


def chunk(kind: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def png_bomb(side: int) -> bytes:
    """A true picture of side² black pixels: 100 megapixels in 300 kB."""
    packer = zlib.compressobj(9)
    rows = bytes((1 + 3 * side) * 100)
    data = b"".join(packer.compress(rows) for _ in range(side // 100)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def png_note_bomb() -> bytes:
    """A small picture with a compressed note of 200 MB before its pixels."""
    whole = small("PNG")
    note = chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(200 << 20), 9))
    profile = chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(200 << 20), 9))
    return whole[:33] + note + profile + whole[33:]


def small(kind: str, **how: object) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (64, 48), (9, 99, 9)).save(stream, kind, **how)
    return stream.getvalue()


def patched(content: bytes, mark: bytes, behind: int, new: bytes) -> bytes:
    place = content.index(mark) + behind
    return content[:place] + new + content[place + len(new) :]


def webp(side: int) -> bytes:
    bits = (side - 1) | (side - 1) << 14
    return patched(small("WEBP", lossless=True), b"\x2f", 1, struct.pack("<I", bits))


def tiff(side: int) -> bytes:
    content = small("TIFF")
    for tag, old in ((256, 64), (257, 48)):
        entry = struct.pack("<HHI", tag, 4, 1)
        short = struct.pack("<HHI", tag, 3, 1)
        mark = entry if entry in content else short
        content = patched(content, mark + struct.pack("<H", old), 0, entry)
        content = patched(content, entry, 8, struct.pack("<I", side))
    return content


def jpeg(side: int) -> bytes:
    return patched(small("JPEG"), b"\xff\xc0", 5, struct.pack(">HH", side, side))


def zip_bomb() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(50):
            archive.writestr(f"../../{number}.png", bytes(1 << 20))
    return stream.getvalue()


def tar_bomb() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        link = tarfile.TarInfo("../../escape")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return stream.getvalue()


BOMBS: dict[str, Callable[[], bytes]] = {
    "png.png": lambda: png_bomb(10_000),
    "png-gigapixels.png": lambda: patched(
        small("PNG"), b"IHDR", 4, struct.pack(">II", 100_000, 100_000)),
    "note.png": png_note_bomb,
    "webp.webp": lambda: webp(12_000),
    "webp-largest.webp": lambda: webp(16_383),
    "tiff.tif": lambda: tiff(12_000),
    "tiff-gigapixels.tif": lambda: tiff(60_000),
    "jpeg.jpg": lambda: jpeg(12_000),
    "jpeg-gigapixels.jpg": lambda: jpeg(60_000),
    "bmp.bmp": lambda: patched(small("BMP"), b"BM", 18, struct.pack("<ii", 12_000, 12_000)),
    "gif.gif": lambda: patched(small("GIF"), b"GIF8", 6, struct.pack("<HH", 65_535, 65_535)),
    "jpeg-2000.jp2": lambda: patched(
        small("JPEG2000"), b"ihdr", 4, struct.pack(">II", 60_000, 60_000)),
    "jpeg-2000.png": lambda: small("JPEG2000"),
    "gzip.png": lambda: gzip.compress(bytes(50 << 20)),
    "zip.png": zip_bomb,
    "tar.png": tar_bomb,
}  # fmt: skip

CHILD = """
import json, re, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
from prunus.core.errors import DataError
from prunus.data.decode import load_image
from prunus.data.index import build_index
from prunus.data.review.alike import fingerprints
from prunus.data.spec import read_data
spec = read_data(Path(sys.argv[1]))
refused = {}
for image in sorted((spec.root / "images").iterdir()):
    try:
        load_image(image)
    except DataError as error:
        refused[image.name] = str(error)
index = build_index(spec, "train")
fingerprints(index, "train")
status = Path("/proc/self/status").read_text()  # unlike getrusage, not the parent's before exec
peak = int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) / 1024
print(json.dumps({"refused": refused, "kept": [path.name for path in index.paths],
                  "problems": {p.file.name: p.rule for p in index.problems}, "peak": peak}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from /proc")
def test_bombs_are_refused_by_their_headers_and_the_rest_goes_on(yolo_set: Writer) -> None:
    file = yolo_set({f"good{number}": GOOD for number in range(3)})
    for name, make in BOMBS.items():
        (file.parent / "images" / name).write_bytes(make())
        (file.parent / "labels" / name).with_suffix(".txt").write_text(GOOD)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(file)], capture_output=True, text=True, check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    told = json.loads(done.stdout.splitlines()[-1])
    assert sorted(told["kept"]) == ["good0.png", "good1.png", "good2.png"]
    assert set(told["problems"]) == set(BOMBS)
    assert set(told["refused"]) == set(BOMBS)
    assert told["peak"] < MAX_RSS_MB, f"{told['peak']:.0f} MB"


def test_an_honest_picture_of_many_pixels_is_read(tmp_path: Path) -> None:
    from prunus.data.decode import BOMB_PIXELS, read_header

    side = int(BOMB_PIXELS**0.5) + 100
    noise = np.random.default_rng(0).integers(0, 255, (side // 8, side // 8, 3), np.uint8)
    Image.fromarray(noise).resize((side, side), Image.Resampling.NEAREST).save(tmp_path / "a.jpg")
    assert read_header(tmp_path / "a.jpg").size_hw == (side, side)


def test_an_xml_that_grows_is_refused(tmp_path: Path) -> None:
    entities = "".join(
        f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' if n else '<!ENTITY e0 "x">' for n in range(12)
    )
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (tmp_path / folder).mkdir(parents=True)
    for stem in ("a", "b"):
        Image.new("RGB", (40, 40)).save(tmp_path / f"JPEGImages/{stem}.png")
    (tmp_path / "Annotations/a.xml").write_text(f"<!DOCTYPE a [{entities}]><a>&e11;</a>")
    (tmp_path / "Annotations/b.xml").write_text("<annotation/>")
    (tmp_path / "ImageSets/Main/train.txt").write_text("a\nb\n")
    content = {"train": "ImageSets/Main/train.txt", "names": ["x"]}
    (tmp_path / "data.yaml").write_text(yaml.safe_dump(content))
    index = build_index(read_data(tmp_path / "data.yaml"), "train")
    assert [path.stem for path in index.paths] == ["b"]
    assert index.problems[0].rule == "label-unreadable"


IMPOSSIBLE = {"long": "x" * 300 + ".png", "nul": "a\0b.png", "surrogate": "\ud800.png"}


@pytest.mark.parametrize("how", IMPOSSIBLE)
def test_a_list_with_a_name_that_no_file_has_is_one_line(yolo_set: Writer, how: str) -> None:
    spec = read_data(yolo_set({"a": GOOD}, train="list.txt"))
    content = f"images/a.png\n{IMPOSSIBLE[how]}\n".encode("utf-8", "surrogatepass")
    (spec.root / "list.txt").write_bytes(content)
    words = {"long": "list.txt:2: .*255 bytes", "nul": "list.txt:2: .* cannot be a file's name"}
    with pytest.raises(DataError, match=words.get(how, "cannot be read as a list")) as caught:
        build_index(spec, "train")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("how", IMPOSSIBLE)
def test_a_json_with_a_name_that_no_file_has_is_one_line(yolo_set: Writer, how: str) -> None:
    spec = read_data(yolo_set({"a": GOOD}, train="set.json"))
    names = (IMPOSSIBLE[how], "images/a.png")
    images = [{"id": number, "file_name": name} for number, name in enumerate(names)]
    categories = [{"id": 1, "name": "ripe"}]
    (spec.root / "set.json").write_text(json.dumps({"images": images, "categories": categories}))
    with pytest.raises(DataError, match=r"images: 1: .*(255 bytes|cannot be a file's name)"):
        build_index(spec, "train")


def test_a_labels_folder_that_may_not_be_read_is_one_line(
    yolo_set: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = read_data(yolo_set({"a": GOOD}))

    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(index, "exists", refuse)
    with pytest.raises(DataError, match=r"a\.txt: cannot be read: Permission denied\. Look at"):
        build_index(spec, "train")


def test_a_folder_of_images_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = os.scandir

    def refuse(folder: str) -> object:
        if str(folder).endswith("secret"):
            raise PermissionError(13, "Permission denied", str(folder))
        return real(folder)

    (tmp_path / "secret").mkdir()
    (tmp_path / "a.png").touch()
    monkeypatch.setattr(os, "scandir", refuse)
    assert images_in(tmp_path) == [tmp_path / "a.png"]
    assert "secret: cannot be read (Permission denied): its images are left out" in caplog.text
