"""OpenVINO's Model API with a network that NNCF quantized.

- `stock`: `nncf.quantize` and `Model.create_model` with nothing but what they need to be told of the network.
- `tuned`: what the two document for accuracy and speed. NNCF: the preset for asymmetric activations, the slower and
  more accurate bias correction, its fix for processors on which 8-bit products overflow. Model API: the device and its
  threads, the latency hint, one request, no soft prediction.
- `class-map`: the same network with its argmax in the graph, and a wrapper of one's own around it, since Model API's
  (0.4.7) fails on an output without classes. As far as one gets without leaving Model API.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from model_api.adapters import OpenvinoAdapter
from model_api.models import SegmentationModel
from openvino import opset13 as opset

#: Processors that have one of these add products of 8 bits without overflow.
EXACT = ("avx512_vnni", "avx_vnni", "amx_int8")


def prepare(variant: str, given: Path, made: Path) -> None:
    """Quantize, and for `class-map` put the argmax behind what `tuned` is given."""
    quantized = made / ("stock.xml" if variant == "stock" else "tuned.xml")
    if not quantized.exists():
        quantize(quantized, given)
    if variant == "class-map":
        network = openvino.Core().read_model(quantized)
        logits = network.output(0).get_node().input_value(0)
        last = opset.transpose(logits, np.array([0, 2, 3, 1]))
        best = opset.topk(last, opset.constant(1), 3, "max", "none").output(1)
        class_map = opset.convert(opset.squeeze(best, np.array([3])), "u8")
        class_map.output(0).set_names({"class_map"})
        whole = openvino.Model([opset.result(class_map)], network.get_parameters())
        openvino.save_model(whole, made / "class-map.xml", compress_to_fp16=False)


def quantize(path: Path, given: Path) -> None:
    """Write the quantized network as `path` says: `stock.xml` or `tuned.xml`."""
    import nncf

    about = material(given)

    def image(frame: Any) -> Any:
        normalized = (frame[..., ::-1].astype(np.float32) - np.float32(about["mean"])) / np.float32(about["std"])
        return np.ascontiguousarray(normalized.transpose(2, 0, 1)[None])

    frames = nncf.Dataset(list(np.load(given / "calibration.npy")), image)
    network = openvino.Core().read_model(given / "network.onnx")
    if path.stem == "stock":
        quantized = nncf.quantize(network, frames)
    else:
        quantized = nncf.quantize(
            network,
            frames,
            preset=nncf.QuantizationPreset.MIXED,
            fast_bias_correction=False,
            target_device=nncf.TargetDevice.CPU,
            advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=overflow_fix()),
        )
    openvino.save_model(quantized, path, compress_to_fp16=False)


def overflow_fix() -> Any:
    """For all layers where the processor needs it, as NNCF's documentation says, and none elsewhere."""
    import nncf

    flags = Path("/proc/cpuinfo").read_text()
    return nncf.OverflowFix.DISABLE if any(flag in flags for flag in EXACT) else nncf.OverflowFix.ENABLE


class ClassMap(SegmentationModel):
    """A wrapper for a network whose output is the class map."""

    __model__ = "ClassMap"

    def postprocess(self, outputs: Any, meta: Any) -> Any:
        return outputs[self.output_blob_name][0].copy()


class ModelApi:
    """One of Model API's models, called as its documentation says."""

    def __init__(self, variant: str, given: Path, made: Path, threads: int) -> None:
        about = material(given)
        configuration: dict[str, Any] = {
            "reverse_input_channels": True,
            "mean_values": about["mean"],
            "scale_values": about["std"],
        }
        path = str(made / f"{variant}.xml")
        if variant == "stock":
            self._model = SegmentationModel.create_model(path, model_type="Segmentation", configuration=configuration)
            adapter = {"device": "AUTO (the default)", "nstreams": "1 (the default)"}
            nncf = {
                "preset": "performance (the default)",
                "subset_size": 300,
                "overflow_fix": "first layer (the default)",
            }
        else:
            options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
            opened = OpenvinoAdapter(openvino.Core(), path, device="CPU", plugin_config=options, max_num_requests=1)
            configuration |= {"return_soft_prediction": False}
            kind = "ClassMap" if variant == "class-map" else "Segmentation"
            self._model = SegmentationModel.create_model(opened, model_type=kind, configuration=configuration)
            adapter = {"device": "CPU", **options, "max_num_requests": 1}
            nncf = {
                "preset": "mixed",
                "subset_size": 300,
                "fast_bias_correction": False,
                "overflow_fix": overflow_fix().value,
            }
        self._soft = variant == "stock"
        compiled = self._model.inference_adapter.compiled_model
        self.settings = {
            "precision": "int8",
            "wrapper": self._model.__model__,
            "configuration": configuration,
            "adapter": adapter,
            "nncf.quantize": nncf,
            "preprocessing": "embedded in the graph by Model API",
            "argmax": "in the graph" if variant == "class-map" else "numpy, by Model API",
            "devices": list(compiled.get_property("EXECUTION_DEVICES")),
        }

    def infer(self, frame: Any, stages: Any) -> Any:
        result = self._model(frame)
        class_map = (result.resultImage if self._soft else result).astype(np.uint8, copy=False)
        times = self._model.get_performance_metrics()
        last = {
            "preprocess": times.preprocess_time,
            "inference": times.inference_time,
            "postprocess": times.postprocess_time,
        }
        stages.mark("call", {stage: round(1e6 * taken.durations[-1]) for stage, taken in last.items()})
        return class_map


def material(given: Path) -> dict[str, Any]:
    """What the network is given."""
    return dict(json.loads((given / "material.json").read_text()))


def open_peer(variant: str, given: Path, made: Path, threads: int) -> ModelApi:
    """`stock`, `tuned` or `class-map`."""
    return ModelApi(variant, given, made, threads)
