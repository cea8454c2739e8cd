"""What a `--hyp` file holds: learning rates, gains and augmentation, under their official names.

The presets are the YAML files in `train/hyps`. A file may also hold `training:` with settings of
`prunus train` that belong to the recipe, such as `nominal_batch`; flags go before them.
"""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from prunus.core.config import Settings, setting
from prunus.core.errors import suggest
from prunus.core.files import read_yaml

PRESET_FOLDER = "hyps"
PRESET_SUFFIX = ".yaml"
DEFAULT_PRESET = "scratch-low"
RECIPE = "training"
"""The key under which a file holds settings that are no hyperparameters."""
WITHOUT_EFFECT = frozenset({"iou_t", "anchors"})


class Hyperparameters(Settings):
    """What a `--hyp` file holds, under its official keys. The defaults are those of scratch-low."""

    lr0: float = setting(0.01, "learning rate after the warm-up", gt=0)
    lrf: float = setting(0.01, "share of lr0 left at the end", ge=0, le=1)
    momentum: float = setting(0.937, "SGD momentum, or Adam's first decay", ge=0, lt=1)
    weight_decay: float = setting(0.0005, "decay of convolution weights", ge=0)
    warmup_epochs: float = setting(3.0, "epochs of warm-up, 0 for none", ge=0)
    warmup_momentum: float = setting(0.8, "momentum that the warm-up starts from", ge=0, lt=1)
    warmup_bias_lr: float = setting(0.1, "bias learning rate that the warm-up starts from", ge=0)
    box: float = setting(0.05, "gain of the box loss", ge=0)
    cls: float = setting(0.5, "gain of the class loss", ge=0)
    cls_pw: float = setting(1.0, "weight of positives in the class loss", gt=0)
    obj: float = setting(1.0, "gain of the objectness loss", ge=0)
    obj_pw: float = setting(1.0, "weight of positives in the objectness loss", gt=0)
    iou_t: float = setting(0.2, "not used, accepted because official files hold it")
    anchor_t: float = setting(4.0, "factor within which an anchor takes a box", gt=1)
    fl_gamma: float = setting(0.0, "exponent of the focal loss, 0 for none", ge=0)
    hsv_h: float = setting(0.015, "change of hue, as a share", ge=0, le=1)
    hsv_s: float = setting(0.7, "change of saturation, as a share", ge=0, le=1)
    hsv_v: float = setting(0.4, "change of brightness, as a share", ge=0, le=1)
    degrees: float = setting(0.0, "rotation, in degrees either way", ge=0, le=180)
    translate: float = setting(0.1, "shift, as a share of the image", ge=0, le=1)
    scale: float = setting(0.5, "change of scale, as a share", ge=0, lt=1)
    shear: float = setting(0.0, "shear, in degrees either way", ge=0, lt=90)
    perspective: float = setting(0.0, "perspective, up to 0.001", ge=0, le=0.001)
    flipud: float = setting(0.0, "probability of an upside-down flip", ge=0, le=1)
    fliplr: float = setting(0.5, "probability of a left-right flip", ge=0, le=1)
    mosaic: float = setting(1.0, "probability of a mosaic of four images", ge=0, le=1)
    mixup: float = setting(0.0, "probability of mixing two images", ge=0, le=1)
    copy_paste: float = setting(
        0.0, "share of the outlined objects that are pasted mirrored; not of boxes", ge=0, le=1
    )
    anchors: float | None = setting(None, "not used, accepted because official files hold it")


SINGLE_VALUES = tuple(name for name in Hyperparameters.model_fields if name not in WITHOUT_EFFECT)
"""The hyperparameters that have a flag of their own."""


class OnTop(NamedTuple):
    """A preset, file or set of values, and single values that replace some of it."""

    base: object
    values: Mapping[str, object]


def preset_names() -> list[str]:
    """Return the names of the presets that ship with the package."""
    folder = resources.files("prunus.train") / PRESET_FOLDER
    names = [entry.name for entry in folder.iterdir()]
    return sorted(n.removesuffix(PRESET_SUFFIX) for n in names if n.endswith(PRESET_SUFFIX))


def read_hyperparameters(value: object) -> object:
    """Turn a preset's name or a YAML file into the values that it holds; pass anything else on.

    Raises:
        ValueError: No such preset or file.
        ConfigError: The file cannot be read.
    """
    if isinstance(value, OnTop):
        base = read_hyperparameters(value.base)
        if isinstance(base, Hyperparameters):
            base = base.model_dump()
        return {**base, **value.values} if isinstance(base, Mapping) else base
    content = _content(value)
    if isinstance(content, Mapping):
        return {key: item for key, item in content.items() if key != RECIPE}
    return content


def read_recipe(value: object) -> Mapping[str, Any]:
    """Return the settings of `prunus train` that a preset or file brings along; mostly none.

    A file that cannot be read brings none: `read_hyperparameters` says so.
    """
    try:
        content = _content(value.base if isinstance(value, OnTop) else value)
    except ValueError:
        return {}
    recipe = content.get(RECIPE, {}) if isinstance(content, Mapping) else {}
    return recipe if isinstance(recipe, Mapping) else {}


def _content(value: object) -> object:
    if not isinstance(value, str | Path):
        return value
    name = str(value).removeprefix("hyp.").removesuffix(PRESET_SUFFIX)
    if name in preset_names():
        file = resources.files("prunus.train") / PRESET_FOLDER / f"{name}{PRESET_SUFFIX}"
        return yaml.safe_load(file.read_text("utf-8"))
    if Path(value).is_file():
        return read_yaml(Path(value))
    raise ValueError(
        f"no preset or file '{value}'.{suggest(name, preset_names())} "
        f"Give a YAML file or one of {', '.join(preset_names())}."
    )
