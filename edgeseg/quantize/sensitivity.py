"""Sensitivity: which blocks of a graph lose most in eight bits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import msgspec
import onnx_ir as ir

from edgeseg.card import Dialect, Int8Recipe
from edgeseg.quantize.blocks import Block, find_blocks
from edgeseg.quantize.dialects import quantize_onnx
from edgeseg.quantize.probe import Probe, ProbeScore
from edgeseg.quantize.ranges import Ranges

__all__ = ["BlockSensitivity", "Sensitivity", "Variants", "keep_also", "measure_sensitivity", "rank_blocks"]

OnBlock = Callable[[int, int], None]


class BlockSensitivity(msgspec.Struct, frozen=True, kw_only=True):
    """What eight bits do to one block.

    Attributes:
        alone: The graph with this block in eight bits and all others in float.
        left_out: The graph in eight bits with this block in float.
    """

    block: Block
    alone: ProbeScore
    left_out: ProbeScore


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
    found = []
    all_int8 = probe.score(variants.without(()))
    on_block(1, total)
    for index, block in enumerate(variants.blocks):
        alone = probe.score(variants.alone(block))
        on_block(2 * index + 2, total)
        left_out = probe.score(variants.without((block,)))
        on_block(2 * index + 3, total)
        found.append(BlockSensitivity(block=block, alone=alone, left_out=left_out))
    return Sensitivity(all_int8=all_int8, blocks=tuple(sorted(found, key=lambda one: _noise_db(one.alone))))


def rank_blocks(variants: Variants, probe: Probe, on_block: OnBlock = lambda *_: None) -> list[Block]:
    """The blocks, the one first that alone in eight bits disturbs the logits most.

    The cheap stand-in for `measure_sensitivity`: half the graphs, and few frames do.
    """
    noise = {}
    for index, block in enumerate(variants.blocks):
        noise[block.name] = _noise_db(probe.score(variants.alone(block)))
        on_block(index + 1, len(variants.blocks))
    return sorted(variants.blocks, key=lambda block: noise[block.name])


def _noise_db(score: ProbeScore) -> float:
    return math.inf if score.snr_db is None else score.snr_db
