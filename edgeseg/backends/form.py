"""The graph that an engine is built from, as its library wants it."""

from __future__ import annotations

import msgspec

from edgeseg.card import Dialect, Head, TailLayout

__all__ = ["GraphForm"]


class GraphForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a graph looks like. Two backends that want the same form are given the same graph.

    Attributes:
        dialect: Form of INT8, or `float`.
        head: How frames enter it.
        tail: How class maps leave it.
        half: What stays in float is typed FP16 in the graph.
        spare_depthwise: Depthwise convolutions stay in float too.
        cache: The graph is in float, and INT8 stands in a calibration cache beside it.
        batch: Frames at once; of a free one, as many as are usual.
        free_batch: Any number can be given.
    """

    dialect: Dialect
    head: Head
    tail: TailLayout
    half: bool = False
    spare_depthwise: bool = False
    cache: bool = False
    batch: int = 1
    free_batch: bool = False

    @property
    def name(self) -> str:
        """Unique among forms, and fit for a file's name."""
        more = {"half": self.half, "spare-depthwise": self.spare_depthwise, "cache": self.cache}
        more |= {f"batch-{self.batch}": self.batch > 1, "free": self.free_batch}
        words = (self.dialect, self.head, self.tail, *(word for word, given in more.items() if given))
        return "-".join(words).replace("_", "-")
