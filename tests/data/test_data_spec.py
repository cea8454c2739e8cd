import logging
import pickle
from pathlib import Path

import pytest

from prunus.core.errors import DataError
from prunus.data.spec import read_data


def write(folder: Path, text: str) -> Path:
    (folder / "images").mkdir(exist_ok=True)
    file = folder / "data.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_reads_folders_lists_and_numbered_names(tmp_path: Path) -> None:
    text = "train: [images/a, images/b]\nval: val.txt\nnames: {0: plum, 1: cherry}\nnc: 2\n"
    spec = read_data(write(tmp_path, text))
    assert spec.names == ("plum", "cherry")
    assert dict(spec.splits) == {"train": ("images/a", "images/b"), "val": ("val.txt",)}
    assert spec.root == tmp_path
    assert spec.format == "yolo"


def test_path_is_relative_to_the_yaml_and_may_climb(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "set").mkdir()
    spec = read_data(write(tmp_path / "config", "path: ../set\ntrain: images\nnames: [a]"))
    assert spec.root == tmp_path / "set"


@pytest.mark.parametrize("marker", ["entry", "folder", "word"])
def test_knows_a_voc_set_by_its_lists_its_folder_or_its_word(tmp_path: Path, marker: str) -> None:
    train = "ImageSets/Main/train.txt" if marker == "entry" else "images"
    if marker == "folder":
        (tmp_path / "Annotations").mkdir()
    word = "format: voc\n" if marker == "word" else ""
    assert read_data(write(tmp_path, f"{word}train: {train}\nnames: [a]")).format == "voc"


def test_pickles_for_workers_that_are_spawned(tmp_path: Path) -> None:
    spec = read_data(write(tmp_path, "train: images\nnames: [a]"))
    assert pickle.loads(pickle.dumps(spec)) == spec  # noqa: S301 - our own bytes


GOOD = "train: images\nval: images\nnames: [a, b]\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- a\n- b", "holds no keys"),
        ("train: [", "not valid YAML"),
        ("names: [a]", "no split. Give 'train' and 'val'"),
        (GOOD + "path: nowhere", r"'nowhere' is no folder; tried /.*/nowhere"),
        (GOOD + "path: 7", "path: must be a folder's name, got 7"),
        ("valid: images\ntrain: images\nnames: [a, b]", "unknown key 'valid'. Did you mean 'val'?"),
        (GOOD + "nc: 3", "nc: 3, but there are 2 names"),
        ("train: images\n", "names: missing"),
        ("train: images\nnames: {0: a, 2: b}", "numbers must run from 0 to 1 without gaps"),
        ("train: images\nnames: [yes, no]", "names: 0 is True, not text. Put it in quotes"),
        ('train: images\nnames: ["a\\e[2J"]', "names: 0 is empty or holds control characters"),
        (
            GOOD + "format: yollo",
            "no format 'yollo'; there is coco, shards, voc, yolo. Did you mean 'yolo'",
        ),
        (GOOD + "format: [voc]", "no format"),
        ("train: {a: b}\nnames: [a]", "train: must be a folder, a .txt list, a COCO"),
        ("train: ../../etc\nnames: [a]", r"train: '../../etc' lies outside .* Set 'path'"),
        ("train: /etc/passwd\nnames: [a]", "train: '/etc/passwd' lies outside"),
        ("train: images/../..\nnames: [a]", "lies outside"),
        (f"train: {'x' * 300}\nnames: [a]", "longer than 255 bytes"),
        (f"train: {'x/' * 2000}\nnames: [a]", "the path is longer than 3800 bytes"),
        ('train: "a\\0b"\nnames: [a]', r"'a\\x00b' cannot be a file's name"),
        ('train: "\\uD800"\nnames: [a]', r"'\\ud800' cannot be a file's name"),
        (GOOD + f"path: {'x' * 300}", "x' is no folder; tried"),
        (GOOD + 'path: "a\\0b"', r"'a\\x00b' is no folder; tried"),
        (GOOD + 'path: "\\uD800"', r"'\\ud800' is no folder; tried"),
        (GOOD + "nc: 2020-99-99", "not valid YAML: month must be in 1..12"),
    ],
)
def test_says_what_is_wrong_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        read_data(write(tmp_path, text))
    assert "\n" not in str(caught.value)
    assert "data.yaml" in str(caught.value)


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_data(tmp_path / "none.yaml")
    with pytest.raises(DataError, match=r"a folder\. Give the data set's YAML"):
        read_data(tmp_path)


def test_a_split_that_is_not_there_lists_those_that_are(tmp_path: Path) -> None:
    spec = read_data(write(tmp_path, GOOD))
    with pytest.raises(DataError, match="no split 'test'; there is train, val"):
        spec.entries("test")


def test_never_runs_a_download_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    canary = tmp_path / "canary"
    with caplog.at_level(logging.INFO, logger="prunus"):
        read_data(write(tmp_path, GOOD + f"download: open({str(canary)!r}, 'w')\n"))
    assert "never executes what a data set asks for" in caplog.text
    assert not canary.exists()


def test_python_tags_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not valid YAML"):
        read_data(write(tmp_path, GOOD + "path: !!python/object/apply:os.getcwd []"))


def test_keys_that_other_tools_write_are_ignored_aloud(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    read_data(write(tmp_path, GOOD + "roboflow: {workspace: w}\n"))
    assert "unknown key 'roboflow' is ignored" in caplog.text


@pytest.mark.parametrize("key", ["minival", "trainval", "valid"])
def test_a_further_split_is_no_slip_of_the_pen(
    tmp_path: Path, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    read_data(write(tmp_path, GOOD + f"{key}: images\n"))
    assert f"unknown key '{key}' is ignored" in caplog.text


def test_an_alias_bomb_does_not_blow_up_in_the_message(tmp_path: Path) -> None:
    levels = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 9))
    bomb = f"train: images\nl0: &l0 [x, x, x]\n{levels}\nnames: [a, *l8]"
    with pytest.raises(DataError, match="names: 1 is") as caught:
        read_data(write(tmp_path, bomb))
    assert len(str(caught.value)) < 1000
