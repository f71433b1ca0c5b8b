"""The repair loop: an INT8 graph that fails the gate is changed, remedy by remedy, until an engine of it passes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from edgeseg.build.gate import excess
from edgeseg.build.graph_facts import Quantization
from edgeseg.build.recipe import BuildRecipe
from edgeseg.build.remedies import Proposal, Remedies
from edgeseg.build.report import CalibratorRow, Gate, RepairStep
from edgeseg.build.trial import Judged
from edgeseg.device.cuda import CudaError
from edgeseg.errors import EngineMismatch, ModelFileError
from edgeseg.quantize.blocks import Block

__all__ = ["STAGES", "Repair", "fewest"]

logger = logging.getLogger(__name__)
#: Calibrator, equalization, bias correction, ranking, blocks.
STAGES = 5
#: Questions to the gate after which no more blocks are sought that need not stay in float.
PATIENCE = 20


@dataclass
class Repair:
    """One run of the loop, for one dialect on one backend.

    Attributes:
        best: What passes, or comes nearest to it.
        remedies: For its graph and dialect.
        judge: Builds an engine of a quantization and gates it.
        recipe: Limits of the gate.
        steps: What was tried, in order.
        calibrators: What was tried among them.
        stage: Which of the `STAGES` of the loop is under way, from 0 on.
    """

    best: Judged
    remedies: Remedies
    judge: Callable[[Quantization], Judged]
    recipe: BuildRecipe
    steps: list[RepairStep] = field(default_factory=list)
    calibrators: list[CalibratorRow] = field(default_factory=list)
    stage: int = 0

    def run(self) -> None:
        """Try one remedy after the other until the gate passes; what does not help is taken back."""
        recipe = self._quantization.recipe
        asked = recipe.calibrator + (", one scale per tensor" if recipe.per_tensor else "")
        self._note("as asked", asked, self.best, None, kept=True, seconds=0.0)
        remedies: tuple[tuple[str, Callable[[Quantization], Proposal]], ...] = (
            ("calibrator", self.remedies.calibrator),
            ("equalize", self.remedies.equalization),
            ("bias correction", self.remedies.bias_correction),
        )
        for self.stage, (step, remedy) in enumerate(remedies):
            if self.best.verdict == "pass":
                return
            started = time.perf_counter()
            proposal = remedy(self._quantization)
            self.calibrators += proposal.calibrators
            if proposal.quantization is None:
                self._note(step, proposal.detail, None, None, kept=False, seconds=time.perf_counter() - started)
            else:
                self._try(step, proposal.detail, proposal.quantization, started)
        if self.best.verdict != "pass":
            self._float_blocks()

    @property
    def _quantization(self) -> Quantization:
        quantization = self.best.built.quantization
        assert quantization is not None
        return quantization

    def _float_blocks(self) -> None:
        """Blocks back to float, the most sensitive first until the gate passes, and then those alone that it takes.

        The last block of the shortest passing list is needed; it stays, and the same is asked of those before it, until
        the gate was asked `PATIENCE` times.
        """
        base, started = self._quantization, time.perf_counter()
        self.stage = STAGES - 2
        ranked = self.remedies.ranking(base)
        first = ", ".join(block.label for block in ranked[:3])
        detail = f"{len(ranked)} blocks ranked: {first} …"
        self._note("sensitivity", detail, None, None, kept=False, seconds=time.perf_counter() - started)
        self.stage = STAGES - 1
        needed: list[Block] = []
        left = ranked

        def passes(count: int) -> bool:
            return self._try_blocks(base, [*needed, *left[:count]], len(ranked))

        count, begun = fewest(passes, len(ranked) - 1), len(self.steps)
        while count and len(self.steps) - begun < PATIENCE:
            needed, left = [*needed, left[count - 1]], left[: count - 1]
            if not left or passes(0):
                return
            count = fewest(passes, len(left), sure=True)

    def _try_blocks(self, base: Quantization, blocks: list[Block], of: int) -> bool:
        started = time.perf_counter()
        names = ", ".join(block.label for block in blocks[:3]) + (" …" if len(blocks) > 3 else "")
        detail = f"{len(blocks)} of {of}: {names}"
        return self._try("float blocks", detail, self.remedies.float_blocks(base, blocks), started)

    def _try(self, step: str, detail: str, proposed: Quantization, started: float) -> bool:
        """Build and gate; whether it passes."""
        before = self.best
        try:
            judged = self.judge(proposed)
        except (ModelFileError, EngineMismatch, CudaError) as error:
            self._note(
                step, f"{detail}: {error.message}", None, None, kept=False, seconds=time.perf_counter() - started
            )
            return False
        kept = self._is_better(judged, before)
        if kept:
            self.best = judged
        self._note(step, detail, judged, before, kept=kept, seconds=time.perf_counter() - started)
        return judged.verdict == "pass"

    def _is_better(self, judged: Judged, before: Judged) -> bool:
        """Nearer to passing; among those that pass the one with less in float."""
        if before.verdict == "pass":
            return judged.verdict == "pass" and judged.built.int8_convs > before.built.int8_convs
        return judged.verdict == "pass" or excess(judged.gate, self.recipe) < excess(before.gate, self.recipe)

    def _note(
        self, step: str, detail: str, judged: Judged | None, before: Judged | None, *, kept: bool, seconds: float
    ) -> None:
        shown = judged or self.best
        row = RepairStep(
            step=step,
            detail=detail,
            engine=f"{shown.built.candidate.backend.name} {shown.built.candidate.dialect}",
            kept=kept,
            verdict=judged.verdict if judged else None,
            reason=judged.reason if judged else "",
            gate=judged.gate if judged else None,
            gain=_gain(before.gate, judged.gate) if judged and before else None,
            excess=excess(judged.gate, self.recipe) if judged else None,
            int8_convs=shown.built.int8_convs,
            total_convs=shown.built.total_convs,
            seconds=seconds,
        )
        self.steps.append(row)
        gain = "" if row.gain is None else f"; {100 * row.gain:+.2f}, {'kept' if kept else 'taken back'}"
        logger.info("Repair, %s: %s%s%s", step, detail, row.reason and f": {row.reason}", gain)


def fewest(passes: Callable[[int], bool], most: int, *, sure: bool = False) -> int | None:
    """The smallest count from 1 to `most` that passes, by doubling and then halving; None where none does.

    Args:
        passes: Asked as seldom as possible; where a count passes, larger ones are taken to pass too.
        most: The largest count.
        sure: `most` is known to pass.
    """
    failing, passing, count = 0, most if sure else most + 1, 1
    while passing - failing > 1:
        if passes(count):
            passing = count
        else:
            failing = count
        doubled = min(2 * failing, most) if failing else 0
        count = doubled if failing < doubled < passing and passing >= most else (failing + passing) // 2
    return passing if passing <= most else None


def _gain(before: Gate, now: Gate) -> float:
    """What the gate's figure won, 0 to 1."""
    if before.drop is not None and now.drop is not None:
        return before.drop - now.drop
    return (now.agreement or 0.0) - (before.agreement or 0.0)
