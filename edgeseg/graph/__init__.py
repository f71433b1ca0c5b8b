"""Graphs: torch to ONNX, and ONNX to ONNX, one pass per file."""
