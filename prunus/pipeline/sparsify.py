"""`sparsify`: weights → the same shapes with zeros; no speed-up in dense runtimes."""

from dataclasses import asdict

from prunus.core.console import log, table
from prunus.core.runs import start
from prunus.core.shares import read_pattern
from prunus.model.fuse import fuse
from prunus.model.nm import nm_table, speed_note
from prunus.pipeline.models import model_facts
from prunus.prune.masks.choose import sparsify as set_to_zero
from prunus.prune.masks.config import SparsifyConfig
from prunus.prune.masks.like import set_zeros_like_
from prunus.prune.masks.methods import find_method
from prunus.prune.masks.report import Sparsity
from prunus.prune.masks.size import FORMAT, compressed_bytes
from prunus.weights.files import load_weights
from prunus.weights.history import Step
from prunus.weights.native import SUFFIX, save_weights

SPARSE = f"sparse{SUFFIX}"


def sparsify(settings: SparsifyConfig) -> dict[str, object]:
    """Set weights to zero, write the model, and return the report."""
    find_method(settings.method)
    pattern = None if settings.nm is None else read_pattern(settings.nm)
    with start("sparsify", settings) as run:
        run.add_input("weights", settings.weights)
        checkpoint = load_weights(settings.weights)
        detector = checkpoint.detector
        before = compressed_bytes(fuse(detector).state_dict())
        if settings.like is not None:
            run.add_input("like", settings.like)
            sparsity = set_zeros_like_(detector, load_weights(settings.like).detector)
        else:
            sparsity = set_to_zero(
                detector,
                settings.share,
                pattern=pattern,
                method=settings.method,
                scope=settings.scope,
                seed=settings.seed,
            )
        after = compressed_bytes(fuse(detector).state_dict())
        _say(sparsity, before, after)
        save_weights(
            detector,
            run.path(SPARSE),
            history=(*checkpoint.history, Step("sparsify", run.settings, checkpoint.sha256)),
            licence=checkpoint.licence,
        )
        run.report = {
            "weights": str(run.path(SPARSE)),
            "model": model_facts(detector),
            **_facts(sparsity),
            "compressed": {"format": FORMAT, "dense_bytes": before, "sparse_bytes": after},
        }
        return run.finish()


def _facts(sparsity: Sparsity) -> dict[str, object]:
    return {
        "sparsity": sparsity.share,
        "parameter_sparsity": sparsity.parameter_zeros / sparsity.parameters,
        "layers": [asdict(layer) for layer in sparsity.layers],
        "nm": [asdict(check) for check in sparsity.checks],
        "speed": speed_note(sparsity.pattern),
    }


def _say(sparsity: Sparsity, before: int, after: int) -> None:
    rows = [(layer.name, layer.weights, f"{layer.share:.1%}") for layer in sparsity.layers]
    log.info("%s", table("zeros", ("layer", "weights", "zeros"), rows))
    if sparsity.pattern is not None:
        log.info("%s", nm_table(sparsity.checks, sparsity.pattern))
    log.info("%s", sparsity.summary())
    log.info(
        "compressed (batch norms folded, as fp16, then gzip): %.2f MB before, %.2f MB after; "
        "uncompressed files keep their size",
        before / 1e6,
        after / 1e6,
    )
