"""Floor 4, what was done, for people: the table of steps and the picture beside it.

In: `StepRow` records, one a step of a chain. Out: the before/after table as text and as Markdown.
Reads nothing but records, so that any chain of verbs can be reported.
"""
