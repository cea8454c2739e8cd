"""Floor 4, a network in, a smaller network out: channels really removed, and the proof of it.

In: any `nn.Module`; out: `run.PruneResult`. The way: `model.channels.trace` (which channels are
tied) -> `criteria` (scores) -> `selection` (which go) -> `surgery` (the cut) -> `proof` (against
the masked network) -> `repair` (constants, batch norm). `plan` says what went, for the same cut
elsewhere. `masks` only sets weights to zero. Opens one table, `criteria.CRITERIA`: a criterion is
one file there and its line. The room can be called: `prunus.prune(...)` is `run.prune(...)`.
"""

from prunus.core.callable_room import make_callable

make_callable(__name__, "prunus.prune.run:prune")
