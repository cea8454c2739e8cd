"""The quick judge: how like the whole network's raw outputs a masked one's are. No labels."""

from collections.abc import Sequence

from torch import Tensor, nn

from prunus.core.errors import PruningError
from prunus.model.channels.probe import call_quietly
from prunus.prune.blocks.damage import relative_squared_difference


class Likeness:
    """A judge: 1 minus the relative squared error of the outputs, the mean over images.

    1 is the same outputs; 0 is as far off as outputs that always say the mean. What is lost of it
    is the error that `blocks.damage` gives for blocks.
    """

    def __init__(self, model: nn.Module, batches: Sequence[Tensor]) -> None:
        """Run the whole network; its outputs are kept, for one 640-pixel image of COCO 9 MB.

        Args:
            model: Whole, as it is now.
            batches: (B, ...) inputs, on its device.

        Raises:
            PruningError: There are no images.
        """
        if not batches:
            raise PruningError("sensitivity: there are no images. Give a data set with images.")
        self._pairs = [(batch, call_quietly(model, batch)) for batch in batches]

    def __call__(self, model: nn.Module) -> float:
        count = sum(len(batch) for batch, _ in self._pairs)
        error = sum(
            len(batch) * relative_squared_difference(call_quietly(model, batch), whole)
            for batch, whole in self._pairs
        )
        return 1 - error / count
