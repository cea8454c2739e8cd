"""One primitive operation that has just run, as its rule sees it."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Call:
    """One primitive operation that has just run.

    Attributes:
        name: Such as "aten.convolution"; in-place variants bear the plain one's name.
        arguments: By the names of the operation's schema, defaults included.
        result: What it returned.
        function: The operation, so that it can be run on tags too.
    """

    name: str
    arguments: dict[str, object]
    result: object
    function: Any

    def tensors(self) -> list[Tensor]:
        """Return the tensor arguments, in order."""
        return [value for value in self.arguments.values() if isinstance(value, Tensor)]

    def every_tensor(self) -> list[Tensor]:
        """Return the tensor arguments and those in lists of them."""
        found = self.tensors()
        for value in self.arguments.values():
            if isinstance(value, (tuple, list)):
                found.extend(item for item in value if isinstance(item, Tensor))
        return found

    def tensor(self, name: str) -> Tensor:
        """Return a tensor argument."""
        value = self.arguments[name]
        if not isinstance(value, Tensor):
            raise TypeError(f"{self.name}: {name} is no tensor")
        return value

    def optional(self, name: str) -> Tensor | None:
        """Return a tensor argument that may be missing."""
        value = self.arguments.get(name)
        return value if isinstance(value, Tensor) else None

    def integer(self, name: str) -> int:
        """Return an integer argument."""
        value = self.arguments[name]
        if not isinstance(value, int):
            raise TypeError(f"{self.name}: {name} is no integer")
        return value

    def output(self, index: int = 0) -> Tensor:
        """Return the result, or the `index`-th of several."""
        value = self.result
        if isinstance(value, (tuple, list)):
            value = value[index]
        if not isinstance(value, Tensor):
            raise TypeError(f"{self.name}: result {index} is no tensor")
        return value
