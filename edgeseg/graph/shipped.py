"""The models that edgeseg ships, as their files tell: what they cost, and what was measured at release."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from edgeseg.card import Card, Dialect, Upsample
from edgeseg.catalog import DEFAULT_MODEL
from edgeseg.errors import ModelFileError

__all__ = ["MeasuredSizes", "ShippedModel", "SizeRow", "describe_shipped", "measured_sizes", "name_shipped"]


class SizeRow(msgspec.Struct, frozen=True, kw_only=True):
    """mIoU by dialect, 0 to 1, at one size of the network's input and one tail."""

    size_hw: tuple[int, int]
    upsample: Upsample
    miou: dict[Dialect, float]


class MeasuredSizes(msgspec.Struct, frozen=True, kw_only=True):
    """mIoU of a shipped model at several sizes, at its labels' own resolution.

    Attributes:
        data: What it was measured on.
        frames: How many these are.
        how: In what it was computed.
    """

    data: str
    frames: int
    how: str
    rows: tuple[SizeRow, ...]

    def miou(self, size_hw: tuple[int, int], upsample: Upsample, dialect: Dialect) -> float | None:
        """Of one size, tail and dialect; None where that was not measured."""
        row = next((row for row in self.rows if (row.size_hw, row.upsample) == (size_hw, upsample)), None)
        return None if row is None else row.miou.get(dialect)


def measured_sizes(card: Card) -> MeasuredSizes | None:
    """What a card tells of other sizes; None where it tells nothing.

    Raises:
        ModelFileError: It is damaged.
    """
    told = card.measured.get("sizes")
    try:
        return None if told is None else msgspec.convert(told, MeasuredSizes)
    except msgspec.ValidationError as error:
        raise ModelFileError(
            f"The card of {card.model} tells mIoU by size in a way that can't be read: {error}."
        ) from error


class ShippedModel(msgspec.Struct, frozen=True, kw_only=True):
    """One model of the zoo. IoUs and drops are fractions of 1; what its card does not tell is None.

    Attributes:
        default: Commands take it where none is named.
        network: Name in the registry; the model may have options of its own, see `card`.
        parameters: Values in the weights, batch norms folded into them.
        size_hw: Height and width that it was trained and measured with.
        macs: Multiply-adds for one frame of that size.
        float_miou, int8_miou, drop: On labelled frames at release, of float and of INT8.
        size_bytes: Of its file.
        licence: Of the weights.
    """

    name: str
    default: bool
    network: str | None = None
    parameters: int | None = None
    size_hw: tuple[int, int] | None = None
    macs: int | None = None
    float_miou: float | None = None
    int8_miou: float | None = None
    drop: float | None = None
    size_bytes: int
    licence: str | None = None
    card: Card | None = None


def describe_shipped(models: Mapping[str, Path]) -> tuple[ShippedModel, ...]:
    """What the files of shipped models tell.

    Args:
        models: ONNX file by name.

    Raises:
        ModelFileError: One is damaged.
        ModuleNotFoundError: The packages that read ONNX files are not installed.
    """
    return tuple(_described(name, path) for name, path in models.items())


def name_shipped(models: Mapping[str, Path]) -> tuple[ShippedModel, ...]:
    """What can be told of shipped models without opening their files."""
    return tuple(
        ShippedModel(name=name, default=name == DEFAULT_MODEL, size_bytes=path.stat().st_size)
        for name, path in models.items()
    )


def _described(name: str, path: Path) -> ShippedModel:
    from edgeseg.graph.cost import count_macs, count_parameters
    from edgeseg.graph.io import graph_card, load_graph

    model = load_graph(path)
    card = graph_card(model)
    release: dict[str, Any] = card.measured.get("release", {}) if card is not None else {}
    gate: dict[str, Any] = release.get("gate", {})
    size = release.get("size_hw") or (card.size_hw if card is not None else None)
    return ShippedModel(
        name=name,
        default=name == DEFAULT_MODEL,
        network=card.network if card is not None else None,
        parameters=count_parameters(model.graph),
        size_hw=None if size is None else (size[0], size[1]),
        macs=None if size is None else count_macs(model, (size[0], size[1])),
        float_miou=gate.get("float_miou"),
        int8_miou=gate.get("miou"),
        drop=gate.get("drop"),
        size_bytes=path.stat().st_size,
        licence=card.licence.get("weights") if card is not None else None,
        card=card,
    )
