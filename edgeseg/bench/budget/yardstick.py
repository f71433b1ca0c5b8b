"""What accuracy is measured by: labels, or without them the answers of the best network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import msgspec
import numpy as np
import numpy.typing as npt

from edgeseg.backends import Session
from edgeseg.bench.budget.report import Accuracy, Budget, Design
from edgeseg.bench.budget.space import Network, by_cards, shipped_miou
from edgeseg.bench.budget.workshop import Workshop
from edgeseg.bench.stages import FramePath
from edgeseg.build.calibration import Calibration
from edgeseg.build.candidates import Candidate
from edgeseg.build.gate import GateFrames, gate_frames
from edgeseg.build.recipe import BuildRecipe
from edgeseg.card import Card
from edgeseg.data.calibration import open_frames
from edgeseg.data.labelled import open_validation
from edgeseg.data.uri import demo_video
from edgeseg.errors import MissingDependency
from edgeseg.evaluate import ConfusionMatrix, evaluate_session
from edgeseg.graph.shipped import measured_sizes

__all__ = ["Yardstick", "check_sources", "open_yardstick"]

UInt8 = npt.NDArray[np.uint8]
#: What is judged on where neither frames nor labels are given: the demo video, else a rendered street.
DEMO, RENDERED = "demo://bikes", "synthetic://?width=640&height=480&frames=40"
#: Frames to choose by at most, with labels and without.
LABELLED, PLAIN = 120, 40
#: Different frames that engines are timed on, held in memory.
TIMED = 32
CHOSEN_ON_THE_GATE = (
    "The engine was chosen, and is gated, on the same labelled frames: its mIoU is favoured a little. Frames of "
    "another day tell: edgeseg eval ENGINE --data DIR"
)
ON_DEMO = (
    "Without frames of yours, the demo video stands in for them. Give some of your camera: --frames SOURCE, or with "
    "labels --data DIR"
)
ON_RENDERED = (
    "Without frames of yours, rendered ones stand in for them, which say little. Give some of your camera: --frames "
    "SOURCE, or with labels --data DIR"
)


@dataclass(frozen=True)
class _Answered:
    """Frames with the answers of a reference, as labels."""

    frames: GateFrames
    maps: tuple[UInt8, ...]

    def __iter__(self) -> Iterator[tuple[UInt8, UInt8]]:
        return zip(self.frames.frames(), self.maps, strict=True)

    def __len__(self) -> int:
        return len(self.maps)


@dataclass(frozen=True)
class Yardstick:
    """Scores sessions.

    Attributes:
        facts: What the figure is.
        frames: That it is measured on, each with its label or the reference's answer; None where only cards tell.
        timed: A few of them, as the camera gives them.
        networks: Have the cards.
        recipe: Of the builds that follow: it gates on the same source.
        warnings: What is to be said of it.
    """

    facts: Accuracy
    frames: GateFrames | _Answered | None
    timed: tuple[UInt8, ...]
    networks: tuple[Network, ...]
    recipe: BuildRecipe
    warnings: tuple[str, ...] = ()

    def score(self, session: Session) -> ConfusionMatrix:
        """An engine's answers against the labels, or the reference's answers."""
        pairs = self.frames.labelled if isinstance(self.frames, GateFrames) else self.frames
        return evaluate_session(session, pairs or ())

    def accuracy(self, matrix: ConfusionMatrix, design: Design) -> float:
        """What that comes to, 0 to 1."""
        if self.facts.kind == "shipped":
            return self.shipped(design) or 0.0
        return matrix.miou() if self.facts.kind == "labels" else matrix.pixel_accuracy()

    def shipped(self, design: Design) -> float | None:
        """What the model's card tells of a design."""
        card = next(network.card for network in self.networks if network.model == design.model)
        return shipped_miou(card, design)


def open_yardstick(
    workshop: Workshop,
    networks: tuple[Network, ...],
    floats: Candidate,
    calibrations: Sequence[Calibration],
    budget: Budget,
) -> Yardstick:
    """What all are measured by.

    Args:
        workshop: Builds the reference, where there are no labels.
        networks: All that are searched; the most accurate is the reference.
        floats: How that is run, in float32.
        calibrations: What INT8 was calibrated on; none of it is judged on.
        budget: Says what is searched.

    Raises:
        UsageError, SourceLost: There are no such frames.
    """
    recipe, warnings = _with_frames(workshop.recipe)
    most = LABELLED if recipe.data else PLAIN
    limited = msgspec.structs.replace(recipe, gate_frames=min(recipe.gate_frames or most, most))
    if not (recipe.data or recipe.frames or recipe.calib):
        limited = msgspec.structs.replace(limited, frames=RENDERED)
    frames = gate_frames(limited, networks[0].card, _together(calibrations), shipped=False)
    timed = tuple(islice(frames.frames(), TIMED))
    warnings = (*warnings, *frames.warnings)
    if recipe.data:
        told = Accuracy(kind="labels", frames=len(frames), source=recipe.data)
        return Yardstick(told, frames, timed, networks, recipe, (*warnings, CHOSEN_ON_THE_GATE))
    if by_cards(networks, budget, recipe):
        return Yardstick(_as_shipped(networks), None, timed, networks, recipe, warnings)
    best = max(networks, key=lambda one: (_release_miou(one), one.macs))
    source = limited.frames or recipe.calib
    told = Accuracy(kind="agreement", frames=len(frames), source=source, reference=best.model, reference_hw=best.own_hw)
    answered = _Answered(frames, tuple(_answers(workshop, best, floats, frames)))
    return Yardstick(told, answered, timed, networks, recipe, warnings)


def check_sources(recipe: BuildRecipe, card: Card) -> None:
    """Refuse sources of frames that are none, before anything is measured.

    Raises:
        UsageError, MissingDependency: As `open_validation` and `open_frames` do.
    """
    if recipe.data:
        open_validation(recipe.data, card.num_classes)
    for source in filter(None, (recipe.frames, recipe.calib)):
        open_frames(source, limit=1)


def _with_frames(recipe: BuildRecipe) -> tuple[BuildRecipe, tuple[str, ...]]:
    """The recipe with the demo video where it names no frames and that is at hand, and what is to be said of it."""
    if recipe.data or recipe.frames or recipe.calib:
        return recipe, ()
    try:
        demo_video(DEMO.partition("://")[2])
    except MissingDependency:
        return recipe, (ON_RENDERED,)
    return msgspec.structs.replace(recipe, frames=DEMO), (ON_DEMO,)


def _together(calibrations: Sequence[Calibration]) -> Calibration:
    """Frames that any of the networks was calibrated on, and those that the first one holds out."""
    keys = (key for one in calibrations if one.ranges is not None for key in one.ranges.frame_keys)
    chosen_by = tuple(dict.fromkeys(keys))
    return Calibration(held_out=calibrations[0].held_out if calibrations else None, chosen_by=chosen_by)


def _as_shipped(networks: Sequence[Network]) -> Accuracy:
    """What the cards' figures are."""
    told = [sizes for network in networks if (sizes := measured_sizes(network.card)) is not None]
    source = " and ".join(dict.fromkeys(sizes.data for sizes in told))
    return Accuracy(kind="shipped", frames=max(sizes.frames for sizes in told), source=source)


def _release_miou(network: Network) -> float:
    told = network.card.measured.get("release", {}).get("gate", {}).get("float_miou")
    return float(told or 0.0)


def _answers(workshop: Workshop, network: Network, floats: Candidate, frames: GateFrames) -> Iterator[UInt8]:
    """What a network answers in float32 at its own size, or that of the recipe, to each frame, at the frame's size."""
    with floats.backend.load(workshop.build(network.model, network.own_hw, "full", floats).engine) as session:
        path = FramePath(session)
        for frame in frames.frames():
            path.run(frame)
            yield path.class_map.copy()
