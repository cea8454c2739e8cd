"""Blocks to one HTML file that needs nothing else, and that may load and run nothing else.

Its content security policy forbids everything but the one style sheet and the one script of ours,
by their hashes, and pictures that stand in the page itself. So a text that slipped through the
escaping could still do nothing.
"""

import base64
import hashlib
from functools import cache
from typing import TYPE_CHECKING

from markupsafe import Markup

import prunus
from prunus.report.blocks import SLOTS
from prunus.report.outline import Page

if TYPE_CHECKING:
    from jinja2 import Environment

PAGE, STYLE, SCRIPT = "page.html", "page.css", "page.js"


def render(page: Page) -> str:
    """Return the page as HTML."""
    style, script = _source(STYLE), _source(SCRIPT)
    return (
        _environment()
        .get_template(PAGE)
        .render(
            page=page,
            slots=SLOTS,
            style=Markup(style),
            script=Markup(script),
            policy=policy(style, script),
            version=prunus.__version__,
        )
    )


def policy(style: str, script: str) -> str:
    """Return what the page may do."""
    return "; ".join(
        [
            "default-src 'none'",
            "img-src data:",
            f"style-src {_hash(style)}",
            f"script-src {_hash(script)}",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _hash(content: str) -> str:
    digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
    return f"'sha256-{digest}'"


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined  # late: 30 ms

    return Environment(
        loader=PackageLoader("prunus.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _source(name: str) -> str:
    environment = _environment()
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]
