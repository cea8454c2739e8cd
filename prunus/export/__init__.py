"""Floor 4: detector → file for a runtime, and back as a `Runner`.

In: a `model.detector.Detector`. Out: a file that carries its own `Facts`, left there only when it
computes what torch computes (`Parity`), and a `Runner` that predicts from it. Also measured here:
milliseconds, all runners taking turns in one loop.

Opens one table, `export.backends.BACKENDS`: a runtime is one file there and its line.
"""
