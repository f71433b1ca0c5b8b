"""Passes over graphs, one per file, each changing one thing and keeping what the graph computes."""

from __future__ import annotations

from edgeseg.graph.passes.adopt_frames import AdoptFrames
from edgeseg.graph.passes.cut_tail import CutTail, Tail
from edgeseg.graph.passes.fold_batch_norm import FoldBatchNorm
from edgeseg.graph.passes.fold_by_runtime import FoldByRuntime
from edgeseg.graph.passes.fold_constants import FoldConstants
from edgeseg.graph.passes.freeze_shape import FreezeShape
from edgeseg.graph.passes.global_pool import GlobalPool
from edgeseg.graph.passes.merge_pointwise import MergePointwise
from edgeseg.graph.passes.name_nodes import NameNodes
from edgeseg.graph.passes.raise_precision import RaisePrecision
from edgeseg.graph.passes.set_opset import SetOpset

__all__ = [
    "AdoptFrames",
    "CutTail",
    "FoldBatchNorm",
    "FoldByRuntime",
    "FoldConstants",
    "FreezeShape",
    "GlobalPool",
    "MergePointwise",
    "NameNodes",
    "RaisePrecision",
    "SetOpset",
    "Tail",
]
