"""The page: a record's figures and charts through a template."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
import numpy.typing as npt

from edgeseg.bench.judged import judged_alike
from edgeseg.bench.markdown import columns, headlines, machine_rows, row, scenario_words, stage_rows
from edgeseg.bench.merged import WORDS, Entry, Report, Table, engine_table, record_table
from edgeseg.bench.page.charts import histogram, percentile_curve, stage_bars, time_series
from edgeseg.bench.page.front import accuracy_front
from edgeseg.bench.page.roofline_chart import roofline_chart
from edgeseg.bench.record import Conditions, EngineRecord, Record
from edgeseg.bench.roofline.structs import COLUMNS
from edgeseg.bench.roofline.words import HEADS, held_back_rows, sentences
from edgeseg.bench.stages import BESIDE

__all__ = ["html"]

Samples = Mapping[str, npt.NDArray[Any]]
#: Engines whose latencies are drawn: a colour each.
SHOWN = 8
TEMPLATE = Path(__file__).with_name("report.html")


class Chart(NamedTuple):
    """A chart and what it shows."""

    title: str
    words: str
    svg: str


class HeldBack(NamedTuple):
    """What holds an engine back: sentences, and a table where there is one."""

    name: str
    words: list[str]
    heads: Sequence[str]
    rows: list[list[str]]


class Section(NamedTuple):
    """One record on the page."""

    record: Record
    heads: list[str]
    rows: list[list[str]]
    flags: list[str]
    words: str
    stages: list[list[str]]
    machine: list[tuple[str, str]]
    charts: list[Chart]
    rooflines: list[HeldBack]


class Together(NamedTuple):
    """What stands above several records."""

    flags: list[str]
    records: Table
    engines: Table
    words: str
    names: list[str]
    charts: list[Chart]


def html(records: Sequence[tuple[Record, Samples]], report: Report | None = None) -> str:
    """The page, whole in itself: no script, nothing from elsewhere.

    Args:
        records: Each with the arrays of its samples.
        report: Of the same records, where they are several.
    """
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    sections = [_section(record, samples) for record, samples in records]
    together = _together(report) if report is not None and len(records) > 1 else None
    return template.render(sections=sections, together=together)


def _together(report: Report) -> Together:
    names = [f"{entry.number}: {entry.path}" for entry in report.records]
    charts = [chart for group in report.groups() for chart in _common_front(group)]
    return Together(report.headlines(), record_table(report), engine_table(report), WORDS, names, charts)


def _common_front(group: Sequence[Entry]) -> Iterator[Chart]:
    """Of all engines of records that can be compared, in colours of the records."""
    engines = [(entry.number - 1, engine) for entry in group for engine in entry.record.engines]
    numbers = ", ".join(str(entry.number) for entry in group)
    return _front(engines, f"Accuracy against latency, records {numbers}")


def _section(record: Record, samples: Samples) -> Section:
    return Section(
        record,
        columns(record),
        [row(record, engine) for engine in record.engines],
        headlines(record),
        scenario_words(record),
        stage_rows(record),
        machine_rows(record),
        list(_charts(record, samples)),
        [
            HeldBack(engine.name, words, HEADS, held_back_rows(engine.roofline) if engine.roofline else [])
            for engine in record.engines
            if (words := sentences(engine.roofline, engine.roofline_note))
        ],
    )


def _charts(record: Record, samples: Samples) -> list[Chart]:
    shown = _shown(record, samples)
    more = "" if len(record.engines) <= SHOWN else f" Of the {SHOWN} fastest engines."
    latencies = {index: np.asarray(samples[f"{index}.latency_ms"], np.float64) for index in shown}
    found: list[Chart] = []
    if latencies:
        over_time = {
            index: (np.asarray(samples[f"{index}.begin_s"], np.float64), ms) for index, ms in latencies.items()
        }
        told = {
            "Histogram": (f"How often which latency came; the slowest 0.5 % are left out.{more}", histogram(latencies)),
            "Percentiles": (f"The latency that a share of the frames stay below.{more}", percentile_curve(latencies)),
            "Over time": (
                f"Latency during the run; of frames that lie close, the median.{more}",
                time_series("Latency over time", "ms", over_time),
            ),
        }
        found += [Chart(title, words, svg) for title, (words, svg) in told.items()]
    medians = {
        engine.name: {stage: ms for stage, one in engine.stages.items() if (ms := one.percentiles_ms["50"]) is not None}
        for engine in record.engines
    }
    medians = {name: stages for name, stages in medians.items() if stages}
    if medians:
        words = "Medians. What is pale is measured with every frame, but no part of the latency."
        found.append(Chart("Stages", words, stage_bars(medians, BESIDE)))
    found += _front(enumerate(record.engines), "Accuracy against latency")
    found += _rooflines(record, samples)
    found += _conditions(record.environment.conditions)
    reference = samples.get("reference.ms", ())
    if len(reference) > 1:
        series = {0: (np.asarray(samples["reference.begin_s"]), np.asarray(reference))}
        words = "Time of a fixed kernel that ran between the frames: it tells how fast the machine was."
        found.append(Chart("Reference", words, time_series("Reference kernel", "ms", series)))
    return found


def _front(engines: Iterable[tuple[int, EngineRecord]], title: str) -> Iterator[Chart]:
    judged, frames = judged_alike(engines)
    if judged:
        words = f"mIoU that their builds measured on {frames} labelled frames each; the line is the Pareto front."
        yield Chart(title, words, accuracy_front(judged))


def _shown(record: Record, samples: Samples) -> list[int]:
    """Places of the engines whose samples make a line; of many, of the fastest."""
    medians = {
        index: float(np.median(samples[f"{index}.latency_ms"]))
        for index in range(len(record.engines))
        if len(samples.get(f"{index}.latency_ms", ())) > 1
    }
    return sorted(sorted(medians, key=lambda index: medians[index])[:SHOWN])


def _rooflines(record: Record, samples: Samples) -> list[Chart]:
    words = (
        "What each layer that multiplies reaches under the ceilings, in the colour of its precision's; the larger, the "
        "longer it takes. The ring is the engine."
    )
    found = []
    for index, engine in enumerate(record.engines):
        columns = {name: samples[key] for name in COLUMNS if (key := f"{index}.roofline.{name}") in samples}
        if engine.roofline is not None and len(columns) == len(COLUMNS):
            chart = roofline_chart(engine.name, engine.roofline, columns)
            found.append(Chart(f"Roofline of {engine.name}", words, chart))
    return found


def _conditions(conditions: Conditions) -> list[Chart]:
    told: dict[str, tuple[str, Sequence[float | None]]] = {
        "Processor's clock": ("MHz", conditions.clock_mhz),
        "GPU's clock": ("MHz", conditions.gpu_mhz),
        "Temperature of the hottest zone": ("°C", conditions.celsius),
        "Power": ("W", conditions.watts),
        "Cores that others kept busy": ("cores", conditions.others),
        "Resident memory": ("MB", conditions.rss_mb),
    }
    seconds = np.array(conditions.seconds)
    found = []
    for title, (unit, values) in told.items():
        column = np.array([np.nan if value is None else value for value in values], np.float64)
        if np.count_nonzero(~np.isnan(column)) > 1:
            found.append(Chart(title, "", time_series(title, unit, {0: (seconds, column)}, 150)))
    return found
