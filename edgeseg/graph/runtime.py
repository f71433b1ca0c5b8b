"""Graphs in memory, run on ONNX Runtime to look at their tensors."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir
import onnxruntime

from edgeseg.errors import ModelFileError

__all__ = ["open_graph"]

#: Severity from which the library writes to stderr. Errors are raised too, and need not be told twice.
FATAL = 4


def open_graph(
    model: ir.Model, outputs: Sequence[str], *, threads: int = 0, fuse: bool = True
) -> onnxruntime.InferenceSession:
    """A session that gives the tensors of that name, of any graph that is left as it is.

    Q/DQ nodes are computed as they are written, in float, so that every processor gives the same answers.

    Args:
        model: With all weights in memory.
        outputs: Names of tensors inside the graph; none for the graph's own outputs.
        threads: 0 takes all cores.
        fuse: Operators into kernels, which round differently depending on which tensors are asked for.

    Raises:
        ModelFileError: ONNX Runtime refuses the graph.
    """
    asked = model.clone()
    values = {value.name: value for node in asked.graph for value in node.outputs}
    values |= {value.name: value for value in asked.graph.outputs}
    if outputs:
        asked.graph.outputs[:] = [values[name] for name in outputs]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = FATAL
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    if not fuse:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    try:
        content = ir.to_proto(asked).SerializeToString()
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        reason = str(error).split("\n")[0]
        raise ModelFileError(f"ONNX Runtime can't run the graph: {reason}") from error
