"""torch with `torch.compile`: minutes of a compiler before the first image."""

from collections.abc import Sequence

from prunus.export.engines import Engine, EngineError, Options, first_line
from prunus.export.engines.torch import engine_of, runner_of


def start(content: Sequence[bytes], options: Options) -> Engine:
    """Open and compile the weights file whose path this is; see `engines.Start`."""
    runner = runner_of(content, options)
    try:
        runner.detector.compile(dynamic=False)
    except (RuntimeError, NotImplementedError) as error:
        raise EngineError(f"torch.compile failed: {first_line(error)}") from error
    return engine_of(runner)
