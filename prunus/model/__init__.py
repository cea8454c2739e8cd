"""Floor 1, what a detector is: its rows and blocks, the network, loss, cost and tied channels.

In: an `ArchSpec` (rows in the official YAML format) and class names. Out: a `Detector`, whose
state-dict names are the official ones. The open table is `model.families.FAMILIES`: a new
architecture family is one file there and its YAML in `archs/`. Knows nothing of files with weights,
data sets or training.
"""
