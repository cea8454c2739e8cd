"""Floor 2, a detector and its files: official `.pt` in, native `.safetensors` in and out, transfer.

In: a path, or a `Detector`. Out: a `Checkpoint` (detector, history, licence, fingerprint).
`files.load_weights` opens whatever is accepted; `native.save_weights` writes. The open table is
`files.READERS`, by file extension. Nothing of a file is ever run or imported: `pickle_reader` knows
which names an official file may hold, and there is no way round it. Widths are read off the
tensors' shapes (`assemble`), so a pruned model loads like any other.
"""
