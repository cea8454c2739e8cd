"""`demo`: the main job at small size, on a data set that is generated first."""

from prunus.core.config import parse
from prunus.data.scenes.write import write_demo
from prunus.pipeline.compress.config import CompressConfig
from prunus.pipeline.compress.run import compress
from prunus.pipeline.config import DemoConfig

VALIDATION_SHARE = 4
"""One validation and one test image for so many training images."""


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
    shared = {name: getattr(settings, name) for name in SHARED}
    values = {**shared, **CLASSIC, "data": data, "cfg": "yolov5n"}
    return compress(parse(CompressConfig, values, "demo"))


CLASSIC = {
    "criterion": "bn_scale",
    "repair": "bn",
    "scope": "layer",
    "round_to": 16,
    "int8": False,
}
"""After the training for sparsity, which the tour shows."""


SHARED = (
    "project",
    "name",
    "exist_ok",
    "out",
    "image_size",
    "adapt_epochs",
    "sparsity_epochs",
    "finetune_epochs",
    "percent",
    "device",
    "workers",
    "seed",
)
"""Settings that the demo hands on as they are."""
