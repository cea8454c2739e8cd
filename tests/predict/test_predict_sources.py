"""What the user points at is found, or the error says what was looked for."""

from pathlib import Path

import pytest

from prunus.core.errors import DataError
from prunus.predict.sources import find_images


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("10.jpg", "2.jpg", "b.PNG", "notes.txt", "within/3.jpg"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "photos"


def test_a_folder_gives_its_own_images_in_natural_order(photos: Path) -> None:
    assert [path.name for path in find_images([photos])] == ["2.jpg", "10.jpg", "b.PNG"]


def test_files_and_patterns_are_taken_and_none_twice(photos: Path) -> None:
    found = find_images([photos / "10.jpg", f"{photos}/*.jpg", f"{photos}/**/*.jpg"])
    assert [path.name for path in found] == ["10.jpg", "2.jpg", "3.jpg"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    path = tmp_path / "tree [1].jpg"
    path.touch()
    assert find_images([str(path)]) == (path,)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("absent.jpg", r"absent\.jpg: no such image or folder"),
        ("*.gif", r"\*\.gif: no image there \(.*\.jpg.*\)\. Quote the pattern"),
        ("empty", r"empty: no image there .*Try 'empty/\*\*'"),
        ("notes.txt", r"notes\.txt: no image there .*Convert it first"),
        ("https://example.org/a.jpg", "addresses and cameras are not read"),
        ("0", "0: addresses and cameras are not read"),
    ],
)
def test_a_source_without_an_image_is_told(
    source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match=message):
        find_images([source])


def test_no_source_at_all_is_told() -> None:
    with pytest.raises(DataError, match="no source: give an image"):
        find_images([])
