"""The open table of what can stand in a chain: settings, function, and the files that come out."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from prunus.core.errors import ConfigError, suggest
from prunus.core.runs import RunSettings


@dataclass(frozen=True)
class Verb:
    """A verb, imported only when it is asked for.

    Attributes:
        kind: Its settings, as "module:class".
        function: What runs it, as "module:function".
        files: Places in its report that name a file, with dots between the levels.
        states: Files in its folder from which it can go on, where it has a setting `resume`.
    """

    kind: str
    function: str
    files: tuple[str, ...] = ()
    states: tuple[str, ...] = ()

    @property
    def settings(self) -> type[RunSettings]:
        kind: type[RunSettings] = resolve_name(self.kind)
        return kind

    def __call__(self, settings: RunSettings) -> dict[str, Any]:
        return dict(resolve_name(self.function)(settings))

    def can_go_on(self, folder: Path) -> bool:
        """Return whether a run of it that was killed there has left something to go on from."""
        return any((folder / name).is_file() for name in self.states)


def _verb(kind: str, *files: str, states: tuple[str, ...] = ()) -> Verb:
    verb = kind.rpartition(":")[2].removesuffix("Config").lower()
    return Verb(f"prunus.{kind}", f"prunus.pipeline.{verb}:{verb}", files, states)


VERBS: Mapping[str, Verb] = {
    "train": _verb(
        "train.config:TrainConfig", "best", "last", states=("state.pt", "state.previous.pt")
    ),
    "val": _verb("evaluate.config:ValConfig"),
    "prune": _verb("prune.config:PruneConfig", "weights", "plan"),
    "sparsify": _verb("prune.masks.config:SparsifyConfig", "weights"),
    "factorize": _verb("prune.low_rank.config:FactorizeConfig", "weights"),
    "activation": _verb("pipeline.config:ActivationConfig", "weights"),
    "sensitivity": _verb(
        "prune.sensitivity.config:SensitivityConfig", "record", states=("sensitivity.jsonl",)
    ),
    "quantize": _verb("export.quantize.config:QuantizeConfig", "path"),
    "export": _verb("export.config:ExportConfig", "paths.onnx", "paths.openvino"),
    "benchmark": _verb("export.config:BenchmarkConfig"),
}
"""Verb → how to run it. A new one is its line here."""


def find_verb(name: str, where: str) -> Verb:
    """Return a verb.

    Raises:
        ConfigError: There is none of that name; the message begins with `where`.
    """
    if name not in VERBS:
        raise ConfigError(
            f"{where}: no verb '{name}' in a chain.{suggest(name, VERBS)} There are "
            f"{', '.join(VERBS)}."
        )
    return VERBS[name]
