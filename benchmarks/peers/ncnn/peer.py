"""ncnn, of a network that pnnx converted: `plain`, and `bf16` with maps kept in bfloat16.

Its tools for INT8 are in none of the two packages.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import ncnn
import numpy as np


def prepare(variant: str, given: Path, made: Path) -> None:
    """Convert the traced network, as the documentation of pnnx has it."""
    if (made / "network.bin").exists():
        return
    about = json.loads((given / "material.json").read_text())
    shape = ",".join(map(str, (1, 3, *about["size_hw"])))
    tool = Path(sys.executable).with_name("pnnx")
    outputs = [f"{key}={made / 'network'}{end}" for key, end in OUTPUTS.items()]
    subprocess.run([tool, given / "network.pt", f"inputshape=[{shape}]", *outputs], check=True)


#: Files that pnnx writes, all but two to be thrown away.
OUTPUTS = {
    "pnnxparam": ".pnnx.param",
    "pnnxbin": ".pnnx.bin",
    "pnnxpy": "_pnnx.py",
    "pnnxonnx": ".pnnx.onnx",
    "ncnnparam": ".param",
    "ncnnbin": ".bin",
    "ncnnpy": "_ncnn.py",
}


class Ncnn:
    """A network with the library's defaults on x86, but for the number of threads."""

    def __init__(self, variant: str, given: Path, made: Path, threads: int) -> None:
        about = json.loads((given / "material.json").read_text())
        self._size_wh = (about["size_hw"][1], about["size_hw"][0])
        self._mean, self._scale = about["mean"], [1 / std for std in about["std"]]
        self._net = ncnn.Net()
        self._net.opt.num_threads = threads
        self._net.opt.use_vulkan_compute = False
        self._net.opt.use_bf16_storage = variant == "bf16"
        self._net.load_param(str(made / "network.param"))
        self._net.load_model(str(made / "network.bin"))
        options = (name for name in dir(self._net.opt) if name.startswith(("use_", "num_", "openmp_")))
        self.settings = {
            "precision": f"{'bfloat16 maps' if variant == 'bf16' else 'float32'}; weights are float16 in the file",
            "options": {name: getattr(self._net.opt, name) for name in options},
            "before": "Mat.from_pixels with BGR to RGB, substract_mean_normalize",
            "behind": "numpy.argmax over logits of full size",
        }

    def infer(self, frame: Any, stages: Any) -> Any:
        image = ncnn.Mat.from_pixels(frame, ncnn.Mat.PixelType.PIXEL_BGR2RGB, *self._size_wh)
        image.substract_mean_normalize(self._mean, self._scale)
        stages.mark("preprocess")
        extractor = self._net.create_extractor()
        extractor.input("in0", image)
        _, logits = extractor.extract("out0")
        stages.mark("inference")
        class_map = np.array(logits).argmax(0).astype(np.uint8)
        stages.mark("postprocess")
        return class_map


def open_peer(variant: str, given: Path, made: Path, threads: int) -> Ncnn:
    """`plain` or `bf16`."""
    return Ncnn(variant, given, made, threads)
