"""Floor 4, a network in, a smaller network out: channels really removed, and the proof of it.

In: any `nn.Module`; out: `run.PruneResult`. The way: `model.channels.trace` (which channels are
tied) -> `observe` (what calibration images show) -> `criteria` (scores) -> `selection` (which go,
within a `budget` of `costs`) -> `surgery` (the cut) -> `proof` (against the masked network) ->
`repair` (constants, ridge, batch norm). `plan` says what went, for the same cut elsewhere;
`replay` makes it there; `blocks` takes out whole ones; `sensitivity` measures what each group can
lose; `masks` only sets weights to zero; `low_rank` makes two convolutions of one; `detectors` is
all that knows of detectors. Opens one table, `criteria.CRITERIA`: a criterion is one file there and
its line. The room can be called: `prunus.prune(...)` is `run.prune(...)`.
"""

from prunus.core.callable_room import make_callable

make_callable(__name__, "prunus.prune.run:prune")
