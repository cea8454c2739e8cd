"""`demo`: the main job at small size, on a data set that is generated first."""

from prunus.core.config import parse
from prunus.data.scenes.write import write_demo
from prunus.pipeline.compress.config import CompressConfig
from prunus.pipeline.compress.run import compress
from prunus.pipeline.config import DemoConfig

VALIDATION_SHARE = 4
"""One validation and one test image for so many training images."""
OF_THE_DATA = ("folder", "train_images")
SHORT = {"cfg": "yolov5n", "attempts": 1, "int8": False}
"""From scratch, and one cut: minutes, not an hour."""


def demo(settings: DemoConfig) -> dict[str, object]:
    """Generate a data set, train a detector on it from scratch, compress it, return the report."""
    held_out = max(8, settings.train_images // VALIDATION_SHARE)
    data = write_demo(
        settings.folder,
        train=settings.train_images,
        val=held_out,
        test=held_out,
        image_size=settings.image_size,
        seed=settings.seed,
    )
    handed_on = settings.model_dump(exclude=set(OF_THE_DATA))
    return compress(parse(CompressConfig, {**handed_on, **SHORT, "data": data}, "demo"))
