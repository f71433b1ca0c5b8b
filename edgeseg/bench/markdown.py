"""A benchmark's record as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from edgeseg.bench.record import Drift, EngineRecord, Environment, Latency, Record, Settings
from edgeseg.bench.roofline.words import HEADS, held_back_rows, percent, sentences
from edgeseg.bench.stages import BESIDE
from edgeseg.device.state import State

__all__ = [
    "columns",
    "doubts",
    "drift_words",
    "headlines",
    "machine_rows",
    "markdown",
    "reference_words",
    "row",
    "scenario_words",
    "stage_rows",
    "table_lines",
]

USUAL = Settings()
#: What is measured in each scenario.
SCENARIOS = {
    "single-stream": "The next frame comes when the answer of the one before is there (MLPerf-style single-stream, not "
    "an MLPerf result). Latency is from a camera's frame in memory to the class map in its coordinates. FPS are frames "
    "over the sum of their latencies: decoding, drawing and other engines' turns are not in it.",
    "throughput": "Several frames are under way at once. Latency is that of a frame among others. FPS are frames over "
    "wall time.",
    "camera": "Frames come by the camera's clock, whether the engine is ready or not. Latency is the frame's age when "
    "its class map is there; the newest frame is taken, and older ones are dropped and counted. FPS are frames over "
    "the time that the camera was watched.",
    "soak": "Single-stream for long. Latency is from a camera's frame in memory to the class map in its coordinates. "
    "FPS are frames over the sum of their latencies.",
}


def scenario_words(record: Record) -> str:
    """What was measured, and what FPS and latency mean."""
    return SCENARIOS[record.settings.scenario]


def columns(record: Record) -> list[str]:
    """Heads of the table of engines, the figures first: a phone shows no more without scrolling."""
    names = [f"p{p:g} ms" for p in record.settings.percentiles]
    early = ["p90 at most, ms"] if any(one.early_stopping_p90_ms is not None for one in record.engines) else []
    dropped = ["dropped"] if record.settings.scenario == "camera" else []
    threads = ["threads"] if len({one.execution.get("threads") for one in record.engines}) > 1 else []
    joules = ["J per frame"] if any(one.energy for one in record.engines) else []
    ceiling = ["of the ceiling"] if any(one.roofline for one in record.engines) else []
    figures = ["FPS", *names, *early, *dropped, *joules, *ceiling]
    return ["engine", *figures, "size", "precision", "backend", *threads]


def row(record: Record, engine: EngineRecord) -> list[str]:
    """One engine of the table; `n/a` where there were too few samples for a percentile."""
    cells = dict.fromkeys(columns(record), "")
    cells |= {
        "engine": engine.name + (" (failed)" if engine.failed else ""),
        "backend": f"{engine.backend} {engine.library}",
        "precision": f"{engine.precision} {engine.dialect}" if engine.dialect != "float" else engine.precision,
        "size": "{}x{}".format(*engine.size_hw) + (f", batch {engine.batch}" if engine.batch > 1 else ""),
        "FPS": f"{engine.fps:.1f}",
    }
    if "threads" in cells:
        cells["threads"] = str(engine.execution.get("threads", ""))
    for p in record.settings.percentiles:
        cells[f"p{p:g} ms"] = _with_interval(engine.latency, f"{p:g}")
    if engine.early_stopping_p90_ms is not None:
        cells["p90 at most, ms"] = f"{engine.early_stopping_p90_ms:.2f}"
    if engine.camera is not None:
        cells["dropped"] = f"{sum(engine.camera.dropped.values())} of {engine.camera.captured}"
    if engine.energy is not None:
        cells["J per frame"] = f"{engine.energy.joules_per_frame:.3f}"
    if engine.roofline is not None:
        cells["of the ceiling"] = percent(engine.roofline.share)
    return [cells[name] for name in columns(record)]


def stage_rows(record: Record) -> list[list[str]]:
    """Medians of each stage, an engine a row, under the names of all stages."""
    stages = list(dict.fromkeys(stage for engine in record.engines for stage in engine.stages))
    return [
        ["engine", *(f"{stage} (beside)" if stage in BESIDE else stage for stage in stages)],
        *(
            [engine.name, *(_median(engine.stages[stage]) if stage in engine.stages else "" for stage in stages)]
            for engine in record.engines
        ),
    ]


def markdown(record: Record) -> str:
    """The tables, how it was measured, where, and the command that measures it again."""
    heads, *rows = stage_rows(record)
    stages = [
        "Medians by stage, ms; what is marked `(beside)` is no part of the latency:",
        "",
        *table_lines(heads, rows),
        "",
    ]
    lines = [f"# Benchmark of {record.created}, {record.settings.scenario}", ""]
    lines += [f"**{flag}**\n" for flag in headlines(record)]
    lines += [
        *table_lines(columns(record), [row(record, engine) for engine in record.engines]),
        "",
        scenario_words(record),
        "Percentiles are given where at least ten samples lie beyond them, with 95 % "
        f"intervals by a bootstrap of blocks. Every sample: {record.samples}.",
        "",
        *(stages if len(heads) > 1 else []),
        *(line for engine in record.engines for line in _roofline(engine)),
        *(f"- {name}: {value}" for name, value in machine_rows(record)),
        "",
        "Measured again by:",
        "",
        "```",
        record.command,
        "```",
        "",
    ]
    return "\n".join(lines)


def machine_rows(record: Record) -> list[tuple[str, str]]:
    """Where it was measured, and what it cost there: a name and a value each."""
    environment, device = record.environment, record.environment.device
    mode = f", power mode {device.power_mode}" if device.power_mode else ""
    jetpack = f", JetPack {device.jetpack}" if device.jetpack else ""
    container = ", in a container" if environment.container else ""
    return [
        ("Machine", f"{' '.join(filter(None, (device.board, device.cpu)))}, {device.cores} cores{mode}"),
        ("System", f"{device.os}, kernel {device.kernel}, Python {device.python}{jetpack}{container}"),
        ("Versions", ", ".join(f"{name} {version}" for name, version in environment.versions.items())),
        ("Before", _state(environment.before)),
        ("After", _state(environment.after)),
        ("Reference kernel", reference_words(environment)),
        *((f"Power of {engine.name}", _energy(engine)) for engine in record.engines if engine.energy),
        *((f"Drift of {engine.name}", drift_words(engine.drift)) for engine in record.engines if engine.drift),
        *((f"Layers of {engine.name}", _layers(engine)) for engine in record.engines if engine.layers),
        *((f"Hashes of {engine.name}", _hashes(engine)) for engine in record.engines),
    ]


def headlines(record: Record) -> list[str]:
    """What makes the figures doubtful, a sentence each."""
    failed = [f"{engine.name} failed: {engine.failed}" for engine in record.engines if engine.failed]
    left_out = [f"{name} was left out: {reason}" for name, reason in record.left_out.items()]
    return [*failed, *left_out, *doubts(record)]


def doubts(record: Record) -> list[str]:
    """The same of what was measured."""
    settings, warmed = record.settings, record.settings.warm_up_s > 0
    found = [] if record.complete else ["It was stopped before its time; these are the samples until then."]
    found += record.environment.flags
    found += [f"{one.name}: {one.drift.verdict}" for one in record.engines if one.drift and not one.drift.steady]
    found += [
        f"{one.name} was not steady when its warm-up ended." for one in record.engines if warmed and not one.steady
    ]
    if settings.scenario == "single-stream" and (
        settings.duration_s < USUAL.duration_s or settings.iterations < USUAL.iterations
    ):
        found.append(
            f"Short: {settings.duration_s:g} s and {settings.iterations:,} frames of each at least; what others are to "
            f"rely on needs {USUAL.duration_s:g} s and {USUAL.iterations:,}."
        )
    return found


def drift_words(drift: Drift) -> str:
    """The verdict of a soak, and its figures."""
    return (
        f"{drift.verdict} {drift.fps_first:.1f} FPS in its first fifth, {drift.fps_last:.1f} in its last; memory "
        f"{drift.rss_slope_mb:+.1f} MB in ten minutes."
    )


def reference_words(environment: Environment) -> str:
    """The time of the reference kernel with its interval."""
    if environment.reference_ms is None or environment.reference_interval_ms is None:
        return "it never ran"
    low, high = environment.reference_interval_ms
    return f"{environment.reference_ms:.3f} ms ({low:.3f} to {high:.3f}), version {environment.reference_version}"


def _layers(engine: EngineRecord) -> str:
    return ", ".join(f"{count} {precision}" for precision, count in engine.layers.items())


def _roofline(engine: EngineRecord) -> list[str]:
    words = sentences(engine.roofline, engine.roofline_note)
    if not words:
        return []
    rows = held_back_rows(engine.roofline) if engine.roofline is not None else []
    return [f"What holds {engine.name} back:", "", *words, "", *([*table_lines(HEADS, rows), ""] if rows else [])]


def _state(state: State) -> str:
    told = {
        "governor": state.governor,
        "processor": _figure(state.clock_mhz, "MHz")
        + (f" of at most {_figure(state.clock_max_mhz, 'MHz')}" if state.clock_max_mhz else ""),
        "GPU": _figure(state.gpu_mhz, "MHz"),
        "hottest zone": _figure(state.celsius, "°C"),
        "fan": _figure(state.fan_rpm, "turns a minute"),
        "load": f"{state.load:.1f}" if state.load is not None else "",
    }
    return ", ".join(f"{name} {value}" for name, value in told.items() if value)


def _figure(value: float | None, unit: str) -> str:
    return f"{value:.0f} {unit}" if value is not None else ""


def _hashes(engine: EngineRecord) -> str:
    told = {"engine": engine.sha256, "graph": engine.graph_sha256, "calibration": engine.calibration_sha256}
    return ", ".join(f"{name} {digest[:12]}" for name, digest in told.items() if digest)


def _energy(engine: EngineRecord) -> str:
    energy = engine.energy
    assert energy is not None, "only engines with one are asked"
    return (
        f"{energy.watts:.2f} W ({energy.idle_watts:.2f} W at rest), {energy.joules_per_frame:.3f} J per frame, "
        f"{energy.joules_per_frame_above_idle:.3f} J above rest; rail {energy.rail}, {energy.sensor}"
    )


def _with_interval(latency: Latency | None, percent: str) -> str:
    value = latency.percentiles_ms.get(percent) if latency is not None else None
    if latency is None or value is None:
        return "n/a"
    interval = latency.intervals_ms.get(percent)
    return f"{value:.2f}" + (f" ({interval[0]:.2f} to {interval[1]:.2f})" if interval else "")


def _median(latency: Latency) -> str:
    value = latency.percentiles_ms["50"]
    return "n/a" if value is None else f"{value:.2f}"


def table_lines(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table, a line each."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return [line(heads), "|" + " --- |" * len(heads), *(line(cells) for cells in rows)]
