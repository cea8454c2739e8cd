"""`with_options`: further steps beside pruning, tried on the dense model: is the runtime faster?"""

from dataclasses import replace
from typing import Any

from prunus.pipeline.compress.config import CompressConfig
from prunus.pipeline.compress.cutting import Subject
from prunus.pipeline.compress.work import Work

FASTER = 1.03
"""What an option must gain in the target's runtime: less is noise."""


def with_options(work: Work, subject: Subject) -> Subject:
    """Try the steps that are asked for, each on top of those that were taken before.

    Returns:
        The subject, with those that make the runtime faster.
    """
    tried, gained = subject.dense.file, 1.0
    for verb, values, title in _wanted(work.settings):
        done = work.chain.do(f"try-{verb}", verb, weights=tried, **values)
        dense, changed = work.costs(f"time-{verb}", subject.dense.file, done.file("weights"))
        gain = dense.ms / changed.ms
        accepted = gain >= gained * FASTER
        on_top = " with those above" if gained > 1 else ""
        why = f"{gain:.2f}x as fast in {work.target.place}, uncut{on_top}"
        work.decide(title, accepted=accepted, why=why)
        if accepted:
            tried, gained = done.file("weights"), gain
            subject = replace(
                subject,
                options=(*subject.options, (verb, values)),
                gain=max(work.target.measured(dense, changed) or 1.0, 1.0),
            )
    return subject


def _wanted(settings: CompressConfig) -> list[tuple[str, dict[str, Any], str]]:
    """Return verb, settings and title of each; factors first, so that all units are swapped."""
    wanted: list[tuple[str, dict[str, Any], str]] = []
    if settings.low_rank is not None:
        rank = {"rank": settings.low_rank}
        wanted.append(("factorize", rank, f"low rank {settings.low_rank:g}"))
    if settings.activation is not None:
        to = {"to": settings.activation}
        wanted.append(("activation", to, f"activation {settings.activation}"))
    return wanted
