"""`/metrics`: the stream in numbers for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from edgeseg.stream.report import SourceReport, StreamReport
from edgeseg.web.monitor import EngineFacts, Monitor

__all__ = ["Metrics"]

#: A millisecond to a second; 16.7 and 33 are the periods of 60 and 30 frames per second.
BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.0167, 0.033, 0.05, 0.1, 0.25, 0.5, 1.0)


class Metrics:
    """A registry of its own, filled by each frame and, when it is read, from the newest report."""

    def __init__(self, engine: EngineFacts, monitor: Monitor, viewers: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        self._stages = Histogram(
            "edgeseg_stage_seconds",
            "Time of a frame in each stage.",
            ["stage"],
            registry=self._registry,
            buckets=BUCKETS_S,
        )
        self._ages = Histogram(
            "edgeseg_frame_age_seconds", "From capture until here.", registry=self._registry, buckets=BUCKETS_S
        )
        self._class_map_ages = Histogram(
            "edgeseg_class_map_age_seconds",
            "From capture until the class map was there.",
            registry=self._registry,
            buckets=BUCKETS_S,
        )
        self._registry.register(_Reported(engine, monitor, viewers))

    def observe(self, stage_ms: dict[str, float], class_map_age_s: float, age_s: float) -> None:
        """Count one frame: milliseconds by stage, seconds from its capture to its class map, and until now."""
        self._class_map_ages.observe(class_map_age_s)
        for stage, ms in stage_ms.items():
            self._stages.labels(stage).observe(ms / 1000)
        self._ages.observe(age_s)

    def text(self, accept: str) -> tuple[bytes, str]:
        """All metrics in the format that an Accept header asks for, and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


class _Reported(Collector):
    """What the newest report counts, made into metrics whenever they are read."""

    def __init__(self, engine: EngineFacts, monitor: Monitor, viewers: Callable[[], int]) -> None:
        self._engine, self._monitor, self._viewers = engine, monitor, viewers

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client.registry.Collector`."""
        engine = self._engine
        facts = {"model": engine.model, "backend": engine.backend, "precision": engine.precision, "sha": engine.sha256}
        yield InfoMetricFamily("edgeseg_engine", "What infers.", facts)
        yield GaugeMetricFamily("edgeseg_viewers", "How many watch the picture.", self._viewers())
        report = self._monitor.report
        if report is not None:
            if report.cold_start_ms is not None:
                help = "From the start of the process to the first class map."
                yield GaugeMetricFamily("edgeseg_cold_start_seconds", help, report.cold_start_ms / 1000)
            yield from _of_sources(report, hangs=self._monitor.hangs)


def _of_sources(report: StreamReport, *, hangs: bool) -> Iterator[Metric]:
    """The metrics of each source. None is up while the stream hangs."""
    frames = CounterMetricFamily(
        "edgeseg_frames", "Captured frames by what became of them.", labels=["source", "result"]
    )
    up = GaugeMetricFamily("edgeseg_source_up", "1 while its frames come.", labels=["source"])
    frozen = GaugeMetricFamily("edgeseg_source_frozen", "1 while the same picture keeps coming.", labels=["source"])
    reconnects = CounterMetricFamily("edgeseg_source_reconnects", "How often it was opened again.", labels=["source"])
    stalls = CounterMetricFamily("edgeseg_source_stalls", "How often it was silent for too long.", labels=["source"])
    for source in report.sources:
        for result, count in _results(source).items():
            frames.add_metric([source.name, result], count)
        up.add_metric([source.name], source.state == "live" and not hangs)
        frozen.add_metric([source.name], source.frozen)
        reconnects.add_metric([source.name], source.reconnects)
        stalls.add_metric([source.name], source.stalls)
    yield from (frames, up, frozen, reconnects, stalls)


def _results(source: SourceReport) -> dict[str, int]:
    return {"inferred": source.inferred, **msgspec.structs.asdict(source.dropped)}
