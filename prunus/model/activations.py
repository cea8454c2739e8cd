"""The activations that the convolution blocks of a detector may end in.

A new one is its line in ACTIVATIONS. Official YAMLs name theirs in the form `activation:
nn.ReLU()`; the words are looked up here, never evaluated.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn

from prunus.core.errors import ModelError, suggest

DEFAULT_ACTIVATION = "silu"
"""What an architecture means that names none."""
IN_PLACE = "inplace=true"


@dataclass(frozen=True)
class Activation:
    """One activation.

    Attributes:
        spelling: As official YAMLs write it, and our files too.
        make: Makes the layer; it works in place.
    """

    spelling: str
    make: Callable[[], nn.Module]


ACTIVATIONS: dict[str, Activation] = {
    "silu": Activation("nn.SiLU()", partial(nn.SiLU, inplace=True)),
    "relu": Activation("nn.ReLU()", partial(nn.ReLU, inplace=True)),
    "hardswish": Activation("nn.Hardswish()", partial(nn.Hardswish, inplace=True)),
    "leaky_relu": Activation("nn.LeakyReLU(0.1)", partial(nn.LeakyReLU, 0.1, inplace=True)),
}


def activation_name(word: object, where: str) -> str:
    """Return the name in ACTIVATIONS that a word means, such as `nn.ReLU()` or `relu`.

    Args:
        word: As a file or a caller gives it.
        where: File or architecture, for the error.

    Raises:
        ModelError: It means none of them.
    """
    known = {
        _bare(word): name for name, entry in ACTIVATIONS.items() for word in (name, entry.spelling)
    }
    if isinstance(word, str) and _bare(word) in known:
        return known[_bare(word)]
    near = suggest(_bare(word), known) if isinstance(word, str) else ""
    raise ModelError(
        f"{where}: no activation {word!r}.{near} Give one of "
        f"{', '.join(entry.spelling for entry in ACTIVATIONS.values())}."
    )


def _bare(word: str) -> str:
    """Return a word without package, spaces, case and what is said of working in place."""
    bare = word.lower().replace(" ", "").removeprefix("torch.").removeprefix("nn.")
    return bare.replace(f",{IN_PLACE}", "").replace(IN_PLACE, "")
