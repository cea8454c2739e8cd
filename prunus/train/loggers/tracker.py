"""A run in a tracker that speaks as Weights & Biases does."""

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from prunus.train.loggers.contract import Histograms, RunFacts, Scalars, flat, refusals

PROJECT = "prunus"
NOTHING: Mapping[str, object] = {}


class Tracker:
    """Numbers for a module with `init`, `log`, `finish` and `Histogram`."""

    def __init__(
        self,
        module: Any,
        facts: RunFacts,
        incomplete: Mapping[str, object] = NOTHING,
        **options: object,
    ) -> None:
        """Begin a run or go on with it.

        Args:
            module: wandb or trackio.
            facts: Of the run.
            incomplete: Arguments of its `finish` for a training that has not come to its end.
            options: More arguments of its `init`. The project is `prunus`, or what <MODULE>_PROJECT
                says.

        Raises:
            PrunusError: It cannot begin.
        """
        self._module, self._name, self._incomplete = module, module.__name__, incomplete
        project = os.environ.get(f"{self._name.upper()}_PROJECT", PROJECT)
        with self._refusals():
            self._run = module.init(project=project, config=flat(facts.settings), **options)

    def add_scalars(self, values: Scalars, epoch: int) -> None:
        with self._refusals():
            self._run.log(dict(values), step=epoch)

    def add_histograms(self, values: Histograms, epoch: int) -> None:
        with self._refusals():
            drawn = {name: self._module.Histogram(array) for name, array in values.items()}
            self._run.log(drawn, step=epoch)

    def close(self, complete: bool) -> None:
        with self._refusals():
            self._module.finish(**({} if complete else self._incomplete))

    def _refusals(self) -> AbstractContextManager[None]:
        return refusals(self._name, "Log in, or work offline.")
