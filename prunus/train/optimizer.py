"""Three groups of parameters (biases, decayed weights, norm weights), and the optimizers that take
them.

Only the middle group decays. Specification sheet, section 2.4.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from prunus.train.schedule import Schedule, Tempo

NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)
MAXIMUM_GRADIENT_NORM = 10.0
SECOND_MOMENT_DECAY = 0.999
BIASES, WEIGHTS, NORM_WEIGHTS = "biases", "weights", "norm weights"

ParameterGroups = list[dict[str, Any]]
OPTIMIZERS: dict[str, Callable[[ParameterGroups, float, float], Optimizer]] = {
    "sgd": lambda groups, lr, momentum: SGD(groups, lr=lr, momentum=momentum, nesterov=True),
    "adam": lambda groups, lr, momentum: Adam(groups, lr=lr, betas=(momentum, SECOND_MOMENT_DECAY)),
    "adamw": lambda groups, lr, momentum: AdamW(
        groups, lr=lr, betas=(momentum, SECOND_MOMENT_DECAY), weight_decay=0.0
    ),
}


def build_optimizer(
    module: nn.Module, kind: str, *, lr: float, momentum: float, weight_decay: float
) -> Optimizer:
    """Return an optimizer of all parameters that require gradients.

    Args:
        module: What to train.
        kind: Name in OPTIMIZERS.
        lr: Learning rate to start from.
        momentum: Momentum of SGD, decay of the first moment of Adam.
        weight_decay: Of the middle group; see `scaled_weight_decay`.
    """
    decays = {BIASES: 0.0, WEIGHTS: weight_decay, NORM_WEIGHTS: 0.0}
    members: dict[str, list[nn.Parameter]] = {role: [] for role in decays}
    for owner in module.modules():
        for name, parameter in owner.named_parameters(recurse=False):
            if parameter.requires_grad:
                members[_role(owner, name)].append(parameter)
    groups: ParameterGroups = [
        {"params": members[role], "weight_decay": decay, "role": role}
        for role, decay in decays.items()
    ]
    return OPTIMIZERS[kind](groups, lr, momentum)


def scaled_weight_decay(weight_decay: float, schedule: Schedule) -> float:
    """Fit the decay, meant for `nominal_batch` images a step, to those that a step really sees."""
    images = schedule.batch_size * schedule.accumulate
    return weight_decay * images / schedule.nominal_batch


def set_tempo(optimizer: Optimizer, tempo: Tempo) -> None:
    """Give every group its learning rate, and SGD its momentum."""
    for group in optimizer.param_groups:
        group["lr"] = tempo.bias_lr if group["role"] == BIASES else tempo.lr
        if "momentum" in group:
            group["momentum"] = tempo.momentum


def clip_gradients(optimizer: Optimizer) -> float:
    """Scale gradients down to a joint norm of MAXIMUM_GRADIENT_NORM; return the one they had."""
    parameters: Iterable[nn.Parameter] = (p for g in optimizer.param_groups for p in g["params"])
    return float(torch.nn.utils.clip_grad_norm_(parameters, MAXIMUM_GRADIENT_NORM))


def _role(owner: nn.Module, name: str) -> str:
    if name == "bias":
        return BIASES
    return NORM_WEIGHTS if isinstance(owner, NORMS) else WEIGHTS
