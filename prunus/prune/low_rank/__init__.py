"""One convolution made two, through fewer channels in between, wherever that saves operations.

In: a detector, and images if there are some; out: `outcome.Factorised`. The way: `bases` (which
directions of a layer's outputs matter, and how much each) -> `ranks` (how many of them each layer
keeps) -> `pairs` (put in place); `run` is the door. Files tell pairs by their tensors' names
(`model.factors`), so that all other rooms take them as they come.
"""
