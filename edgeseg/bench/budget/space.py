"""What is searched: sizes, tails and precisions of the networks, the cheapest first."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from edgeseg.bench.budget.report import Budget, Design, FrontPoint, NotMeasured
from edgeseg.build.candidates import Candidate
from edgeseg.build.recipe import BuildRecipe
from edgeseg.card import Card, Dialect, Precision, Upsample, tail_size
from edgeseg.errors import UsageError
from edgeseg.graph.shipped import measured_sizes

__all__ = [
    "Network",
    "by_cards",
    "check_cards",
    "designs",
    "is_dearer",
    "not_near",
    "not_worth",
    "shipped_miou",
    "sizes_about",
]

#: Of the sides of a model's own size.
SCALES = (1 / 2, 2 / 3, 5 / 6, 1.0, 4 / 3)
#: Sides are multiples of it, but those of a model's own size. (The networks' coarsest maps are at 1/32; those that are
#: aligned by stride, as the shipped ones, need no more than that a frame halves evenly a few times.)
GRANULE, LEAST_SIDE = 8, 32
#: The cheapest first.
TAILS: tuple[Upsample, ...] = ("none", "half", "full")
#: Below the front by more than this share, another tail brings no engine onto it. (With the shipped models, full and
#: half are 0.2 points of mIoU apart.)
NEAR = 0.01


@dataclass(frozen=True)
class Network:
    """A model that can be built at several sizes.

    Attributes:
        card: Of its float graph, prepared at its own size.
        logits_hw: Height and width of its logits there.
        macs: Multiply-adds there.
        any_size: Its graph takes others.
    """

    model: str
    card: Card
    logits_hw: tuple[int, int]
    macs: int
    any_size: bool

    @property
    def own_hw(self) -> tuple[int, int]:
        """Its own size."""
        return self.card.fixed_size_hw


def sizes_about(own_hw: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """A model's own size, and a few smaller and larger ones of the same aspect, or nearly, rising."""
    height, width = own_hw
    common = math.gcd(height, width)
    unit = (GRANULE * height // common, GRANULE * width // common)
    exact = 4 * unit[0] <= height
    found = {own_hw}
    for scale in SCALES:
        if scale != 1.0:
            times = round(scale * height / unit[0])
            near = (times * unit[0], times * unit[1]) if exact else _rounded(scale * height, scale * width)
            found.add(near)
    return tuple(sorted(size for size in found if min(size) >= LEAST_SIDE or size == own_hw))


def _rounded(height: float, width: float) -> tuple[int, int]:
    return GRANULE * round(height / GRANULE), GRANULE * round(width / GRANULE)


def designs(
    networks: Sequence[Network], libraries: Mapping[Precision, Candidate], budget: Budget, recipe: BuildRecipe
) -> list[Design]:
    """All that are searched, by rising multiply-adds; each network and size together, its cheapest tail first.

    Where the models' cards are gone by, only those whose mIoU they tell, without those that a cheaper one beats.

    Args:
        networks: With the size of the recipe, where that is fixed.
        libraries: What each precision is run by.
        budget: Says what is fixed.
        recipe: Has the values of that.
    """
    found = [
        Design(
            model=network.model,
            size_hw=size,
            upsample=tail,
            precision=precision,
            dialect=candidate.dialect,
            backend=candidate.backend.name,
            macs=round(network.macs * size[0] * size[1] / (network.own_hw[0] * network.own_hw[1])),
        )
        for network in networks
        for size in _sizes(network, budget)
        for precision, candidate in libraries.items()
        for tail in _tails(network, budget, recipe)
    ]
    if by_cards(networks, budget, recipe):
        cards = {network.model: network.card for network in networks}
        told = {one: miou for one in found if (miou := shipped_miou(cards[one.model], one)) is not None}
        beaten = {
            one for one, other in itertools.permutations(told, 2) if is_dearer(one, other) and told[other] >= told[one]
        }
        found = [one for one in told if one not in beaten]
    return sorted(found, key=lambda one: (one.macs, one.model, one.precision, TAILS.index(one.upsample)))


def _sizes(network: Network, budget: Budget) -> Iterable[tuple[int, int]]:
    if "imgsz" in budget.fixed or not network.any_size:
        return (network.own_hw,)
    return sizes_about(network.own_hw)


def _tails(network: Network, budget: Budget, recipe: BuildRecipe) -> Iterable[Upsample]:
    """Those that pick classes at different sizes; of equals the default before the others."""
    if "upsample" in budget.fixed:
        return (recipe.upsample,)
    by_size: dict[tuple[int, int], Upsample] = {}
    for tail in sorted(TAILS, key=lambda tail: tail != recipe.upsample):
        by_size.setdefault(tail_size(network.own_hw, network.logits_hw, tail), tail)
    return sorted(by_size.values(), key=TAILS.index)


def is_dearer(design: Design, other: Design) -> bool:
    """Whether it computes all that the other does, and more: of the same network and precision, larger, or grown
    larger before its classes are picked.
    """
    alike = (design.model, design.precision, design.dialect, design.backend) == (
        other.model, other.precision, other.dialect, other.backend,
    )  # fmt: skip
    larger = design.size_hw[0] >= other.size_hw[0] and design.size_hw[1] >= other.size_hw[1]
    return alike and larger and TAILS.index(design.upsample) >= TAILS.index(other.upsample)


def not_worth(design: Design, dropped: Sequence[NotMeasured]) -> str:
    """Why a design need not be built; empty where it is to be."""
    slower = next((one for one in dropped if one.least_ms is not None and is_dearer(design, one)), None)
    if slower is None:
        return ""
    return f"{slower.name} computes less, and took {slower.least_ms:.1f} ms at best"


def by_cards(networks: Sequence[Network], budget: Budget, recipe: BuildRecipe) -> bool:
    """Whether accuracy is what the models' cards tell: there are no labels, and each tells of what is searched."""
    return not recipe.data and all(
        any(
            _told(network.card, size, tail, "float") is not None
            for size in _sizes(network, budget)
            for tail in _tails(network, budget, recipe)
        )
        for network in networks
    )


def check_cards(networks: Sequence[Network], budget: Budget, recipe: BuildRecipe) -> None:
    """Refuse to ask for an mIoU that is neither measured nor told.

    Raises:
        UsageError: There are no labels, and no card tells it of a size and tail that is searched.
    """
    if budget.min_miou is None or recipe.data or by_cards(networks, budget, recipe):
        return
    sizes = (measured_sizes(network.card) for network in networks)
    known = dict.fromkeys("{}x{}".format(*row.size_hw) for told in sizes if told is not None for row in told.rows)
    without = f" Without them it is known at {', '.join(known)}." if known else ""
    raise UsageError(
        "--min-miou can't be judged: mIoU at this size was never measured.",
        hint=f"Give labelled frames: --data DIR.{without}",
    )


def not_near(design: Design, points: Sequence[FrontPoint]) -> str:
    """Why a tail need not be tried: with another one, the same engine was measured, and is far below the front."""
    sibling = next((one for one in points if _but_tail(one) == _but_tail(design)), None)
    if sibling is None:
        return ""
    best = max(one.accuracy for one in points if one.p90_ms <= sibling.p90_ms)
    if best - sibling.accuracy <= NEAR:
        return ""
    return f"with --upsample {sibling.upsample} it is {100 * (best - sibling.accuracy):.1f} points below the front"


def _but_tail(design: Design) -> tuple[object, ...]:
    return design.model, design.size_hw, design.precision


def shipped_miou(card: Card, design: Design) -> float | None:
    """mIoU of a design by its model's card, 0 to 1; None where that tells of other sizes, tails or dialects."""
    return _told(card, design.size_hw, design.upsample, design.dialect)


def _told(card: Card, size_hw: tuple[int, int], upsample: Upsample, dialect: Dialect) -> float | None:
    sizes = measured_sizes(card)
    return None if sizes is None else sizes.miou(size_hw, upsample, dialect)
