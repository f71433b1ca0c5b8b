"""ONNX Runtime as most scripts use it: OpenCV before it, logits at full size out, numpy's argmax behind it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime


def prepare(variant: str, given: Path, made: Path) -> None:
    """Nothing: the exported graph runs as it is."""


class OnnxRuntime:
    """A session with its defaults but for the number of threads."""

    def __init__(self, given: Path, threads: int) -> None:
        about = json.loads((given / "material.json").read_text())
        self.size_wh = (about["size_hw"][1], about["size_hw"][0])
        self.mean, self.std = np.float32(about["mean"]), np.float32(about["std"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(given / "network.onnx", options, providers=["CPUExecutionProvider"])
        self.settings = {
            "precision": "float32",
            "intra_op_num_threads": threads,
            "graph_optimization_level": options.graph_optimization_level.name,
            "providers": self.session.get_providers(),
            "before": "cv2.resize, cv2.cvtColor, (x - mean) / std in numpy, transpose to NCHW",
            "behind": "numpy.argmax over logits of full size",
        }

    def infer(self, frame: Any, stages: Any) -> Any:
        image = cv2.cvtColor(cv2.resize(frame, self.size_wh), cv2.COLOR_BGR2RGB)
        image = (image.astype(np.float32) - self.mean) / self.std
        image = np.ascontiguousarray(image.transpose(2, 0, 1)[None])
        stages.mark("preprocess")
        (logits,) = self.session.run(None, {"image": image})
        stages.mark("inference")
        class_map = np.argmax(logits[0], axis=0).astype(np.uint8)
        stages.mark("postprocess")
        return class_map


def open_peer(variant: str, given: Path, made: Path, threads: int) -> OnnxRuntime:
    """The only variant there is."""
    return OnnxRuntime(given, threads)
