"""What Prometheus reads."""

from __future__ import annotations

import pytest

from tests.web.parts import STAGE_MS, Answer, Street, aged, ask, make_report, page

parser = pytest.importorskip("prometheus_client.parser")
openmetrics = pytest.importorskip("prometheus_client.openmetrics.parser")
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(answer: Answer, parse: object = None) -> Samples:
    families = (parse or parser.text_string_to_metric_families)(answer.body.decode())
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for family in families for one in family.samples}


def test_metrics_agree_with_the_report() -> None:
    report = make_report()
    with page() as sink:
        street = Street()
        for index in range(3):
            sink.write(aged(street.frame(index, report), 0.02))
        found = samples(ask(sink, "/metrics"))
    source = report.sources[0]
    counts = {"inferred": 1180, "newest": 52, "corrupt": 3, "stale": 5, "skipped": 0}
    for result, count in counts.items():
        assert found["edgeseg_frames_total", (("result", result), ("source", "camera"))] == count
    assert sum(counts.values()) == source.captured
    of_camera = (("source", "camera"),)
    assert found["edgeseg_source_up", of_camera] == 1
    assert found["edgeseg_source_frozen", of_camera] == 0
    assert found["edgeseg_source_reconnects_total", of_camera] == source.reconnects
    assert found["edgeseg_source_stalls_total", of_camera] == source.stalls
    assert found["edgeseg_cold_start_seconds", ()] == pytest.approx(0.812)
    assert found["edgeseg_viewers", ()] == 0
    engine = (("backend", "openvino"), ("model", "fastscnn-camvid"), ("precision", "int8"), ("sha", "3f" * 32))
    assert found["edgeseg_engine_info", engine] == 1


def test_every_frame_is_counted_in_the_histograms() -> None:
    with page() as sink:
        street = Street()
        for index in range(3):
            sink.write(aged(street.frame(index), 0.02))
        found = samples(ask(sink, "/metrics"))
    for stage, ms in STAGE_MS.items():
        assert found["edgeseg_stage_seconds_count", (("stage", stage),)] == 3
        assert found["edgeseg_stage_seconds_sum", (("stage", stage),)] == pytest.approx(3 * ms / 1000)
    assert found["edgeseg_stage_seconds_bucket", (("le", "0.01"), ("stage", "inference"))] == 0
    assert found["edgeseg_stage_seconds_bucket", (("le", "0.0167"), ("stage", "inference"))] == 3
    assert found["edgeseg_frame_age_seconds_count", ()] == 3
    assert found["edgeseg_frame_age_seconds_bucket", (("le", "0.0167"),)] == 0


@pytest.mark.parametrize("state", ["connecting", "stalled", "lost"])
def test_a_source_is_up_only_while_it_is_live(state: str) -> None:
    with page() as sink:
        sink.idle(make_report(state=state, frozen=True))
        found = samples(ask(sink, "/metrics"))
    assert found["edgeseg_source_up", (("source", "camera"),)] == 0
    assert found["edgeseg_source_frozen", (("source", "camera"),)] == 1


def test_no_source_is_up_once_the_stream_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    with page() as sink:
        sink.write(Street().frame(0))
        monkeypatch.setattr("edgeseg.web.monitor.TOLD_S", -1.0)
        found = samples(ask(sink, "/metrics"))
    assert found["edgeseg_source_up", (("source", "camera"),)] == 0


def test_before_the_first_report_there_is_the_engine_alone() -> None:
    with page() as sink:
        names = {name for name, _ in samples(ask(sink, "/metrics"))}
    assert "edgeseg_engine_info" in names
    assert "edgeseg_cold_start_seconds" not in names
    assert "edgeseg_frames_total" not in names


@pytest.mark.parametrize(
    ("accept", "parse"),
    [
        pytest.param("text/plain", parser.text_string_to_metric_families, id="Prometheus's own format"),
        pytest.param(
            "application/openmetrics-text; version=1.0.0", openmetrics.text_string_to_metric_families, id="OpenMetrics"
        ),
    ],
)
def test_a_hostile_source_name_comes_through_unchanged(accept: str, parse: object) -> None:
    name = 'front "door"\\\n<script>edgeseg_viewers 9'
    with page() as sink:
        sink.write(Street().frame(0, make_report(name)))
        found = samples(ask(sink, "/metrics", {"Accept": accept}), parse)
    assert found["edgeseg_source_up", (("source", name),)] == 1
    assert found["edgeseg_viewers", ()] == 0
