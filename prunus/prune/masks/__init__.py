"""Zeros in unchanged shapes: `choose.sparsify` sets them, `methods` ranks, `size` weighs the file.

Unstructured, which official YOLOv5 calls pruning (specification sheet yolov5, 2.6), or N:M. How a
choice is made lies in `model.zeros` and `model.nm`, since trainings choose in the same way.
"""
