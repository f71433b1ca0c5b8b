"""Let ONNX Runtime compute what does not depend on the frame, where the rewriter's folding stops short."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from edgeseg.errors import ModelFileError

__all__ = ["FoldByRuntime"]


class FoldByRuntime(ir.passes.FunctionalPass):
    """Fold constants with ONNX Runtime's basic optimizations, which keep to standard operators.

    1. A graph whose shapes are all known stays as it is.
    2. Others have shapes that come of operators like ConstantOfShape, as exporters write them for padding.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        if _is_static(model):
            return ir.passes.PassResult(model.clone(), modified=False)
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        with tempfile.TemporaryDirectory(prefix="edgeseg-") as folder:
            options.optimized_model_filepath = str(Path(folder) / "folded.onnx")
            content = ir.to_proto(model).SerializeToString()
            try:
                onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
            except Exception as error:
                reason = str(error).splitlines()[0]
                raise ModelFileError(
                    f"ONNX Runtime can't load the graph: {reason}", hint="Export it again, or with another opset."
                ) from error
            folded = ir.load(options.optimized_model_filepath)
            ir.external_data.load_to_model(folded)
        for domain in [domain for domain in folded.opset_imports if domain not in ("", "ai.onnx")]:
            del folded.opset_imports[domain]
        folded.metadata_props.update(model.metadata_props)
        ShapeInferencePass()(folded)
        return ir.passes.PassResult(folded, modified=True)


def _is_static(model: ir.Model) -> bool:
    values = [value for node in model.graph for value in node.outputs]
    return all(value.shape is not None and value.shape.is_static() for value in values)
