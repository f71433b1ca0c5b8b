"""A roofline in words and figures, the same on the page and in Markdown."""

from __future__ import annotations

from edgeseg.bench.roofline.structs import Ceilings, Layer, Roofline

__all__ = ["HEADS", "held_back_rows", "percent", "sentences"]

#: Cores that others may keep busy, as in the record's flags.
OTHERS = 0.2
HEADS = (
    "layer",
    "operator",
    "precision",
    "ms",
    "ms at the ceiling",
    "share",
    "nearer ceiling",
    "M multiply-adds",
    "kB",
)


def sentences(roofline: Roofline | None, note: str) -> list[str]:
    """What share of the ceilings an engine reaches, and what these are; why that is not known; or nothing."""
    if roofline is None:
        return [f"There is no roofline: {note}"] if note else []
    words = [
        f"An inference takes {roofline.inference_ms:.2f} ms. At the ceilings of this machine its layers would take "
        f"{roofline.bound_ms:.2f} ms, {percent(roofline.share)} of that, for {roofline.macs / 1e9:.2f} G multiply-adds "
        f"and {roofline.bytes / 1e6:.1f} MB.",
        _ceilings(roofline.ceilings),
    ]
    if roofline.ceilings.others > OTHERS:
        words.append(
            f"Other processes kept {roofline.ceilings.others:.1f} cores busy meanwhile, so that these are too low."
        )
    if roofline.above:
        words.append(
            f"Of its layers {roofline.above} were faster than these ceilings, which were measured while the machine "
            "was slower, or with too few networks: the share is too high."
        )
    if roofline.held_back_by:
        words.append(
            f"Of its {roofline.layers} layers these lose most against their ceilings, by the library's own profiler in "
            "a run apart."
        )
    return words


def _ceilings(ceilings: Ceilings) -> str:
    rates = ", ".join(f"{rate / 1e9:.1f} G in {precision}" for precision, rate in ceilings.macs_per_s.items())
    where, copy = f"with {ceilings.threads} threads", "by as many threads"
    if ceilings.device:
        where, copy = f"on {ceilings.device}", "within its memory"
    return (
        f"The ceilings are the best of synthetic networks of {ceilings.library} {where}: multiply-adds a second, "
        f"{rates}; and of a copy {copy}: {ceilings.memory / 1e9:.1f} GB/s beyond the caches, "
        f"{ceilings.caches / 1e9:.1f} GB/s within."
    )


def held_back_rows(roofline: Roofline) -> list[list[str]]:
    """The layers that lose most, under `HEADS`."""
    return [
        [
            layer.name,
            layer.op,
            _precision(layer),
            f"{layer.measured_ms:.3f}" if layer.measured_ms is not None else "n/a",
            f"{layer.bound_ms:.3f}",
            percent(layer.share) if layer.share is not None else "n/a",
            layer.limit if layer.bytes else "the library's own step",
            f"{layer.macs / 1e6:.1f}",
            f"{layer.bytes / 1e3:.0f}",
        ]
        for layer in roofline.held_back_by
    ]


def _precision(layer: Layer) -> str:
    """That of the graph, and where the library took another, that."""
    if layer.precision and layer.ran_in and layer.precision != layer.ran_in:
        return f"{layer.precision}, ran in {layer.ran_in}"
    return layer.precision or layer.ran_in


def percent(share: float) -> str:
    """Whole ones, and a tenth where there are few."""
    return f"{100 * share:.0f} %" if share >= 0.095 else f"{100 * share:.1f} %"
