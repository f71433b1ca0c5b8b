"""The line by which TensorRT's own tool does what a backend did."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from edgeseg.backends.tensorrt.options import TensorRtOptions

__all__ = ["trtexec_line"]


def trtexec_line(
    graph: str,
    engine: str,
    options: TensorRtOptions,
    *,
    tool: str = "trtexec",
    typed: bool,
    int8: bool = False,
    half: bool = False,
    cache: str = "",
    frame: tuple[int, ...] = (),
) -> str:
    """A command that builds the same engine.

    Args:
        graph: ONNX file.
        engine: File to write.
        options: As it was built.
        tool: `trtexec`, or `tensorrt_rtx` of TensorRT-RTX.
        typed: Types stand in the graph, and the precision flags are left out.
        int8, half: Precisions of a network without types.
        cache: Calibration cache of implicit INT8.
        frame: Height, width and channels of a frame, where the batch is free.
    """
    return shlex.join(
        [
            tool,
            f"--onnx={graph}",
            f"--saveEngine={engine}",
            *_flags(options, typed, int8, half, cache),
            *_shapes(options, frame),
        ]
    )


def _flags(options: TensorRtOptions, typed: bool, int8: bool, half: bool, cache: str) -> Iterator[str]:
    if typed:
        yield "--stronglyTyped"
    else:
        yield from (flag for flag, wanted in (("--int8", int8), ("--fp16", half)) if wanted)
    if cache:
        yield f"--calib={cache}"
    if options.workspace_mib is not None:
        yield f"--memPoolSize=workspace:{options.workspace_mib}M"
    if options.optimization_level is not None:
        yield f"--builderOptimizationLevel={options.optimization_level}"
    if options.hardware != "none":
        words = {"ampere-plus": "ampere+", "same-compute-capability": "sameComputeCapability"}
        yield f"--hardwareCompatibilityLevel={words[options.hardware]}"
    if options.any_version:
        yield "--versionCompatible"
    if options.dla_core is not None:
        yield from (f"--useDLACore={options.dla_core}", "--allowGPUFallback")
    if options.sparse:
        yield "--sparsity=enable"
    yield "--profilingVerbosity=detailed"


def _shapes(options: TensorRtOptions, frame: tuple[int, ...]) -> Iterator[str]:
    for word, count in zip(("min", "opt", "max"), options.batch or (), strict=False):
        yield f"--{word}Shapes=frame:{'x'.join(map(str, (count, *frame)))}"
