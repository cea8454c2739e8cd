"""Drawings: values by hand, properties of scales, well-formed and escaped."""

from itertools import combinations, pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from prunus.report.svg.axes import Mark, Scale, round_step, spanning, tick_text
from prunus.report.svg.bars import Bar, bar_chart
from prunus.report.svg.dumbbells import Dumbbell, Side, dumbbell_chart
from prunus.report.svg.elements import LETTER, WIDTH, element, shortened
from prunus.report.svg.heat import heat_map
from prunus.report.svg.lines import Line, line_chart, line_class, thinned
from prunus.report.svg.photo import Box, photo
from prunus.report.svg.ridges import Hill, ridge_chart
from prunus.report.svg.scatter import Dot, front_words, pareto, scatter_chart
from prunus.report.svg.texts import Text, meet

HOSTILE = "</svg><script>alert(1)</script>\"'&"
numbers = st.floats(-1e6, 1e6)


@pytest.mark.parametrize(
    ("rough", "expected"), [(0.9, 1), (1.1, 2), (3, 5), (6, 10), (0.03, 0.05), (0, 1), (-1, 1)]
)
def test_steps_are_round(rough: float, expected: float) -> None:
    assert round_step(rough) == pytest.approx(expected)


def test_ticks_by_hand() -> None:
    assert Scale(0, 10, 0, 100).ticks() == [0, 2, 4, 6, 8, 10]
    assert Scale(1.5, 60, 0, 100, logarithmic=True).ticks() == [2, 5, 10, 20, 50]
    assert [tick_text(v, Scale(0, 0.02, 0, 1)) for v in (0.005, 0.01)] == ["0.005", "0.010"]
    assert tick_text(-3.0, Scale(-4, 0, 0, 1)) == "−3"


def test_a_scale_by_hand() -> None:
    scale = Scale(0, 10, 100, 0)
    assert [scale(value) for value in (-5, 0, 2.5, 10, 20)] == [100, 100, 75, 0, 0]
    assert Scale(1, 100, 0, 10, logarithmic=True)(10) == pytest.approx(5)
    assert Scale(3, 3, 0, 10)(3) == 5


@given(st.lists(numbers, max_size=6), st.booleans())
def test_an_axis_holds_all_values_and_has_ticks(values: list[float], zero: bool) -> None:
    low, high = spanning(values, zero=zero)
    assert low < high
    assert all(low <= value <= high for value in values)
    ticks = Scale(low, high, 0, 100).ticks()
    assert 1 <= len(ticks) <= 12
    assert all(before < after for before, after in pairwise(ticks))


def dot(x: float, y: float) -> Dot:
    return Dot("", x, y)


def test_the_front_by_hand() -> None:
    dots = [dot(2, 0.5), dot(1, 0.4), dot(3, 0.45), dot(4, 0.6), dot(1, 0.3)]
    assert pareto(dots) == [dot(1, 0.4), dot(2, 0.5), dot(4, 0.6)]
    assert front_words(dots) == " Dashed: the front."
    assert front_words(dots[:1]) == ""


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=12))
def test_no_dot_beats_the_front(places: list[tuple[float, float]]) -> None:
    dots = [dot(x, y) for x, y in places]
    best = pareto(dots)
    for one in dots:
        assert any(other.x <= one.x and other.y >= one.y for other in best)
    assert all(a.x < b.x and a.y < b.y for a, b in pairwise(best))


@given(st.lists(numbers, min_size=2, max_size=500), st.integers(2, 50))
def test_thinning_keeps_the_ends(values: list[float], most: int) -> None:
    few = thinned(values, most)
    assert len(few) == min(len(values), most)
    assert (few[0], few[-1]) == (values[0], values[-1])


def test_long_names_keep_both_ends() -> None:
    assert shortened("model.24.m.2", 1000) == "model.24.m.2"
    assert shortened("abcdefghij", 5 * 6.1) == "ab…ij"


def test_colours_begin_anew_dashed() -> None:
    assert line_class(1) == "line c1"
    assert line_class(9) == "line c1 dashed"
    assert line_class(None) == "line quiet"


def test_attributes_and_texts_are_escaped() -> None:
    assert element("a", "<b>", title='"x"') == '<a title="&#34;x&#34;">&lt;b&gt;</a>'
    assert (
        element("use", class_="x", stroke_width=1.25, id=None)
        == '<use class="x" stroke-width="1.2"/>'
    )


CHARTS = {
    "bars": bar_chart(HOSTILE, [Bar(HOSTILE, 8, 4), Bar("x", 0, 0)], most=8),
    "dumbbells": dumbbell_chart(
        HOSTILE, [Dumbbell(HOSTILE, Side(0.5, (0.4, 0.6)), Side(0.4))], HOSTILE
    ),
    "heat": heat_map(HOSTILE, [HOSTILE, "b"], [[1, 0], [3, 0]], HOSTILE, HOSTILE),
    "lines": line_chart(
        HOSTILE, [Line(HOSTILE, [1, 2], [0, 1]), Line("one", [1], [1])], HOSTILE, HOSTILE,
        mark=Mark(0.5, HOSTILE),
    ),
    "no lines": line_chart("", [], "", ""),
    "photo": photo("photo-1", (10, 20), [Box(-5, 0, 99, 3, "lost", HOSTILE, HOSTILE)], HOSTILE),
    "ridges": ridge_chart(HOSTILE, [Hill(HOSTILE, [0, 4, 1]), Hill("2", [])], 1.0, HOSTILE),
    "scatter": scatter_chart(
        HOSTILE, [Dot(HOSTILE, 1, 0.5, (0.4, 0.6)), Dot("b", 90, 0.6)], HOSTILE, HOSTILE
    ),
    "no dots": scatter_chart("", [], "", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", CHARTS)
def test_drawings_are_well_formed_named_and_harmless(name: str) -> None:
    svg = CHARTS[name]
    assert isinstance(svg, Markup)
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img"
    assert root.get("aria-label") == root[0].text or not root[0].text
    assert root[0].tag == "title"
    tags = {one.tag for one in root.iter()}
    assert tags <= {"svg", "title", "text", "line", "rect", "circle", "polyline", "path", "use"}
    assert "nan" not in svg and "inf" not in svg.replace("info", "")


def test_bars_by_hand() -> None:
    rows = ElementTree.fromstring(bar_chart("", [Bar("a", 8, 4)], most=8)).findall("rect")
    room = WIDTH - 150 - 82
    assert [float(rect.get("width", "")) for rect in rows] == [room, room / 2]


def test_shades_are_shares_of_columns() -> None:
    root = ElementTree.fromstring(heat_map("", ["a", "b"], [[1, 0], [3, 0]], "", ""))
    assert [rect.get("class") for rect in root.findall("rect")] == ["h3", "h0", "h8", "h0"]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=30))
def test_names_never_cover_each_other(places: list[tuple[int, int]]) -> None:
    dots = [Dot(f"model {x}.{y}", x, y) for x, y in places]
    names = [
        text
        for text in ElementTree.fromstring(scatter_chart("", dots, "", "")).findall("text")
        if text.get("class") == "dotname"
    ]
    assert 1 <= len(names) <= len(dots)
    spaces = []
    for name in names:
        width = len(name.text or "") * LETTER
        x = float(name.get("x", "")) - (width if name.get("text-anchor") == "end" else 0)
        y = float(name.get("y", ""))
        spaces.append((x, x + width, y - 10, y))
    for one, other in combinations(spaces, 2):
        apart = one[1] <= other[0] or other[1] <= one[0] or one[3] <= other[2] or other[3] <= one[2]
        assert apart


def test_no_name_covers_the_name_of_a_mark() -> None:
    dots = [Dot(f"trial {n}", 2.0, y) for n, y in enumerate((-0.97, -0.95, -0.92, 0.5))]
    svg = scatter_chart("", dots, "", "", mark=Mark(-1.0, "at most 1 point lost"))
    texts = ElementTree.fromstring(svg).findall("text")
    spaces = {
        text.text: Text(
            text.text or "",
            float(text.get("x", "")),
            float(text.get("y", "")),
            text.get("text-anchor", "start"),
        ).space
        for text in texts
        if text.get("class") in {"dotname", "marked"}
    }
    assert {"at most 1 point lost", "trial 3"} < set(spaces)
    assert not any(meet(one, other) for one, other in combinations(spaces.values(), 2))


def test_tags_on_a_photo_stand_apart_where_there_is_room() -> None:
    boxes = [Box(100, 100, 160, 160, "false", "", "RBC 0.35"), Box(112, 108, 170, 170, "lost", "", "RBC")]  # fmt: skip  # noqa: E501
    tags = ElementTree.fromstring(photo("p", (320, 240), boxes, "")).findall("text")
    places = {tag.text: (float(tag.get("x", "")), float(tag.get("y", ""))) for tag in tags}
    assert places == {"RBC": (115, 104), "RBC 0.35": (103, 156)}  # above; in the foot of its box


def test_tags_that_find_no_room_are_written_all_the_same() -> None:
    boxes = [Box(0, 0, 20, 20, "lost", "", f"a long name {n}") for n in range(9)]
    tags = ElementTree.fromstring(photo("p", (20, 20), boxes, "")).findall("text")
    assert [tag.text for tag in tags] == [box.tag for box in boxes]
    assert all(0 < float(tag.get("y", "")) <= 20 for tag in tags)
