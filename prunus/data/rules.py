"""Every rule that a data set can break: its name, what happens then, and how to mend it.

The names are stable: reports and scripts may count on them.
"""

from typing import Literal, NamedTuple

Effect = Literal["box dropped", "box clipped", "image left out", "ignored", "kept"]
COSTLY: tuple[Effect, ...] = ("box dropped", "box clipped", "image left out")
"""Effects that change what is trained on; the rest are remarks."""


class Rule(NamedTuple):
    """One row of the table.

    Attributes:
        effect: What becomes of the box or the image.
        advice: What the user can do.
    """

    effect: Effect
    advice: str


_DROP: Effect = "box dropped"
_OUT: Effect = "image left out"

RULES: dict[str, Rule] = {
    "box-columns": Rule(_DROP, "write 5 numbers for a box, 7, 9, 11 … for a polygon"),
    "box-number": Rule(_DROP, "write numbers with a point, separated by blanks"),
    "box-not-finite": Rule(_DROP, "remove the line, or write the real numbers"),
    "box-class": Rule(_DROP, "add the class to `names`, or correct its number or name"),
    "box-no-area": Rule(_DROP, "remove the object, or draw it again"),
    "box-outside": Rule(_DROP, "divide pixels by the image's width and height"),
    "box-twice": Rule(_DROP, "remove one of the two"),
    "box-coordinates": Rule(_DROP, "give the object all of its coordinates"),
    "box-sticks-out": Rule("box clipped", "nothing, or draw the box inside the image"),
    "box-crowd": Rule("ignored", "nothing: groups of objects are not to be learnt as one"),
    "box-rle": Rule("kept", "nothing: the box is used; copy-paste and polygons do without it"),
    "box-tiny": Rule("kept", "train at a larger --img, or on tiles"),
    "label-mixed": Rule("kept", "write all objects of a file as boxes, or all as polygons"),
    "categories-by-order": Rule("kept", "call the classes in `names` as the categories are called"),
    "label-missing": Rule("kept", "for images without objects write empty label files"),
    "label-unreadable": Rule(_OUT, "write the label file anew"),
    "label-orphan": Rule("ignored", "add its image, or remove the label file"),
    "image-missing": Rule(_OUT, "put the image there, or take it off the list"),
    "image-empty": Rule(_OUT, "copy the image again"),
    "image-odd-file": Rule(_OUT, "only regular files are opened"),
    "image-unreadable": Rule(_OUT, "look at the file's permissions and the disk"),
    "image-too-large": Rule(_OUT, "cut the picture into tiles, or scale it down"),
    "image-too-small": Rule(_OUT, "remove the image"),
    "image-kind": Rule(_OUT, "convert the picture to JPEG or PNG"),
    "image-header": Rule(_OUT, "copy or save the image again"),
    "image-cut-short": Rule(_OUT, "copy the image again; nothing was repaired in place"),
    "image-damaged": Rule(_OUT, "copy or save the image again"),
    "image-size-differs": Rule("kept", "look whether boxes and picture agree; correct the JSON"),
    "image-twice": Rule("kept", "remove one of the two"),
    "shard-unreadable": Rule(_OUT, "write the shard again, as an uncompressed tar"),
    "shard-damaged": Rule(_OUT, "write the shard again"),
    "split-same-image": Rule("kept", "remove the image from one of the splits"),
    "split-near-image": Rule("kept", "look at both; put pictures of one scene into one split"),
    "class-absent": Rule("kept", "add images with the class, or take it out of `names`"),
    "anchors-miss": Rule("kept", "let training fit the anchors, or use a larger --img"),
}
