"""Floor 6, the `prunus` command: one file a verb that parses, calls one function and prints.

The open table is `cli.main.VERBS`. A verb's module has HELP, SETTINGS (its pydantic model) and
`run(settings)`, which returns the verb's report. Importing it must not import torch.
"""
