"""A data set written anew in another format. A target is one file here and its line in `TARGETS`.

In: a `DataSpec` and its indices, so whatever the checks dropped is not written. Out: a folder with
images, labels and a `data.yaml` that `prunus train` takes. The YAML is written last: a folder
without one was interrupted.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prunus.data.convert import coco, voc, yolo
from prunus.data.convert.extras import Carried
from prunus.data.convert.images import Placed
from prunus.data.image_index import ImageIndex


@dataclass(frozen=True)
class Target:
    """What a format must answer to be written.

    Attributes:
        image_folder: (split) -> the folder of its images, relative to the data set's; splits may
            share one.
        entry: (split) -> what stands in the YAML.
        write: (folder, split, index, the images' places in index order, what label files of this
            format hold beyond it) -> writes the labels.
        loses: (index, the same) -> what the format cannot say, as (count, words).
    """

    image_folder: Callable[[str], str]
    entry: Callable[[str], str]
    write: Callable[[Path, str, ImageIndex, Sequence[Placed], Carried], None]
    loses: Callable[[ImageIndex, Carried], list[tuple[int, str]]]


TARGETS: Mapping[str, Target] = {
    "yolo": Target(yolo.image_folder, yolo.entry, yolo.write, yolo.loses),
    "coco": Target(coco.image_folder, coco.entry, coco.write, coco.loses),
    "voc": Target(voc.image_folder, voc.entry, voc.write, voc.loses),
}
