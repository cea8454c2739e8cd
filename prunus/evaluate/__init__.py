"""Runner + labelled images -> numbers: how good is a detector?

In: a `core.records.Runner` (a torch model, an exported file), batches, and the
`data.index.ImageIndex` that holds the ground truth. Out: `val.Evaluation` (precision, recall, mAP,
COCO's twelve, the detections, times).

The way through: `nms` (candidates -> detections; `suppress` holds its two engines), `match`
(detections x labels -> hits), `average_precision` (hits -> YOLOv5's figures), `coco` (the same
detections -> COCO's figures), `predictions` (detections -> COCO results file). No table is opened
here. Results never depend on a clock.
"""
