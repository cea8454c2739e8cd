"""Whole blocks as candidates for removal: where a block's input can stand in for its output.

In: any network and an example input. `find` lists the blocks with what they cost, `damage` says
what is lost without each (no labels, no gradients), `remove` takes some out and proves it. A
detector stays a detector: its rows then say fewer repeats.
"""
