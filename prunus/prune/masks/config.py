"""The settings of `prunus sparsify`."""

from pathlib import Path
from typing import Literal

from pydantic import model_validator

from prunus.core.config import flags_of, setting
from prunus.core.runs import RunSettings
from prunus.core.shares import PatternText, Share

DEFAULT_AMOUNT = 0.3
DECIDED_BY_LIKE = ("amount", "nm", "method", "scope", "seed")


class SparsifyConfig(RunSettings):
    """Which weights become zero. The shapes stay, so that dense runtimes gain no speed."""

    weights: Path = setting(..., "model to sparsify: .safetensors or official .pt")
    amount: Share | None = setting(
        None,
        f"share of the weights; 30 is read as 0.3 (default: {DEFAULT_AMOUNT}, without --nm)",
        gt=0,
        lt=1,
    )
    nm: PatternText | None = setting(
        None, "N:M such as 2:4 instead of a share: N of every M input channels' weights stay"
    )
    like: Path | None = setting(
        None,
        "take the zeros of these weights instead, such as what sparsify made of a later epoch; the "
        "same architecture, classes and widths",
    )
    method: str = setting("l1", "how weights are ranked: l1 or random")
    scope: Literal["layer", "global"] = setting(
        "layer", "this share of each layer, or of all together"
    )
    seed: int = setting(0, "seed of --method random", ge=0)

    @model_validator(mode="after")
    def _asks_for_one_thing(self) -> "SparsifyConfig":
        fields = type(self).model_fields
        given = [name for name in DECIDED_BY_LIKE if getattr(self, name) != fields[name].default]
        if self.like is not None and given:
            flags = " and ".join(flags_of(name, fields[name])[0] for name in given)
            raise ValueError(f"{flags}: --like says already what goes. Leave out one of them.")
        if self.nm is not None and self.amount is not None:
            raise ValueError(
                f"--nm {self.nm} fixes the share of zeros itself. Leave out --amount, or --nm."
            )
        if self.nm is not None and self.scope == "global":
            raise ValueError(
                f"--nm {self.nm} chooses within each group of weights. Leave out --scope global."
            )
        return self

    @property
    def share(self) -> float | None:
        """Return the share of zeros that is wanted; None where a pattern or a file says it."""
        said = self.nm is not None or self.like is not None
        return DEFAULT_AMOUNT if self.amount is None and not said else self.amount
