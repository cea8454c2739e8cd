"""What goes into modules and what comes out, seen in one run: can one stand in for the other?"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from prunus.model.channels.probe import Inputs, call_quietly, tensors_in

NOISE_SEED = 0


class Passage(NamedTuple):
    """How a module was called.

    Attributes:
        refusal: Why its input cannot stand in for its output; "" when it can.
        residual: Whether it adds something to its input: with all parameters and statistics at zero
            it hands positive numbers on unchanged. (Positive: so that the ReLU which ends a block
            of ResNet is no obstacle.)
    """

    refusal: str
    residual: bool = False


UNCALLED = Passage("it is never called by itself.")


def watch(model: nn.Module, modules: Mapping[str, nn.Module], inputs: Inputs) -> dict[str, Passage]:
    """Run `model` once in eval mode and return what became of some of its modules, by path.

    A module that is called more than once can only be left out when that goes for every call.
    """
    seen: dict[str, list[Passage]] = {path: [] for path in modules}
    judging = False  # a module is run again to be judged: the modules inside it are not called anew

    def hook(path: str) -> Any:
        def judge(
            module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: object
        ) -> None:
            nonlocal judging
            if not judging:
                judging = True
                try:
                    seen[path].append(_passage(module, args, kwargs, output))
                finally:
                    judging = False

        return judge

    hooks = [
        module.register_forward_hook(hook(path), with_kwargs=True)
        for path, module in modules.items()
    ]
    try:
        call_quietly(model, inputs)
    finally:
        for handle in hooks:
            handle.remove()
    return {path: _all_of(passages) for path, passages in seen.items()}


def _passage(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: object
) -> Passage:
    if not args or not isinstance(args[0], Tensor) or tensors_in((args[1:], kwargs)):
        return Passage("it is called with something else than one tensor, its first argument.")
    if not isinstance(output, Tensor):
        return Passage("it puts out something else than one tensor.")
    given = args[0]
    if given.shape != output.shape or given.dtype != output.dtype:
        return Passage(
            f"it turns {_kind(given)} into {_kind(output)}, so that its input cannot stand in for "
            "its output."
        )
    return Passage("", residual=_hands_on(module, args, kwargs))


def _hands_on(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Run the module with zeros for parameters and statistics: does noise pass unchanged?"""
    like: Tensor = args[0]
    if not like.is_floating_point():
        return False
    zeros = {
        name: torch.zeros_like(tensor)
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]
        if tensor.is_floating_point()
    }
    noise = torch.rand(like.shape, generator=torch.Generator().manual_seed(NOISE_SEED)).to(like)
    given = noise.clone()  # some modules write into their input
    return torch.equal(functional_call(module, zeros, (given, *args[1:]), kwargs), noise)


def _all_of(passages: list[Passage]) -> Passage:
    if not passages:
        return UNCALLED
    refused = [passage for passage in passages if passage.refusal]
    return refused[0] if refused else Passage("", all(passage.residual for passage in passages))


def _kind(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
