"""Milliseconds of a network from the widths of its layers, before it is cut.

In: layer shapes (`prunus.model.layers`) with their widths. Out: a `LatencyTable`, measured once per
machine, runtime, precision and thread count, and `predict`, the time of a whole network.
The open table is `RUNTIMES`: how each runtime times a layer and in which steps its cost goes.
"""
