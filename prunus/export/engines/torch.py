"""torch itself, eager; told the path of a weights file, which is data that nothing runs."""

from collections.abc import Sequence
from pathlib import Path

import torch

from prunus.core.device import keep_freed_pages
from prunus.export.engines import (
    Candidates,
    Engine,
    EngineError,
    Options,
    Pictures,
    first_line,
)
from prunus.model.fuse import fuse
from prunus.model.runner import TorchRunner
from prunus.weights.files import load_weights


def start(content: Sequence[bytes], options: Options) -> Engine:
    """Open the weights file whose path this is; see `engines.Start`."""
    return engine_of(runner_of(content, options))


def runner_of(content: Sequence[bytes], options: Options) -> TorchRunner:
    """Return the fused detector as a runner. Threads hold for the whole process."""
    keep_freed_pages()
    torch.set_num_threads(options.threads)
    detector = load_weights(Path(content[0].decode())).detector
    return TorchRunner(fuse(detector), torch.device(options.device), options.precision)


def engine_of(runner: TorchRunner) -> Engine:
    """Return what takes and gives numpy."""

    def run(images: Pictures) -> Candidates:
        try:
            candidates: Candidates = runner(torch.from_numpy(images)).cpu().numpy()
        except RuntimeError as error:
            raise EngineError(f"torch failed: {first_line(error)}") from error
        return candidates

    return run
