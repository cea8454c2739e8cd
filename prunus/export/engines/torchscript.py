"""TorchScript, run by torch on the CPU."""

import io
from collections.abc import Sequence

import torch

from prunus.core.device import keep_freed_pages
from prunus.export.engines import Candidates, Engine, EngineError, Options, Pictures, first_line


def start(content: Sequence[bytes], options: Options) -> Engine:
    """Load the one file's bytes; see `engines.Start`. Threads hold for the whole process."""
    keep_freed_pages()
    torch.set_num_threads(options.threads)
    try:
        module = torch.jit.load(io.BytesIO(content[0]), map_location="cpu")  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise EngineError(f"torch refuses it: {first_line(error)}") from error

    def run(images: Pictures) -> Candidates:
        try:
            with torch.inference_mode():
                scaled = torch.from_numpy(images).float().div_(options.divide_by)
                candidates: Candidates = module(scaled).numpy()
        except RuntimeError as error:
            raise EngineError(f"torch failed: {first_line(error)}") from error
        return candidates

    return run
