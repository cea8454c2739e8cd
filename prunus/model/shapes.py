"""Forward passes that compute shapes and nothing else, on meta tensors.

Torch's own way for batch norms, sums and joins of meta tensors imports its compiler, 0.9 s of CPU
time in every process that loads weights.
"""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, broadcast_shapes, cat, nn
from torch.overrides import TorchFunctionMode


class ShapesAlone(TorchFunctionMode):
    """Answers batch norms, sums and joins with an empty tensor of the right shape."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        answer = ANSWERS.get(func, func)
        return answer(*args, **(kwargs or {}))


def _normed(features: Tensor, *statistics: Any, **_: object) -> Tensor:
    for values in statistics[:4]:  # running mean and variance, weight, bias
        if values is not None and values.shape != (features.shape[1],):
            raise RuntimeError(
                f"a batch norm of {tuple(values.shape)} channels gets {features.shape[1]}"
            )
    return features


def _added(one: Tensor, other: Tensor) -> Tensor:
    shape = broadcast_shapes(one.shape, other.shape)  # type: ignore[no-untyped-call]
    return one.new_empty(shape)


def _joined(parts: Sequence[Tensor], dim: int) -> Tensor:
    shapes = [list(part.shape) for part in parts]
    along = [shape.pop(dim) for shape in shapes]
    if any(shape != shapes[0] for shape in shapes):
        raise RuntimeError(f"maps of different sizes are joined: {[*map(list, shapes)]}")
    shapes[0].insert(dim, sum(along))
    return parts[0].new_empty(shapes[0])


ANSWERS: dict[Any, Callable[..., Tensor]] = {
    nn.functional.batch_norm: _normed,
    Tensor.add: _added,
    cat: _joined,
}
