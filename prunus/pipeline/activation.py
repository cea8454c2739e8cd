"""`activation`: weights → the same weights with another activation after every convolution."""

from prunus.core.runs import start
from prunus.model.swap import with_activation
from prunus.pipeline.config import ActivationConfig
from prunus.weights.files import load_weights
from prunus.weights.history import Step
from prunus.weights.native import SUFFIX, save_weights


def activation(settings: ActivationConfig) -> dict[str, object]:
    """Swap the activations, write the model, and return the report."""
    with start("activation", settings) as run:
        run.add_input("weights", settings.weights)
        checkpoint = load_weights(settings.weights)
        path = run.path(f"{settings.to}{SUFFIX}")
        save_weights(
            with_activation(checkpoint.detector, settings.to),
            path,
            history=(*checkpoint.history, Step("activation", run.settings, checkpoint.sha256)),
            licence=checkpoint.licence,
        )
        run.report = {"weights": str(path)}
        return run.finish()
