"""A Pascal VOC annotation, parsed: nothing in it is expanded, and each object knows its line."""

from typing import Any
from xml.etree.ElementTree import Element, ParseError, TreeBuilder

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from prunus.data.problems import RuleError

OBJECT = "object"


class _Builder(TreeBuilder):
    """Builds the tree, and notes the line on which each object opens."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[int] = []
        self.position: Any = None

    def start(self, tag: str, attributes: dict[str, str], /) -> Element:
        if tag == OBJECT:
            self.lines.append(self.position.CurrentLineNumber)
        return super().start(tag, attributes)


def parse(content: bytes) -> tuple[Element, list[tuple[int, Element]]]:
    """Return the annotation, and its objects with the line that each opens on.

    Raises:
        RuleError: It is no XML, or declares entities.
    """
    builder = _Builder()
    parser = DefusedXMLParser(target=builder)
    builder.position = parser.parser  # expat's, which knows the line
    try:
        parser.feed(content)
        tree: Element = parser.close()
    except DefusedXmlException as error:
        message = "declares XML entities, which are never expanded"
        raise RuleError("label-unreadable", message) from error
    except (ParseError, ValueError, LookupError) as error:
        raise RuleError("label-unreadable", f"not valid XML: {error}") from error
    return tree, list(zip(builder.lines, tree.iter(OBJECT), strict=True))
