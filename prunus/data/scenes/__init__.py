"""Orchard scenes: a generated detection data set, so that every verb can be tried offline.

One picture is a pure function of (seed, number). `compose.render_scene` gives the record `Scene`
(image, boxes, classes); `write.write_demo` writes whole splits in YOLO format. A picture is painted
from back to front onto a `canvas.Canvas`, which keeps beside the colours a buffer of who is where;
boxes are read off that buffer, so they are tight around what can be seen. One module a subject:
`plum`, `leaf`, `blossom`, `branch`, `decoy` (what resembles them and is none), `background`.
"""
