"""LiteRT on XNNPACK, of a network that litert-torch converted: `float`, and `int8` by ai-edge-quantizer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter


def prepare(variant: str, given: Path, made: Path) -> None:
    """Convert with channels last at both ends, and quantize all that can be."""
    path = made / "float.tflite"
    if not path.exists():
        convert(given, path)
    if variant == "int8":
        quantize(given, path, made / "int8.tflite")


def convert(given: Path, path: Path) -> None:
    """Write the float network."""
    import litert_torch
    import torch

    network = torch.export.load(given / "network.pt2").module()
    network = litert_torch.to_channel_last_io(network, args=[0], outputs=[0])
    height, width = json.loads((given / "material.json").read_text())["size_hw"]
    litert_torch.convert(network, (torch.zeros(1, height, width, 3),)).export(str(path))


class Images:
    """Normalized images of the calibration, one at a time."""

    def __init__(self, given: Path) -> None:
        self._frames = np.load(given / "calibration.npy", mmap_mode="r")
        about = json.loads((given / "material.json").read_text())
        self._mean, self._std = np.float32(about["mean"]), np.float32(about["std"])

    def __len__(self) -> int:
        return len(self._frames)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for frame in self._frames:
            yield {"args_0": ((frame[..., ::-1].astype(np.float32) - self._mean) / self._std)[None]}


def quantize(given: Path, path: Path, quantized: Path) -> None:
    """Write the network with weights, activations, input and output in 8 bits."""
    from ai_edge_quantizer import quantizer, recipe

    one = quantizer.Quantizer(str(path), recipe.static_wi8_ai8())
    result = one.quantize(one.calibrate({"serving_default": Images(given)}))
    result.export_model(str(quantized), overwrite=True)


class LiteRt:
    """An interpreter, which takes XNNPACK by default."""

    def __init__(self, variant: str, given: Path, made: Path, threads: int) -> None:
        about = json.loads((given / "material.json").read_text())
        self._mean, self._factor = np.float32(about["mean"]), 1 / np.float32(about["std"])
        self._interpreter = Interpreter(str(made / f"{variant}.tflite"), num_threads=threads)
        self._interpreter.allocate_tensors()
        (taken,), (given_back,) = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        self._input, self._output = taken["index"], given_back["index"]
        self._scale, zero = taken["quantization"]
        if self._scale:
            values = np.arange(256, dtype=np.float32)[None, :, None]
            steps = np.round((values - self._mean) * self._factor / self._scale) + zero
            self._table = np.clip(steps, -128, 127).astype(np.int8)
        self.settings: dict[str, Any] = {
            "precision": "float32" if variant == "float" else "int8, weights and activations",
            "num_threads": threads,
            "delegate": "XNNPACK (the default)",
            "input": f"{taken['dtype'].__name__} NHWC",
            "before": "cv2.cvtColor, cv2.LUT" if self._scale else "cv2.cvtColor, (x - mean) / std in numpy",
            "behind": "numpy.argmax over logits of full size",
        }
        if variant == "int8":
            self.settings["ai-edge-quantizer"] = {"recipe": "static_wi8_ai8", "frames": about["calibration"]}

    def infer(self, frame: Any, stages: Any) -> Any:
        image = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        image = cv2.LUT(image, self._table) if self._scale else (image - self._mean) * self._factor
        self._interpreter.set_tensor(self._input, image[None])
        stages.mark("preprocess")
        self._interpreter.invoke()
        stages.mark("inference")
        class_map = self._interpreter.get_tensor(self._output)[0].argmax(2).astype(np.uint8)
        stages.mark("postprocess")
        return class_map


def open_peer(variant: str, given: Path, made: Path, threads: int) -> LiteRt:
    """`float` or `int8`."""
    return LiteRt(variant, given, made, threads)
