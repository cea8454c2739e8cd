"""How every exported file is opened: vetted, read, and handed to its runtime's engine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from prunus.core.device import resolve_precision
from prunus.core.errors import ExportError
from prunus.core.records import Runner
from prunus.export.engine_runner import EngineRunner
from prunus.export.engines import EngineError, Options, start_engine
from prunus.export.engines.child import ChildEngine
from prunus.export.facts import Facts, check_cpu, check_precision

Read = Callable[[Path], tuple[Sequence[bytes], Facts]]
"""Vets a file; gives its bytes and those of its companions, and what it says of itself."""
CPU = "cpu"


def on_cpu(device: str, where: str) -> str:
    """Return the CPU's name.

    Raises:
        ExportError: Another device is asked for.
    """
    check_cpu(device, where)
    return CPU


@dataclass(frozen=True)
class Opener:
    """Opens the files of one runtime; see `backends.Open`.

    Attributes:
        engine: Name in `engines.ENGINES`.
        read: Vets and reads such a file; an ExportError says what is wrong with it.
        precisions: What can be asked for besides "auto"; the first is that of INT8 files.
        place: Turns a device's name, asked for in a file, into one that the engine knows.
    """

    engine: str
    read: Read
    precisions: tuple[str, ...] = ("fp32",)
    place: Callable[[str, str], str] = on_cpu

    def __call__(
        self,
        path: Path,
        *,
        device: str = "",
        precision: str = "auto",
        threads: int | None = None,
        contained: bool = False,
    ) -> Runner:
        where = str(path)
        check_precision(precision, self.precisions, where)
        place = self.place(device, where)
        content, facts = self.read(path)
        options = Options(
            precision=self._resolved(precision, facts),
            threads=torch.get_num_threads() if threads is None else threads,
            device=place,
            divide_by=facts.letterbox.divide_by,
        )
        start = ChildEngine if contained else start_engine
        try:
            return EngineRunner(where, start(self.engine, content, options), facts)
        except EngineError as error:
            raise ExportError(f"{where}: {error}.") from error

    def _resolved(self, precision: str, facts: Facts) -> str:
        """Return what to compute in: bf16 beside INT8 is as fast, and costs .005 mAP.

        `benchmarks/results/runtimes.jsonl` says so.
        """
        if precision == "auto" and (len(self.precisions) == 1 or facts.precision == "int8"):
            return self.precisions[0]
        return resolve_precision(precision, torch.device(CPU))
