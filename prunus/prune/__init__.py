"""Floor 4, a detector in, a smaller detector out: channels really removed, and the proof of it.

In: a `model.detector.Detector`; out: `run.PruneResult`. The way: `model.channels.trace` (which
channels are tied) -> `criteria` (scores) -> `selection` (which go) -> `surgery` (the cut) ->
`proof` (against the masked network) -> `repair` (constants, batch norm). `masks` only sets weights
to zero. Opens one table, `criteria.CRITERIA`: a criterion is one file there and its line.
"""
