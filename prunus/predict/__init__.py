"""Floor 4: a `Runner` and pictures → detections, drawn and written down.

In: any `core.records.Runner` (a torch model, an ONNX file) and what `sources` can read: pictures,
videos, folders, cameras, streams. The way: a source gives shots (`shot`), `detect` fits each, runs
it, in `tiles` if it is large, and selects (`selection`); `outputs` write. Out: a
`core.records.Detections` a shot; from Python a `prediction.Prediction`, which is one that can draw
itself (`model.Model`, made by `prunus.load`).

Opens one table, `sources.KINDS`; new runtimes come from `export.backends`.
"""
