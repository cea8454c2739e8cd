"""Ids of a new COCO JSON: the old ones where a split was one JSON, else counted from 1."""

from typing import Any

from prunus.data.convert.extras import Carried
from prunus.data.formats.coco_extras import CocoFacts

Record = dict[str, Any]


class Ids:
    """Hands out ids that are different from one another.

    Args:
        wanted: All that will be asked for; new numbers lie beyond them.
    """

    def __init__(self, wanted: list[Any]) -> None:
        self._next = max((value for value in wanted if type(value) is int), default=0) + 1
        self._given: set[int | str] = set()

    def give(self, wanted: Any) -> int | str:
        """Return the id that is wanted, or a new number if it is no id or is given already."""
        given: int | str = wanted
        if type(wanted) not in (int, str) or wanted in self._given:
            given, self._next = self._next, self._next + 1
        self._given.add(given)
        return given


class Numbering:
    """The ids of one split's images, annotations and categories.

    Attributes:
        facts: What the one JSON says that all images come from; None when there is no such one,
            and everything is numbered from 1.
        images: An id for each image.
    """

    def __init__(self, extras: Carried) -> None:
        there = [one for one in extras if one]
        first: CocoFacts | None = there[0].file if there else None
        one_file = len(there) == len(extras) and all(one.file is first for one in there)
        self.facts = first if one_file else None
        self.images: list[int | str] = list(range(1, len(extras) + 1))
        self._annotations = Ids([])
        if self.facts is not None:
            wanted = [one.image["id"] for one in there]
            ids = Ids(wanted)
            self.images = [ids.give(value) for value in wanted]
            records = (record for one in there for record in (*one.objects, *one.unlearnt))
            self._annotations = Ids([record.get("id") for record in records])

    def of_annotation(self, image: int, class_: int, record: Record | None) -> Record:
        """Return the three ids of an annotation, made from an old one or anew."""
        old = record if self.facts is not None else None
        return {
            "id": self._annotations.give(old.get("id") if old else None),
            "image_id": self.images[image],
            "category_id": int(old["category_id"]) if old else class_ + 1,
        }

    def categories(self, names: tuple[str, ...]) -> list[Record]:
        """Return the one JSON's own categories, or one for each class."""
        if self.facts is not None:
            return list(self.facts.categories)
        return [
            {"id": number, "name": name, "supercategory": ""}
            for number, name in enumerate(names, start=1)
        ]
