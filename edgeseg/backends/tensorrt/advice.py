"""What to do about what TensorRT's parser and builder say."""

from __future__ import annotations

import re

__all__ = ["SMALLER", "advice"]

SMALLER = "Give it less to hold: --workspace MIB, a smaller --imgsz, or more swap."
#: What the library says, and what helps.
ADVICE: tuple[tuple[str, str], ...] = (
    (
        r"no importer registered|plugin not found|unsupported operator",
        "Express that operator by others when the network is exported; edgeseg inspect lists a graph's operators.",
    ),
    (r"zero.?point (is|must)", "TensorRT takes symmetric INT8 alone, with zero points of 0: the dialect s8-sym."),
    (r"int32.*dequantize|dequantize.*int32", "Biases have to stay in float, as the dialect s8-sym leaves them."),
    (r"scale coefficients must all be positive", "A range is empty or no number: calibrate on frames with content."),
    (r"number of scales", "Weights have one scale per output channel: quantize anew with edgeseg quantize."),
    (r"uint8", "Bytes may enter and leave through a Cast alone: give the model to edgeseg build, which does so."),
    (r"out.?of.?memory|cudaErrorMemoryAllocation|insufficient memory", SMALLER),
    (
        r"libnvinfer_lean",
        "Engines for later versions need a part of the library that is missing: leave out "
        "--version-compatible, or install the lean runtime.",
    ),
    (r"cudaError.*\b35\b|insufficient driver|no CUDA-capable device", "It needs an NVIDIA GPU and its driver."),
    (
        r"optimization profile",
        "The graph has free sizes. Give them: --imgsz HxW, and --batch where frames are several.",
    ),
)


def advice(said: str) -> str:
    """What helps against an error of the library; where nothing is known, how to find out."""
    for pattern, helps in ADVICE:
        if re.search(pattern, said, re.IGNORECASE | re.DOTALL):
            return helps
    return "Try another backend (edgeseg doctor lists them), or change that part of the model."
