"""PyTorch, `eager` and by `torch.compile`, each in float32 and with bfloat16 by autocast (`-bf16`).

All in inference mode and with channels last, as PyTorch's Performance Tuning Guide has it; compiled by
Inductor with frozen weights, which folds the batch norms. The allocator is the system's, as `pip install` leaves it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch._inductor import config as inductor


def prepare(variant: str, given: Path, made: Path) -> None:
    """Nothing: the exported program is loaded as it is, and compiled each time; frozen weights are not cached."""


def check_bfloat16() -> None:
    """Raise where the processor has no arithmetic in bfloat16, so that it would be slower and no less precise."""
    flags = Path("/proc/cpuinfo").read_text().split()
    if not {"avx512_bf16", "amx_bf16", "bf16"} & set(flags):
        raise RuntimeError("this processor does not compute in bfloat16")


class PyTorch:
    """The exported program as a module."""

    def __init__(self, variant: str, given: Path, made: Path, threads: int) -> None:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(made / "inductor")
        about = json.loads((given / "material.json").read_text())
        self.mean, self.std = (torch.tensor(about[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
        torch.set_num_threads(threads)
        self.net = torch.export.load(given / "network.pt2").module().to(memory_format=torch.channels_last)
        self.bfloat16 = variant.endswith("-bf16")
        if self.bfloat16:
            check_bfloat16()
        self.settings: dict[str, Any] = {
            "precision": "bfloat16 by torch.autocast" if self.bfloat16 else "float32",
            "threads": torch.get_num_threads(),
            "memory_format": "channels_last",
            "before": "torch.from_numpy, BGR to RGB, (x - mean) / std",
            "behind": "argmax over logits of full size",
        }
        if variant.startswith("compile"):
            inductor.freezing = True
            self.net = torch.compile(self.net)
            self.settings |= {"torch.compile": "default mode", "torch._inductor.config.freezing": True}

    def infer(self, frame: Any, stages: Any) -> Any:
        with torch.inference_mode():
            image = torch.from_numpy(frame).flip(2).permute(2, 0, 1).unsqueeze(0)
            image = (image.to(torch.float32, memory_format=torch.channels_last) - self.mean) / self.std
            stages.mark("preprocess")
            with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
                logits = self.net(image)
            stages.mark("inference")
            class_map = logits.argmax(1)[0].to(torch.uint8).numpy()
        stages.mark("postprocess")
        return np.ascontiguousarray(class_map)


def open_peer(variant: str, given: Path, made: Path, threads: int) -> PyTorch:
    """`eager` or `compile`, or one of them with `-bf16` behind."""
    return PyTorch(variant, given, made, threads)
