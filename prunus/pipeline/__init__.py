"""Floor 5, the verbs on files: each reads artefacts and settings, writes artefacts and a report.

One module a verb, with a function of the verb's name that takes its settings and returns the report
that it wrote to `report.json`. The rooms below work on objects and know nothing of run folders;
`compress` chains the verbs here through the files that they hand over.
"""
