"""What a pickle's contents become: records that do nothing, and the list of names it may hold.

The names were counted on nine real YOLOv5 checkpoints (27 distinct ones, specification sheet on
reliability, section 4.2), and extended by what unstripped ones hold in `opt` and `optimizer`. A
name is only ever looked up here; nothing is imported for it.
"""

import re
from dataclasses import dataclass
from itertools import product

import torch

from prunus.core.errors import WeightsError

SHOWN_LENGTH = 80


@dataclass(frozen=True)
class Global:
    """A class or function that the pickle names, as "module name"."""

    name: str


@dataclass(eq=False)
class Record:
    """What the official code would have made by calling `name`; nothing was called.

    Attributes:
        name: "module name" of the class or function.
        arguments: What it would have been called with.
        state: What the object's attributes would have been: a dict for a module.
    """

    name: str
    arguments: tuple[object, ...] = ()
    state: object = None


@dataclass(frozen=True)
class StorageRef:
    """A run of numbers in the archive, not yet read: `count` of `dtype` in entry `data/<key>`."""

    key: str
    dtype: torch.dtype
    count: int


@dataclass(frozen=True)
class TensorRef:
    """A view of a storage, known to lie inside it; strides and offset count elements."""

    storage: StorageRef
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


STORAGES: dict[str, torch.dtype] = {
    "torch FloatStorage": torch.float32,
    "torch HalfStorage": torch.float16,
    "torch BFloat16Storage": torch.bfloat16,
    "torch DoubleStorage": torch.float64,
    "torch LongStorage": torch.int64,
    "torch IntStorage": torch.int32,
    "torch ShortStorage": torch.int16,
    "torch CharStorage": torch.int8,
    "torch ByteStorage": torch.uint8,
    "torch BoolStorage": torch.bool,
}

ORDERED_DICT = "collections OrderedDict"
REBUILD_TENSOR = "torch._utils _rebuild_tensor_v2"
REBUILD_PARAMETER = "torch._utils _rebuild_parameter"
SETS = frozenset({"__builtin__ set", "builtins set"})

CALLED = frozenset(
    {
        ORDERED_DICT,
        REBUILD_TENSOR,
        REBUILD_PARAMETER,
        *SETS,
        "torch Size",
        "torch device",
        "numpy dtype",
        *(
            f"numpy.{core}.multiarray {name}"
            for core, name in product(("core", "_core"), ("_reconstruct", "scalar"))
        ),
        "_codecs encode",
        *(
            f"{module} {flavour}Path"
            for module, flavour in product(
                ("pathlib", "pathlib._local"), ("Posix", "Windows", "PurePosix", "PureWindows")
            )
        ),
    }
)
"""Names that a pickle may "call" (REDUCE)."""

WRAPPERS = frozenset(
    {
        "torch.nn.parallel.data_parallel DataParallel",
        "torch.nn.parallel.distributed DistributedDataParallel",
    }
)

_TORCH_LAYERS = {
    "activation": "SiLU Hardswish Hardtanh ReLU ReLU6 LeakyReLU ELU GELU Mish Sigmoid Tanh Softmax "
    "MultiheadAttention",
    "batchnorm": "BatchNorm2d",
    "container": "Sequential ModuleList",
    "conv": "Conv2d ConvTranspose2d",
    "dropout": "Dropout",
    "linear": "Identity Linear NonDynamicallyQuantizableLinear",
    "normalization": "LayerNorm",
    "padding": "ZeroPad2d",
    "pooling": "MaxPool2d AdaptiveAvgPool2d",
    "upsampling": "Upsample",
}

MADE = frozenset(
    {
        "argparse Namespace",
        *WRAPPERS,
        *(
            f"torch.nn.modules.{module} {name}"
            for module, names in _TORCH_LAYERS.items()
            for name in names.split()
        ),
    }
)
"""Classes of which a pickle may "make" an object (NEWOBJ), besides those of YOLOv5's own files."""

OFFICIAL_CLASS = re.compile(r"models\.(yolo|common|experimental) [A-Za-z_][A-Za-z0-9_]*")
"""Classes of YOLOv5's own files. Unsupported ones are named later, in words of their own."""

NAMED_ONLY = frozenset(
    {
        "numpy ndarray",
        *STORAGES,
        *(f"torch {str(dtype).partition('.')[2]}" for dtype in STORAGES.values()),
    }
)
"""Names that may appear as a value, but neither be called nor made."""


def is_class(name: str) -> bool:
    return name in MADE or OFFICIAL_CLASS.fullmatch(name) is not None


def check_name(name: str) -> None:
    """Pass the names that a YOLOv5 checkpoint may hold.

    Raises:
        WeightsError: The name is another.
    """
    if name in CALLED or name in NAMED_ONLY or is_class(name):
        return
    if name.startswith("ultralytics."):
        raise WeightsError(
            f"refers to '{shown(dotted(name))}', of the ultralytics package (YOLOv8 and later, or "
            "a 'u' model). Prunus reads YOLOv5 v6.0 to v7.0 checkpoints; nothing was run."
        )
    raise WeightsError(
        f"refers to '{shown(dotted(name))}', which no YOLOv5 v6.0 to v7.0 detector needs. Nothing "
        "of the file was run. Do not open it with other tools either unless you trust its origin."
    )


def dotted(name: str) -> str:
    return name.replace(" ", ".")


def shown(text: str, limit: int = SHOWN_LENGTH) -> str:
    """Return a file's own words fit for a terminal: one short line without control characters."""
    cut = text if len(text) <= limit else text[:limit] + "…"
    return "".join(letter if letter.isprintable() else "?" for letter in cut)
