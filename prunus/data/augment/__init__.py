"""How training images are varied: one file an operation, put together by `draw`. Spec sheet 2.9."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Augmentation:
    """How much to vary; the defaults are the reference's `scratch-low`, and 0 switches off.

    Attributes:
        mosaic: Probability that four images make one.
        copy_paste: Share of the outlined objects that are pasted mirrored into a mosaic.
        mixup: Probability that a mosaic is blended with a second one.
        degrees: Rotation up to this, either way.
        translate: Shift up to this share of the image size, either way.
        scale: Zoom between 1 - scale and 1 + scale.
        shear: Shear up to this many degrees, either way and along both axes.
        perspective: Perspective terms up to this, per pixel; 0.001 is strong.
        hsv_h: Hue factor between 1 - hsv_h and 1 + hsv_h.
        hsv_s: Saturation factor, likewise.
        hsv_v: Brightness factor, likewise.
        fliplr: Probability of mirroring left and right.
        flipud: Probability of mirroring up and down.
    """

    mosaic: float = 1.0
    mixup: float = 0.0
    copy_paste: float = 0.0
    degrees: float = 0.0
    translate: float = 0.1
    scale: float = 0.5
    shear: float = 0.0
    perspective: float = 0.0
    hsv_h: float = 0.015
    hsv_s: float = 0.7
    hsv_v: float = 0.4
    fliplr: float = 0.5
    flipud: float = 0.0


NO_AUGMENTATION = Augmentation(mosaic=0, translate=0, scale=0, hsv_h=0, hsv_s=0, hsv_v=0, fliplr=0)
"""Letterboxed squares and nothing else."""
