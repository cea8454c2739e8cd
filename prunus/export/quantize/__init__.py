"""From a detector in float and training images to a file that computes in 8 bits.

In: the ONNX graph that `export` writes, calibration images, names of layers to leave in float.
Out: a graph (`onnx`, `openvino`) or a file (`quantizers`) whose head still computes in float.
`ranges.METHODS` is the open table of ways to choose ranges, `quantizers.QUANTIZERS` of formats;
`search` returns layers to float until accuracy is near enough.
"""
