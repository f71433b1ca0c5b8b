"""A GPU that is none: CUDA's and TensorRT's Python packages on the processor's own memory.

The folder goes onto the path. There `cuda.bindings.runtime` has the calls that edgeseg makes, with streams that do at
once what they are given, and `tensorrt` has the names of a real version; its plan is the ONNX graph itself, which ONNX
Runtime computes at the addresses that it was given. What it can't show is what only a GPU can.
"""
