"""Which channels of a network must go together: found by watching one small forward pass.

In: any `nn.Module` made of primitive operations, and an example input. Out: a
`table.ChannelTable`, which says for every dimension of every parameter which channel each position
belongs to. `trace.trace` is the door; the open table is `rules.RULES` (one rule an operation).
"""
