"""TensorRT and TensorRT-RTX, behind one backend."""
