import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from prunus.core.errors import DataError
from prunus.data.decode import EXIF_ORIENTATION, MAX_PIXELS, load_image, read_header
from prunus.data.endings import cut_short


def gradient(height: int = 40, width: int = 60) -> np.ndarray:
    """A picture that looks different after every turn and mirroring."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack((x * 4, y * 6, (x + y) * 2), axis=-1).astype(np.uint8)


def test_channels_are_red_green_blue(tmp_path: Path) -> None:
    Image.new("RGB", (20, 10), (200, 100, 50)).save(tmp_path / "a.png")
    image = load_image(tmp_path / "a.png")
    assert image.shape == (10, 20, 3)
    assert image.dtype == np.uint8
    assert image[0, 0].tolist() == [200, 100, 50]


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_is_applied_as_pillow_does_and_the_header_agrees(
    tmp_path: Path, orientation: int, suffix: str
) -> None:
    file = tmp_path / f"a.{suffix}"
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    how = {"quality": 95} if suffix in ("jpg", "webp") else {}
    Image.fromarray(gradient()).save(file, exif=exif, **how)
    with Image.open(file) as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    image = load_image(file)
    assert read_header(file).size_hw == image.shape[:2] == expected.shape[:2]
    assert np.abs(image.astype(int) - expected).mean() < 3  # decoders differ a little


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_coarse_decode_is_turned_like_a_whole_one(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    Image.fromarray(gradient()).save(tmp_path / "a.jpg", exif=exif, quality=95)
    whole = load_image(tmp_path / "a.jpg")
    half = load_image(tmp_path / "a.jpg", coarse_to=30)
    assert half.shape[:2] == (whole.shape[0] // 2, whole.shape[1] // 2)
    means = whole.reshape(half.shape[0], 2, half.shape[1], 2, 3).mean(axis=(1, 3))
    assert np.abs(means - half).mean() < 4


@pytest.mark.parametrize(
    ("coarse_to", "long_side"), [(0, 60), (61, 60), (31, 60), (30, 30), (16, 30), (15, 15), (7, 8)]
)
def test_a_coarse_decode_never_falls_below_what_is_needed(
    tmp_path: Path, coarse_to: int, long_side: int
) -> None:
    Image.fromarray(gradient()).save(tmp_path / "a.jpg")
    assert max(load_image(tmp_path / "a.jpg", coarse_to=coarse_to).shape) == long_side


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA", "CMYK", "I;16"])
def test_every_mode_becomes_three_channels_of_eight_bits(tmp_path: Path, mode: str) -> None:
    file = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    if mode == "I;16":
        Image.fromarray(np.full((20, 30), 40_000, np.uint16)).save(file)
    else:
        Image.new("RGB", (30, 20), (156, 156, 156)).convert(mode).save(file)
    image = load_image(file)
    assert image.shape == (20, 30, 3)
    assert image.dtype == np.uint8
    if mode != "1":
        assert abs(int(image[5, 5, 1]) - 156) < 6


def test_of_several_pages_the_first_is_taken(tmp_path: Path) -> None:
    pages = [Image.new("RGB", (20, 20), (level, 0, 0)) for level in (200, 10)]
    for name in ("a.tif", "b.webp"):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:], lossless=True)
        assert load_image(tmp_path / name)[0, 0, 0] > 190


def test_a_name_in_any_script_and_a_wrong_ending_are_read(tmp_path: Path) -> None:
    file = tmp_path / "梅 🍒.jpg"
    Image.fromarray(gradient()).save(file, format="PNG")
    np.testing.assert_array_equal(load_image(file), gradient())


def png_header(width: int, height: int) -> bytes:
    """A PNG with a sound header and no picture."""
    header = b"IHDR" + struct.pack(">II", width, height) + b"\x08\x02\x00\x00\x00"
    check = struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n\x00\x00\x00\r" + header + check + b"\x00\x00\x00\x00IDAT"


@pytest.mark.filterwarnings("ignore:Image size")
def test_a_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    file = tmp_path / "bomb.png"
    for width in (MAX_PIXELS // 10_000 + 1, 100_000):
        file.write_bytes(png_header(width, 10_000))
        with pytest.raises(DataError, match=r"bomb.png: .*over 170 megapixels"):
            load_image(file)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "a.jpg: no such image. Replace or remove"),
        (b"", "a.jpg: an empty file"),
        (b"hello", "a.jpg: no image of a known kind"),
        (png_header(100, 100), "a.jpg: cannot be decoded"),
    ],
)
def test_what_is_no_image_is_named(tmp_path: Path, content: bytes | None, words: str) -> None:
    if content is not None:
        (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(DataError, match=words):
        load_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
@pytest.mark.parametrize("part", [0.5, 0.9])
def test_a_file_cut_short_is_told_from_a_whole_one(tmp_path: Path, kind: str, part: float) -> None:
    file = tmp_path / "a"
    Image.fromarray(gradient()).save(file, format=kind)
    assert not cut_short(file, kind)
    content = file.read_bytes()
    file.write_bytes(content + b"a note from the camera")
    assert not cut_short(file, kind)
    file.write_bytes(content[: int(len(content) * part)])
    assert cut_short(file, kind)
    file.write_bytes(content[:-6])
    assert cut_short(file, kind)
