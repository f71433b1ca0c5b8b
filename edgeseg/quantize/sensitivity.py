"""Sensitivity: which blocks of a graph lose most in eight bits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import msgspec
import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseg.card import Dialect, Int8Recipe
from edgeseg.quantize.blocks import Block, find_blocks
from edgeseg.quantize.dialects import quantize_onnx
from edgeseg.quantize.probe import Probe, ProbeScore
from edgeseg.quantize.ranges import Ranges

__all__ = [
    "BlockSensitivity",
    "OnBlock",
    "Sensitivity",
    "Variants",
    "comparable_db",
    "keep_also",
    "measure_sensitivity",
    "quick_frames",
    "rank_blocks",
    "rank_correlation",
    "score_alone",
]

OnBlock = Callable[[int, int], None]
#: Frames that do for a ranking by the noise of each block alone.
QUICK_FRAMES = 4


class BlockSensitivity(msgspec.Struct, frozen=True, kw_only=True):
    """What eight bits do to one block.

    Attributes:
        alone: The graph with this block in eight bits and all others in float.
        left_out: The graph in eight bits with this block in float.
        quick_db: Signal-to-noise of `alone` on a few of the frames, decibels, as in `ProbeScore`.
    """

    block: Block
    alone: ProbeScore
    left_out: ProbeScore
    quick_db: float | None


class Sensitivity(msgspec.Struct, frozen=True, kw_only=True):
    """All blocks, those that lose most alone first; `all_int8` is the graph with all of them in eight bits."""

    all_int8: ProbeScore
    blocks: tuple[BlockSensitivity, ...]


class Variants:
    """Q/DQ graphs of one prepared graph that differ in what stays in float.

    Attributes:
        blocks: Of the graph, without those that the recipe keeps in float.
    """

    def __init__(self, prepared: ir.Model, ranges: Ranges, dialect: Dialect, recipe: Int8Recipe) -> None:
        self._prepared, self._ranges, self._dialect, self._recipe = prepared, ranges, dialect, recipe
        self._nodes = frozenset(node.name or "" for node in prepared.graph)
        kept = set(recipe.keep_float)
        self.blocks = [block for block in find_blocks(prepared) if not kept.issuperset(block.weighted)]

    def alone(self, block: Block) -> ir.Model:
        """That block in eight bits, everything else in float."""
        return self._quantize(self._nodes - set(block.nodes))

    def without(self, blocks: Iterable[Block]) -> ir.Model:
        """Everything in eight bits but these blocks and what the recipe keeps."""
        return self._quantize({name for block in blocks for name in block.nodes})

    def _quantize(self, kept: Iterable[str]) -> ir.Model:
        recipe = keep_also(self._recipe, kept)
        return quantize_onnx(self._prepared, self._ranges, dialect=self._dialect, recipe=recipe)


def keep_also(recipe: Int8Recipe, nodes: Iterable[str]) -> Int8Recipe:
    """A recipe that keeps further nodes in float."""
    return msgspec.structs.replace(recipe, keep_float=tuple(sorted({*recipe.keep_float, *nodes})))


def measure_sensitivity(variants: Variants, probe: Probe, on_block: OnBlock = lambda *_: None) -> Sensitivity:
    """Quantize each block alone, and leave each alone in float.

    Args:
        variants: Of one graph and dialect.
        probe: Frames to compare on.
        on_block: Told how many graphs are done, and of how many, after each.
    """
    total = 2 * len(variants.blocks) + 1
    few = quick_frames(len(probe.frames))
    found = []
    all_int8 = probe.score(variants.without(()))
    on_block(1, total)
    for index, block in enumerate(variants.blocks):
        answers = probe.answer(variants.alone(block))
        on_block(2 * index + 2, total)
        left_out = probe.score(variants.without((block,)))
        on_block(2 * index + 3, total)
        alone, quick_db = probe.compare(answers), probe.snr_db(answers, few)
        found.append(BlockSensitivity(block=block, alone=alone, left_out=left_out, quick_db=quick_db))
    return Sensitivity(all_int8=all_int8, blocks=tuple(sorted(found, key=lambda one: comparable_db(one.alone.snr_db))))


def rank_blocks(variants: Variants, probe: Probe, on_block: OnBlock = lambda *_: None) -> list[Block]:
    """The blocks, the one first that alone in eight bits disturbs the logits most.

    The cheap stand-in for `measure_sensitivity`: half the graphs, and few frames do.
    """
    return [block for block, _ in score_alone(variants, probe, on_block)]


def score_alone(
    variants: Variants, probe: Probe, on_block: OnBlock = lambda *_: None
) -> list[tuple[Block, ProbeScore]]:
    """Each block alone in eight bits, the one first that disturbs the logits most."""
    found = []
    for index, block in enumerate(variants.blocks):
        found.append((block, probe.score(variants.alone(block))))
        on_block(index + 1, len(variants.blocks))
    return sorted(found, key=lambda pair: comparable_db(pair[1].snr_db))


def quick_frames(count: int) -> Sequence[int]:
    """Indices of the frames among `count` that a quick ranking looks at, evenly spaced."""
    return range(0, count, max(1, count // QUICK_FRAMES))[:QUICK_FRAMES]


def comparable_db(snr_db: float | None) -> float:
    """A signal-to-noise ratio to compare by, infinite where nothing differs, minus infinity where nothing is left."""
    return math.inf if snr_db is None else snr_db


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's: 1 where both rank alike, -1 where one is the other reversed; ties share their mean rank.

    Args:
        first, second: Of the same things; may be infinite.

    Returns:
        None where no rank can be told: fewer than two things, all equal, or not a number among them.
    """
    if len(first) < 2 or np.isnan(first).any() or np.isnan(second).any():
        return None
    a, b = _ranks(first), _ranks(second)
    a, b = a - a.mean(), b - b.mean()
    spread = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / spread if spread else None


def _ranks(values: Sequence[float]) -> npt.NDArray[np.float64]:
    _, place, count = np.unique(np.asarray(values, np.float64), return_inverse=True, return_counts=True)
    ranks: npt.NDArray[np.float64] = (np.cumsum(count) - (count - 1) / 2)[place]
    return ranks
