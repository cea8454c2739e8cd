"""What the user points at is found, or the error says what was looked for."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from prunus.core.errors import ConfigError, DataError
from prunus.predict.sources import KINDS, open_sources


def find_images(sources: Sequence[str | Path]) -> tuple[Path, ...]:
    return tuple(Path(source.title) for source in open_sources(sources).each)


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
        ("absent.jpg", r"absent\.jpg: no such picture, video or folder"),
        ("*.gif", r"\*\.gif: nothing to look at there \(.*\.jpg.*\)\. Quote the pattern"),
        ("empty", r"empty: nothing to look at there .*Try 'empty/\*\*'"),
        ("notes.txt", r"notes\.txt: nothing to look at there .*Convert it first"),
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


def titles(*words: str, listed: tuple[str, ...] = ()) -> list[str]:
    return [Path(source.title).name for source in open_sources(words, listed=listed).each]


def test_folders_patterns_and_lists_give_pictures_and_videos_each_once(photos: Path) -> None:
    (photos / "clip.MP4").touch()
    assert titles(str(photos)) == ["2.jpg", "10.jpg", "b.PNG", "clip.MP4"]
    assert titles(f"{photos}/clip.*", str(photos / "2.jpg")) == ["clip.MP4", "2.jpg"]
    lines = (f"{photos}/10.jpg\n", "\n", f"{photos}\n", f" {photos}/within/3.jpg \r\n")
    assert titles("-", listed=lines) == ["10.jpg", "2.jpg", "b.PNG", "clip.MP4", "3.jpg"]


def test_a_list_is_taken_line_by_line(photos: Path) -> None:
    asked: list[int] = []

    def lines() -> Iterator[str]:
        for number in (2, 10):
            asked.append(number)
            yield f"{photos}/{number}.jpg\n"

    opened = open_sources(["-"], listed=lines())
    assert (opened.count, opened.early, asked) == (None, False, [])
    sources = iter(opened.each)
    assert next(sources).stem == "2"
    assert asked == [2], "the second line is not waited for"


def test_how_many_there_are_is_known_beforehand(photos: Path) -> None:
    opened = open_sources([photos])
    assert (opened.count, opened.early) == (3, True)


@pytest.mark.parametrize("word", ["0", "rtsp://root:plum@10.0.0.7/cam"])
def test_what_goes_on_for_ever_stands_alone(word: str, photos: Path) -> None:
    (source,) = open_sources([word]).each
    assert source.live
    with pytest.raises(DataError, match=r"(camera 0|rtsp://10\.0\.0\.7/cam): goes on for ever"):
        open_sources([str(photos), word])
    (refused,) = open_sources(["-"], listed=[word]).each
    with pytest.raises(DataError, match=r"(camera 0|10\.0\.0\.7/cam): .*not in a list"):
        list(refused)


def test_a_listed_line_that_means_nothing_does_not_end_the_list(photos: Path) -> None:
    lines = ("absent.jpg", f"{photos}/2.jpg")
    nothing, picture = open_sources(["-"], listed=lines).each
    assert Path(picture.title).name == "2.jpg"
    with pytest.raises(DataError, match=r"^absent\.jpg: no such picture"):
        list(nothing)


def test_numbers_in_names_are_those_of_any_script(photos: Path) -> None:
    for name in ("1²2.jpg", "٣.jpg"):
        (photos / name).touch()
    assert [path.name for path in find_images([photos])] == [
        "1²2.jpg", "2.jpg", "٣.jpg", "10.jpg", "b.PNG",
    ]  # fmt: skip


def test_a_stride_of_nothing_is_refused(photos: Path) -> None:
    with pytest.raises(ConfigError, match="vid_stride: must be at least 1, got 0"):
        open_sources([photos], vid_stride=0)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("https://user:plum@example.org/a.jpg", r"^https://example\.org/a\.jpg: web addresses"),
        ("file:///etc/passwd", "web addresses are not fetched"),
        ("gopher://example.org", "gopher://example.org: no stream of a known kind. Give one of"),
        ("7.mp4", r"7\.mp4: no such picture, video or folder"),
        ("1" * 10, r"^1111111111: no such picture, video or folder"),
        ("n" * 5000, r"^n{5000}: cannot be looked at: File name too long"),
        ("1" * 5000, r"^1{5000}: cannot be looked at: File name too long"),
        ("a\x1b]0;\nb.jpg", r"^a\\x1b\]0;\\nb\.jpg: no such picture"),
        ("a\x1b[2J.jpg", r"^a\\x1b\[2J\.jpg: nothing to look at there"),
    ],
)  # fmt: skip
def test_what_is_not_read_is_told_in_one_line(word: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_sources([word])


def test_a_file_called_like_a_camera_is_that_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "a.jpg").touch()
    assert titles("0") == ["a.jpg"]


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_claims_something(name: str) -> None:
    words = ("a.jpg", "a.mp4", "12", "rtsp://camera/1")
    claimed = [word for word in words if KINDS[name].claims(word)]
    assert len(claimed) == 1
    source = KINDS[name].open_source(claimed[0], 2)
    assert source.stem
    assert source.live == KINDS[name].live
