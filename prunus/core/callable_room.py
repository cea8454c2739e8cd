"""A package that can be called like the function it is named after: `prunus.prune(model, ...)`.

The verb `prune` lives in the package `prunus.prune`, so both want one name. The package object gets
a class of its own that hands calls on; the function is imported at the first call. See
`docs/decisions/005-callable-rooms.md`.
"""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inspect import Signature


def make_callable(room: str, verb: str) -> None:
    """Let the package `room` be called; one line in its `__init__.py`.

    Args:
        room: `__name__` of the package.
        verb: What a call runs, as "module:function".
    """
    package = sys.modules[room]
    package.__class__ = CallableRoom
    vars(package)["__verb__"] = verb


class CallableRoom(ModuleType):
    """A package whose signature and documentation are those of its verb, and then its own."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _verb(self)(*args, **kwargs)

    @property
    def __signature__(self) -> "Signature":
        import inspect  # late: 10 ms that --help need not pay

        return inspect.signature(_verb(self))

    @property
    def __doc__(self) -> str:  # type: ignore[override]
        """Return what `help(room)` shows: the verb's first line, its signature, the rest."""
        summary, _, rest = (_documentation(_verb(self)) + "\n\n").partition("\n\n")
        call = f"{self.__name__}{self.__signature__}"
        return f"{summary}\n\n{call}\n\n{rest.strip()}\n\n{vars(self)['__doc__'] or ''}"


def _verb(room: ModuleType) -> Callable[..., Any]:
    """Import and return the function that a call of the room runs."""
    import pkgutil  # late, as above

    verb: Callable[..., Any] = pkgutil.resolve_name(vars(room)["__verb__"])
    return verb


def _documentation(verb: Callable[..., Any]) -> str:
    import inspect

    return inspect.getdoc(verb) or ""
