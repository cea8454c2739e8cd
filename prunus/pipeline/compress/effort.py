"""How many epochs, rounds and cuts a run may spend."""

from dataclasses import dataclass, replace

from prunus.core.errors import ConfigError
from prunus.pipeline.compress.config import CompressConfig


@dataclass(frozen=True)
class Effort:
    """A preset of `--effort`.

    Attributes:
        adapt: Epochs of the dense model.
        finetune: Epochs of the pruned one.
        rounds: Cuts on the way to a target.
        attempts: Targets that are tried.
        from_scratch: Whether the pruned shape is trained from fresh weights as well.
        int8: Whether models are quantized.
    """

    adapt: int
    finetune: int
    rounds: int = 1
    attempts: int = 1
    from_scratch: bool = False
    int8: bool = True


TRAININGS = ("adapt", "sparsity", "finetune")
EFFORTS = {
    "quick": Effort(adapt=40, finetune=50, int8=False),
    "normal": Effort(adapt=100, finetune=150, attempts=3),
    "thorough": Effort(adapt=200, finetune=300, rounds=2, attempts=6, from_scratch=True),
}


@dataclass(frozen=True)
class Schedule:
    """What is planned.

    Attributes:
        adapt: Epochs of the dense model.
        sparsity: Epochs of sparsity training, over all rounds.
        finetune: Epochs of fine-tuning, over all rounds.
        rounds: Cuts on the way to a target, at first and at most.
        attempts: Targets that are tried, at most.
        from_scratch: Whether the pruned shape is trained from fresh weights as well.
        int8: Whether models are quantized.
        longer: Whether the dense model is trained on, for as long as the pruned one.
        smaller: Whether a smaller dense model is trained from the start.
        limit: Epochs of all trainings together, if there is a limit.
        shortened: What the limit did to them, in words; "" where nothing.
    """

    adapt: int
    sparsity: int
    finetune: int
    rounds: tuple[int, int]
    attempts: int
    from_scratch: bool
    int8: bool
    longer: bool
    smaller: bool
    limit: int | None
    shortened: str = ""

    @property
    def extra(self) -> int:
        """Return the epochs that a pruned model gets after the adaptation."""
        return self.sparsity + self.finetune

    @property
    def whole(self) -> int:
        """Return the epochs of a pruned model, from the start."""
        return self.adapt + self.extra

    @property
    def afterwards(self) -> int:
        """Return the epochs of what is trained when the cut has been chosen."""
        return (self.from_scratch + self.smaller) * self.whole

    @property
    def least(self) -> int:
        """Return the epochs of a run with one attempt."""
        return self.whole + self.longer * self.extra + self.afterwards

    def sentence(self) -> str:
        parts = [f"adapt {self.adapt} epochs"]
        parts += [f"pull on gammas {self.sparsity}"] if self.sparsity else []
        parts += [f"fine-tune {self.finetune}"]
        rounds = " or ".join(map(str, sorted(set(self.rounds))))
        text = f"{', '.join(parts)}; {rounds} round(s), up to {self.attempts} cut(s)"
        return f"{text}; {self.least} epochs with one cut"


def schedule_of(settings: CompressConfig) -> Schedule:
    """Return what `--effort` plans, changed by the flags that say more, within `--epochs`.

    Raises:
        ConfigError: `--epochs` are too few for one of each, or the adaptation for `--rewind`.
    """
    effort = EFFORTS[settings.effort]
    plan = Schedule(
        adapt=_first(settings.adapt_epochs, effort.adapt),
        sparsity=settings.sparsity_epochs,
        finetune=_first(settings.finetune_epochs, effort.finetune),
        rounds=_rounds(settings, effort),
        attempts=_first(settings.attempts, effort.attempts),
        from_scratch=bool(_first(settings.from_scratch, effort.from_scratch)),
        int8=settings.int8 and effort.int8,
        longer=settings.longer,
        smaller=settings.smaller is not None,
        limit=settings.epochs,
    )
    if plan.adapt == 0 and settings.cfg:
        raise ConfigError(
            "--adapt-epochs: 0 epochs make nothing of --cfg. Give some, or --weights."
        )
    plan = _within_limit(plan, settings.effort)
    if settings.rewind is not None and settings.rewind > plan.adapt:
        raise ConfigError(
            f"--rewind {settings.rewind}: the adaptation has {plan.adapt} epochs. Give an earlier "
            "one."
        )
    return plan


def _within_limit(plan: Schedule, effort: str) -> Schedule:
    """Shorten every training alike, where one cut would take more than `--epochs`."""
    if plan.limit is None or plan.least <= plan.limit:
        return plan
    factor = plan.limit / plan.least
    shorter = replace(
        plan,
        adapt=int(plan.adapt * factor),
        sparsity=int(plan.sparsity * factor),
        finetune=int(plan.finetune * factor),
    )
    if any(getattr(plan, name) and not getattr(shorter, name) for name in TRAININGS):
        raise ConfigError(f"--epochs {plan.limit}: too few. Give more, or fewer comparisons.")
    return replace(
        shorter,
        shortened=f"--epochs {plan.limit}: {effort} effort would take {plan.least}, so each "
        f"training is shortened to {factor:.0%}",
    )


def _rounds(settings: CompressConfig, effort: Effort) -> tuple[int, int]:
    """Return as many as are asked for; or else the preset's, and one more after a near miss."""
    if settings.rounds is not None:
        return settings.rounds, settings.rounds
    is_judged = settings.max_drop is not None and _first(settings.finetune_epochs, effort.finetune)
    simple = settings.rewind is None
    return effort.rounds, effort.rounds + bool(is_judged and simple)


def _first(given: int | bool | None, preset: int) -> int:
    return preset if given is None else int(given)
