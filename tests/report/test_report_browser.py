"""The page in a real browser without a window: silent, alone, sortable by keyboard, readable."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prunus.report.page import write_comparison, write_report

pytestmark = pytest.mark.integration
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1200, "height": 900}
LEAST_CONTRAST = 4.5
"""Of text on its ground: WCAG 2.2, 1.4.3, level AA."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"no browser is installed: looked for {', '.join(BROWSERS)}")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


class Visit:
    """A page that was opened, and what it said and asked for."""

    def __init__(self, browser: Any, path: Path, **look: Any) -> None:
        context = browser.new_context(**{"viewport": DESK, **look})
        self.page = context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())


@pytest.fixture
def report(run: Path, tmp_path: Path) -> Path:
    return write_report(run, tmp_path / "report.html").path


LOOKS = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": PHONE},
    "phone dark": {"viewport": PHONE, "color_scheme": "dark"},
}


@pytest.mark.parametrize("look", LOOKS)
def test_silent_alone_and_no_wider_than_the_screen(
    browser: Any, report: Path, tmp_path: Path, look: str
) -> None:
    visit = Visit(browser, report, **LOOKS[look])
    visit.page.screenshot(path=tmp_path / f"{look}.png", full_page=True)
    assert visit.said == []
    asked = [address for address in visit.asked if not address.startswith("data:")]
    assert asked == [report.as_uri()]
    assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("look", LOOKS)
def test_every_text_can_be_read(browser: Any, report: Path, look: str) -> None:
    visit = Visit(browser, report, **LOOKS[look])
    faint = [row for row in visit.page.evaluate(CONTRASTS) if row[0] < LEAST_CONTRAST]
    assert faint == []


CONTRASTS = """() => {
  const channel = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = (c) => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
  const parse = (c) => (c.match(/[\\d.]+/g) || []).map(Number);
  const ground = (e) => {
    for (let at = e; at; at = at.parentElement) {
      const c = parse(getComputedStyle(at).backgroundColor);
      if (c.length === 3 || c[3] > 0.99) return c;
    }
    return [255, 255, 255];
  };
  const rows = [];
  for (const e of document.querySelectorAll("body *:not(script):not(style)")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || e.closest("svg .photo, svg.photo, title") || !e.getClientRects().length) continue;
    if (e.matches("svg .over, svg .under, svg .faint")) continue;
    const s = getComputedStyle(e);
    const ink = parse(e instanceof SVGElement ? s.fill : s.color);
    const [a, b] = [light(ink), light(ground(e))].sort((x, y) => y - x);
    const name = `${e.tagName}.${e.getAttribute("class")}: ${e.textContent.slice(0, 30)}`;
    rows.push([(a + 0.05) / (b + 0.05), name]);
  }
  return rows;
}"""


def column(page: Any, place: int) -> list[str]:
    script = f"rows => rows.map(row => row.cells[{place}].firstChild.textContent.trim())"
    found: list[str] = page.eval_on_selector_all("#models tbody tr", script)
    return found


def test_tables_are_sorted_by_keyboard(browser: Any, report: Path) -> None:
    page = Visit(browser, report).page
    assert column(page, 0) == ["dense", "dense, longer", "pruned"]
    heading = page.locator("#models thead th").nth(1)
    page.locator("#models thead button").first.focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert column(page, 0) == ["dense", "pruned", "dense, longer"]
    assert heading.get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Space")
    assert column(page, 0) == ["dense, longer", "pruned", "dense"]
    assert heading.get_attribute("aria-sort") == "descending"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.locator("#models [aria-sort]").count() == 1


def test_what_was_not_measured_sorts_last_both_ways(browser: Any, report: Path) -> None:
    page = Visit(browser, report).page
    button = page.get_by_role("button", name="onnx fp32")
    for _ in range(2):
        button.press("Enter")
        assert column(page, 0)[-1] == "dense, longer"


def test_a_keyboard_reaches_links_tables_and_what_is_folded_away(
    browser: Any, report: Path
) -> None:
    page = Visit(browser, report).page
    reached = set()
    for _ in range(120):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.tagName"))
    assert {"A", "BUTTON", "DIV", "SUMMARY"} <= reached


def test_print_opens_what_is_folded_away(browser: Any, report: Path, tmp_path: Path) -> None:
    page = Visit(browser, report, color_scheme="dark").page
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0
    page.emulate_media(media="print", color_scheme="dark")
    ground = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--paper')")
    assert ground.strip() == "#fdfcfd"
    page.pdf(path=tmp_path / "report.pdf", format="A4")


def test_every_drawing_has_a_name(browser: Any, report: Path) -> None:
    page = Visit(browser, report).page
    names = page.eval_on_selector_all(
        "figure svg", "all => all.map(one => one.getAttribute('aria-label'))"
    )
    assert len(names) > 12 and all(len(name) > 10 for name in names)
    shown = page.eval_on_selector_all("svg image", "all => all.map(one => one.getBBox().width)")
    assert shown == [64, 64]


def test_a_comparison_is_silent_too(browser: Any, run: Path, tmp_path: Path) -> None:
    runs = [run, run / "01-adapt", run / "07-val-result"]
    visit = Visit(browser, write_comparison(runs, tmp_path / "both.html").path)
    assert visit.said == []
    assert len(visit.asked) == 1
    visit.page.get_by_role("button", name="mAP50").first.press("Enter")
