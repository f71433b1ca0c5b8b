"""The charts of a benchmark's page, each an SVG element."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from edgeseg.bench.page.axes import RIGHT, TOP, Axis, Plane, linear
from edgeseg.build.svg import shortened, text_at, tip

__all__ = ["histogram", "percentile_curve", "stage_bars", "time_series"]

Floats = npt.NDArray[np.float64]
BINS = 60
#: Of the latencies, so that a few stragglers do not press all others into one bin.
SHOWN_PERCENTILE = 99.5
#: Points of a line at most: beyond it, each is the median of several.
POINTS = 240
#: A line breaks where nothing was measured for so many usual steps, and for so many seconds.
GAP_STEPS, GAP_S = 5, 3.0


def histogram(latencies: Mapping[int, Floats]) -> str:
    """How often which latency came, milliseconds, as a share of each engine's frames; by the engine's place."""
    every = np.concatenate(list(latencies.values()))
    low, high = float(every.min()), float(np.percentile(every, SHOWN_PERCENTILE))
    edges = np.linspace(low, max(high, low * 1.001 + 1e-6), BINS + 1)
    shares = {name: np.histogram(ms, edges)[0] / len(ms) for name, ms in latencies.items()}
    top = 100 * max(float(share.max()) for share in shares.values())
    plane = Plane(
        linear("latency, ms", low, float(edges[-1])), linear("% of frames", 0, top, 5), "Histogram of latency"
    )
    for index, share in shares.items():
        plane.line(np.repeat(edges, 2)[1:-1], 100 * np.repeat(share, 2), index)
    return plane.svg()


def percentile_curve(latencies: Mapping[int, Floats]) -> str:
    """The latency that a share of the frames stay below; rare slow ones get as much room as usual ones."""
    most = max(len(ms) for ms in latencies.values())
    nines = max(1.0, math.log10(most))

    def place(percent: float) -> float:
        return min(1.0, -math.log10(max(1e-9, 1 - percent / 100)) / nines)

    marks = [(p, f"{p:g} %") for p in (0.0, 50.0, 90.0, 99.0, 99.9, 99.99) if -math.log10(1 - p / 100) <= nines]
    every = np.concatenate(list(latencies.values()))
    y = linear("ms", float(every.min()), float(every.max()), 6)
    plane = Plane(Axis("share of frames that are faster", marks, place), y, "Latency by percentile")
    for index, ms in latencies.items():
        ordered = np.sort(ms)
        places = np.linspace(0, nines, 200)
        percents = 100 * (1 - 10.0**-places)
        known = percents <= 100 * (1 - 1 / len(ordered))
        plane.line(percents[known], np.percentile(ordered, percents[known]), index)
    return plane.svg()


def time_series(title: str, unit: str, series: Mapping[int, tuple[Floats, Floats]], height: int = 190) -> str:
    """Values over the seconds of the run; of many that lie close, the median. Pauses are gaps."""
    thinned = {index: _points(seconds, values) for index, (seconds, values) in series.items()}
    told = np.concatenate([values for _, values in thinned.values()])
    told = told[~np.isnan(told)]
    ends = max(float(seconds[-1]) for seconds, _ in thinned.values())
    low, high = (float(told.min()), float(told.max())) if len(told) else (0.0, 1.0)
    pad = max(0.05 * (high - low), 0.02 * abs(high), 1e-6)
    y = linear(unit, max(0.0, low - pad) if low >= 0 else low - pad, high + pad, 5)
    plane = Plane(linear("s", 0, ends), y, title, height=height)
    for index, (seconds, values) in thinned.items():
        plane.line(seconds, values, index)
    return plane.svg()


def stage_bars(stages: Mapping[str, Mapping[str, float]], beside: Sequence[str]) -> str:
    """Medians of the stages of each engine, milliseconds, one after the other; what lies beside the latency is pale."""
    names = list(dict.fromkeys(stage for times in stages.values() for stage in times))
    width, row = 440, 44
    longest = max(sum(times.values()) for times in stages.values()) or 1.0
    scale = (width - 2 * RIGHT) / longest
    body = []
    for index, (engine, times) in enumerate(stages.items()):
        top, left = TOP + row * index, float(RIGHT)
        body.append(text_at(left, top + 11, shortened(engine, 64), "figure"))
        for stage in sorted(times, key=lambda stage: (stage in beside, names.index(stage))):
            span = times[stage] * scale
            kind = f"bar f{names.index(stage) % 8}" + (" beside" if stage in beside else "")
            words = tip(f"{stage}: {times[stage]:.2f} ms")
            body.append(
                f'<rect class="{kind}" x="{left:.1f}" y="{top + 16}" width="{span:.2f}" height="18">{words}</rect>'
            )
            left += span
    height = TOP + row * len(stages) + 24 * math.ceil(len(names) / 3)
    for index, stage in enumerate(names):
        x, y = RIGHT + 140 * (index % 3), TOP + row * len(stages) + 14 + 22 * (index // 3)
        pale = " beside" if stage in beside else ""
        body.append(f'<rect class="bar f{index % 8}{pale}" x="{x}" y="{y - 9}" width="10" height="10"/>')
        body.append(text_at(x + 15, y, stage + (" (beside)" if pale else ""), "figure"))
    inside = "\n".join(body)
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="Time by stage">{inside}</svg>'


def _points(seconds: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Points of a line in the order of time, few enough to be drawn, with a NaN where nothing was measured for long."""
    order = np.argsort(seconds, kind="stable")
    seconds, values = seconds[order], values[order]
    steps = np.diff(seconds)
    usual = float(np.median(steps)) if len(steps) else 0.0
    begins = 1 + np.flatnonzero(steps > max(GAP_S, GAP_STEPS * usual))
    pause = np.array([np.nan])
    parts: list[tuple[Floats, Floats]] = []
    for at, some in zip(np.split(seconds, begins), np.split(values, begins), strict=True):
        parts += [_thinned(at, some, max(2, POINTS * len(at) // len(seconds))), (pause, pause)]
    return np.concatenate([at for at, _ in parts[:-1]]), np.concatenate([some for _, some in parts[:-1]])


def _thinned(seconds: Floats, values: Floats, most: int) -> tuple[Floats, Floats]:
    if len(seconds) <= most:
        return seconds, values
    parts = zip(np.array_split(seconds, most), np.array_split(values, most), strict=True)
    pairs = [(float(np.median(part)), float(np.median(some))) for part, some in parts]
    return np.array([at for at, _ in pairs]), np.array([value for _, value in pairs])
