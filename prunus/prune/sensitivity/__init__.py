"""How much is lost when a share of one group's channels goes: measured, group by group.

In: a network, its `ChannelTable`, the order in which the channels of each group would go, and a
judge; out: `points.Point`s, kept in a file from which a stopped run goes on (`record`). `curves`
finds the cliffs and makes them a loss per removed channel; `plot` draws them.
"""
