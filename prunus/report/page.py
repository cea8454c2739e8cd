"""Run folders → one HTML file under 2 MB: of one compress run, or of any runs side by side."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from markupsafe import Markup

from prunus.core.errors import ConfigError
from prunus.core.files import write_text
from prunus.report.blocks import MissingError
from prunus.report.comparing import comparison_page
from prunus.report.compressed import Compressed
from prunus.report.outline import Page, Section, section
from prunus.report.pictures import choose, show
from prunus.report.render import render
from prunus.report.sections import AFTER_PICTURES, BEFORE_PICTURES
from prunus.report.sources import Source, open_source
from prunus.report.values import number, text
from prunus.report.verdict import lead, verdict
from prunus.report.wording import duration

COMPRESS = "compress"
PICTURES = 10
"""Images that are shown of each model."""
MOST_BYTES = 2_000_000
SIDES = (448, 320, 224)
"""Longest sides of the images, in pixels; smaller ones where the page would grow too large."""


@dataclass(frozen=True)
class Written:
    """A page.

    Attributes:
        path: The file.
        size: Its bytes.
        missing: By section that shows nothing, why.
    """

    path: Path
    size: int
    missing: dict[str, str]


def write_report(folder: Path, out: Path, *, pictures: int = PICTURES) -> Written:
    """Write the page of a finished compress run.

    Args:
        folder: Of the run; its `report.json` is there already.
        out: The HTML file.
        pictures: How many images to show before and after; 0 for none.

    Raises:
        ConfigError: The folder holds no finished compress run.
        PrunusError: The page cannot be written.
    """
    source = open_source(folder)
    if source.verb != COMPRESS:
        raise ConfigError(
            f"{folder}: a run of {source.verb}, not of compress: see write_comparison."
        )
    run = Compressed(source)
    before, after = (
        [section(name, title, partial(make, run)) for name, title, make in makers]
        for makers in (BEFORE_PICTURES, AFTER_PICTURES)
    )
    for shown, defs in _gallery(run, pictures):
        page = Page(
            title=_title(source),
            subtitle=_subtitle(source),
            verdict=verdict(run),
            lead=lead(run),
            sections=[*before, shown, *after],
            defs=defs,
        )
        html = render(page)
        if len(html.encode()) <= MOST_BYTES:
            break
    return _write(page, html, out)


def write_comparison(folders: Sequence[Path], out: Path) -> Written:
    """Write a page that shows finished runs of any verbs side by side.

    Raises:
        ConfigError: A folder holds no finished run.
        PrunusError: The page cannot be written.
    """
    page = comparison_page([open_source(folder) for folder in folders])
    return _write(page, render(page), out)


def _gallery(run: Compressed, count: int) -> Iterator[tuple[Section, Sequence[Markup]]]:
    """Yield the section of images, smaller each time; at last without any."""
    name, title = "images", "The same images, before and after"
    try:
        chosen = choose(run, count)
        for side in SIDES:
            drawn = show(chosen, side)
            yield Section(name, title, drawn.blocks), drawn.defs
    except MissingError as missing:
        yield Section(name, title, missing=str(missing)), ()
        return
    yield Section(name, title, missing="with images the page would be larger than 2 MB."), ()


def _title(source: Source) -> str:
    data, weights = (source.settings.get(name) for name in ("data", "weights"))
    names = [text(Path(value).stem) for value in (weights, data) if isinstance(value, str)]
    return f"Compressing {' on '.join(names)}" if names else f"Compress run {source.name}"


def _subtitle(source: Source) -> str:
    seconds = _seconds(source)
    side = number(source.settings.get("image_size"))
    words = [text(source.report.get("finished")).replace("T", " ").removesuffix("+00:00")]
    words += [f"{duration(seconds)} of work"] if seconds is not None else []
    words += [f"images of {side:.0f} px"] if side is not None else []
    return " · ".join(word for word in (*words, source.name) if word)


def _seconds(source: Source) -> float | None:
    """Return how long the stages took, also those of the sittings before the run was resumed."""
    own = number(source.report.get("seconds"))
    stages = sum(number(line.get("seconds")) or 0.0 for line, _ in source.stages)
    return stages if own is None or stages > own else own


def _write(page: Page, html: str, out: Path) -> Written:
    write_text(out, html)
    missing = {section.name: section.missing for section in page.sections if section.missing}
    return Written(out, len(html.encode()), missing)
