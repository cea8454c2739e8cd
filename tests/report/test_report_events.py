"""Gammas out of TensorBoard's files: by hand, resumed, damaged, and beside TensorBoard's reader."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunus.report.blocks import MissingError
from prunus.report.events import Histogram, read_gammas
from prunus.report.sections.gammas import LEGEND, gamma_figures, rebinned
from prunus.report.sources import Source

from .conftest import write_events


def test_agrees_with_tensorboards_own_reader(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write_events(tmp_path, range(3))
    ours = read_gammas(tmp_path)
    theirs = EventAccumulator(str(tmp_path), size_guidance={"histograms": 0})
    theirs.Reload()
    assert len(theirs.Histograms("gamma/all")) == 3
    for event in theirs.Histograms("gamma/all"):
        found, known = event.histogram_value, ours.histograms[event.step]
        assert known.counts == tuple(found.bucket)
        assert known.edges[1:-1] == tuple(found.bucket_limit[:-1])
        assert (known.edges[0], known.edges[-1]) == (found.min, found.max)
        assert sum(known.counts) == 100
    assert set(ours.histograms) == {0, 1, 2}
    assert ours.shares == {"below 0.01": pytest.approx({0: 0.0, 1: 0.01, 2: 0.02})}


def test_a_resumed_run_counts_from_where_it_went_on(tmp_path: Path) -> None:
    write_events(tmp_path, range(4), value=0.5)
    write_events(tmp_path, range(2, 3), value=0.25)
    history = read_gammas(tmp_path)
    assert sorted(history.histograms) == [0, 1, 2]
    assert history.histograms[2].edges[-1] == pytest.approx(0.25)
    assert sorted(history.shares["below 0.01"]) == [0, 1, 2]


def test_a_file_that_was_cut_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = write_events(tmp_path, range(3))
    path.write_bytes(path.read_bytes()[:-7])
    assert sorted(read_gammas(tmp_path).histograms) == [0, 1]


def test_rubbish_is_said_to_hold_nothing(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="has no TensorBoard events"):
        read_gammas(tmp_path)
    (tmp_path / "events.out.tfevents.1").write_bytes(b"rubbish" * 100)
    with pytest.raises(MissingError, match="hold no histogram of gammas"):
        read_gammas(tmp_path)


def test_each_share_has_the_colour_of_its_key(tmp_path: Path) -> None:
    write_events(tmp_path, range(3))
    history = read_gammas(tmp_path)  # below 0.01 only
    _, shares = gamma_figures(Source(tmp_path, {}), history)
    (key,) = [key for key in LEGEND if key.name == "below 0.01"]
    assert f'class="line c{key.slot}"' in shares.svg


def test_rebinning_by_hand() -> None:
    found = Histogram((0.0, 0.0, 1.0, 2.0), (5, 4, 2))
    assert rebinned(found, 2.0, 4) == [7.0, 2.0, 1.0, 1.0]


@given(st.lists(st.tuples(st.floats(0.01, 5), st.integers(0, 50)), min_size=1, max_size=9))
def test_rebinning_loses_nothing(buckets: list[tuple[float, int]]) -> None:
    edges = [0.0]
    for width, _ in buckets:
        edges.append(edges[-1] + width)
    counts = tuple(float(count) for _, count in buckets)
    binned = rebinned(Histogram(tuple(edges), counts), edges[-1], 56)
    assert sum(binned) == pytest.approx(sum(counts))
    assert min(binned) >= 0
