"""Floor 4: a `Runner` and pictures → detections, drawn and written down.

In: any `core.records.Runner` (a torch model, an ONNX file) and images, folders or patterns. Out: a
`core.records.Detections` an image; annotated pictures, YOLOv5's label files, and JSON lines.

Opens no table: new runtimes come from `export.backends`.
"""
