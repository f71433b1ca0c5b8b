"""What a record says of an engine's roofline."""

from __future__ import annotations

from typing import Literal

import msgspec

from edgeseg.card import Precision

__all__ = ["COLUMNS", "Ceilings", "Layer", "Roofline"]

Limit = Literal["compute", "memory"]


class Ceilings(msgspec.Struct, frozen=True, kw_only=True):
    """The best that a library reaches on this machine.

    Attributes:
        library: Its name and version.
        device: Name of the GPU; empty where processors compute.
        threads: So many of these; 0 on a GPU.
        macs_per_s: Multiply-adds a second by precision, of networks that do nothing else.
        bytes_per_s: Bytes read and written a second in a copy, by the bytes that it touches: caches hold few of them,
            and the most are far beyond all caches.
        others: Cores that other processes kept busy meanwhile; the ceilings are too low where they did.
    """

    library: str
    threads: int
    macs_per_s: dict[Precision, float]
    bytes_per_s: dict[int, float]
    others: float
    device: str = ""

    @property
    def memory(self) -> float:
        """Bytes a second far beyond the caches."""
        return self.bytes_per_s[max(self.bytes_per_s)]

    @property
    def caches(self) -> float:
        """Bytes a second at best."""
        return max(self.bytes_per_s.values())

    def bandwidth(self, size: int) -> float:
        """The most bytes a second for a layer of `size` bytes: the best of all copies of as many and more."""
        return max((rate for touched, rate in self.bytes_per_s.items() if touched >= size), default=self.memory)

    def bound_ms(self, macs: int, size: int, precision: Precision) -> tuple[float, Limit]:
        """The least milliseconds for so many multiply-adds and bytes, and which of the two it is."""
        by_compute, by_memory = macs / self.macs_per_s[precision], size / self.bandwidth(size)
        return (1e3 * by_compute, "compute") if by_compute > by_memory else (1e3 * by_memory, "memory")


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """One layer of an engine, or a step of its library's own that is none of the graph's.

    Attributes:
        name: Of the graph's operator, or of the library's step.
        op: Operator and kernel, or the library's word for its own step.
        precision: By the graph; empty of the library's own steps.
        ran_in: By the library; empty where not told.
        macs: Multiply-adds.
        bytes: From memory and to it, at least.
        bound_ms: What the ceilings allow, 0 for what the graph does not ask for.
        limit: Which ceiling that is.
        measured_ms: By the library's own profiler in a run apart; None where not told.
        share: Of the ceiling that is reached. Above 1 the ceiling is not the best that there is.
    """

    name: str
    op: str
    precision: str
    ran_in: str
    macs: int
    bytes: int
    bound_ms: float
    limit: Limit
    measured_ms: float | None
    share: float | None

    @property
    def lost_ms(self) -> float:
        """Beyond what the ceilings allow."""
        return (self.measured_ms or 0.0) - self.bound_ms


#: What the samples hold of every layer, a column each.
COLUMNS = tuple(field for field in Layer.__struct_fields__ if field != "share")


class Roofline(msgspec.Struct, frozen=True, kw_only=True):
    """How near an engine comes to what this machine can do.

    Attributes:
        ceilings: Of its library here.
        macs, bytes: Of one inference, all layers together.
        bound_ms: Sum of what the ceilings allow each layer.
        inference_ms: Median of the inferences that were measured.
        share: The first of these over the second.
        layers: How many.
        above: So many of them are more than a twentieth faster than their ceilings, which are not the best then.
        held_back_by: Those that lose most against their ceilings, the worst first; all are among the samples.
    """

    ceilings: Ceilings
    macs: int
    bytes: int
    bound_ms: float
    inference_ms: float
    share: float
    layers: int
    above: int
    held_back_by: tuple[Layer, ...]
