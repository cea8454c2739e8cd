"""`sparsify`: weights → the same shapes with zeros; no speed-up in dense runtimes."""

from prunus.core.console import log, table
from prunus.core.runs import start
from prunus.pipeline.models import model_facts
from prunus.prune.config import SparsifyConfig
from prunus.prune.masks import sparsify as set_smallest_to_zero
from prunus.weights.files import load_weights
from prunus.weights.history import Step
from prunus.weights.native import SUFFIX, save_weights

SPARSE = f"sparse{SUFFIX}"


def sparsify(settings: SparsifyConfig) -> dict[str, object]:
    """Set the smallest weights to zero, write the model, and return the report."""
    with start("sparsify", settings) as run:
        run.add_input("weights", settings.weights)
        checkpoint = load_weights(settings.weights)
        sparsity = set_smallest_to_zero(checkpoint.detector, settings.amount, scope=settings.scope)
        rows = [(layer.name, layer.weights, f"{layer.share:.1%}") for layer in sparsity.layers]
        log.info("%s", table("zeros", ("convolution", "weights", "zeros"), rows))
        log.info("%s", sparsity.summary())
        save_weights(
            checkpoint.detector,
            run.path(SPARSE),
            history=(*checkpoint.history, Step("sparsify", run.settings, checkpoint.sha256)),
            licence=checkpoint.licence,
        )
        run.report = {
            "weights": str(run.path(SPARSE)),
            "model": model_facts(checkpoint.detector),
            "sparsity": sparsity.share,
            "parameter_sparsity": sparsity.parameter_zeros / sparsity.parameters,
        }
        return run.finish()
