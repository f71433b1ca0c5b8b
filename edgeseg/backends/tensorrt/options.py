"""How TensorRT builds and runs, beyond what stands in the graph."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

__all__ = ["TensorRtOptions"]

Frames = Annotated[int, msgspec.Meta(ge=1, le=1024)]


class TensorRtOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How TensorRT builds and runs, beyond what stands in the graph. None leaves a choice to the library.

    Attributes:
        workspace_mib: Memory that a layer may use while it runs.
        optimization_level: 0 to 5, how long the build searches.
        hardware: `ampere-plus` for an engine that all GPUs from Ampere on can load, `same-compute-capability` for those
            of this one's; slower.
        any_version: Later versions of the library can load the engine; slower.
        dla_core: The deep learning accelerator to use, with the GPU for what it can't do.
        batch: Frames at once, the fewest, usual and most that one engine takes; None is one frame. Engines of other
            libraries that are compared with it take as many as are usual.
        sparse: Use that weights are 2:4 sparse, where they are.
        timeout_s: Seconds after which a build is given up.
        memory: Whether frames and class maps lie where the GPU uses them (`mapped`) or are copied (`copied`); `auto`
            maps where the GPU shares the processor's memory.
        cuda_graph: Start all of a frame's work at once, where that can be captured.
        spin: Wait for the GPU without sleeping: a little sooner, for one core.
    """

    workspace_mib: Annotated[int, msgspec.Meta(ge=1)] | None = None
    optimization_level: Annotated[int, msgspec.Meta(ge=0, le=5)] | None = None
    hardware: Literal["none", "ampere-plus", "same-compute-capability"] = "none"
    any_version: bool = False
    dla_core: Annotated[int, msgspec.Meta(ge=0, le=3)] | None = None
    batch: tuple[Frames, Frames, Frames] | None = None
    sparse: bool = False
    timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 3600.0
    memory: Literal["auto", "mapped", "copied"] = "auto"
    cuda_graph: bool = True
    spin: bool = False

    def __post_init__(self) -> None:
        if self.batch is not None and list(self.batch) != sorted(self.batch):
            raise ValueError(f"batch is {self.batch}; the fewest, usual and most frames were expected, in that order")
        if self.batch is not None and self.dla_core is not None:
            raise ValueError("batch and dla_core were given; an accelerator takes one frame at a time")
