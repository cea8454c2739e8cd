"""Verbs one after the other, each with a folder of its own inside the run's.

`verbs` is the table of what can stand in a chain; `stage` what one link says, and how it names the
files of an earlier one; `chain` runs them, and leaves out what a killed run has finished already;
`reopen` finds the run to go on with; `recipe` reads a chain from a YAML and checks it as a whole.
"""
