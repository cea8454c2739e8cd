"""The picture of a compression: the same images, as the dense and as the pruned model see them."""

from pathlib import Path

import numpy as np

from prunus.core.records import Runner
from prunus.data.decode import load_image
from prunus.data.index import build_index
from prunus.data.spec import read_data
from prunus.export.backends import open_runner
from prunus.predict.draw import Picture, draw, side_by_side
from prunus.predict.run import predict
from prunus.predict.save import write_picture

SHOWN_IMAGES = 3


def save_before_after(
    picture: Path, data: Path, image_size: int, models: tuple[Path, Path], captions: tuple[str, str]
) -> None:
    """Draw the detections of two models on images that neither was trained on.

    Args:
        picture: JPEG to write.
        data: Data set YAML; the images come from its test split, or else from validation.
        image_size: Side at which the models look, in pixels.
        models: Files that predict: before, after.
        captions: What stands over each column.
    """
    spec = read_data(data)
    paths = build_index(spec, "test" if "test" in spec.splits else "val").paths
    chosen = [paths[i] for i in np.linspace(0, len(paths) - 1, SHOWN_IMAGES).round().astype(int)]
    before, after = (
        [_drawn(open_runner(model, device="cpu"), path, image_size) for path in chosen]
        for model in models
    )
    write_picture(picture, side_by_side(before, after, captions))


def _drawn(runner: Runner, path: Path, image_size: int) -> Picture:
    ((_, detections),) = predict(runner, [path], image_size=image_size)
    return draw(load_image(path), detections, runner.names)
