"""Accuracy against latency: which engines can be compared, what their points are, and what is said of the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

pytest.importorskip("cv2")
pytest.importorskip("onnx_ir")

from edgeseg.bench import Record, Settings
from edgeseg.bench.record import Conditions, EngineRecord, Environment, Latency
from edgeseg.bench.tradeoff import read_tradeoff
from edgeseg.bench.tradeoff_chart import tradeoff_svg
from edgeseg.build.report import Gate, Speed
from edgeseg.card import Card, write_card
from edgeseg.device import describe_device
from edgeseg.device.cpu import inference_device
from edgeseg.device.state import describe_state
from edgeseg.errors import UsageError


def card(**fields: Any) -> Card:
    plain = {"model": "net", "backend": "openvino", "precision": "int8", "dialect": "u8-asym", "size_hw": (32, 48)}
    return Card(kind="engine", classes=("road",), palette=((0, 0, 0),), **{**plain, **fields})


def measured(
    miou: float = 0.70, ms: float = 5.0, *, float_miou: float = 0.71, float_ms: float = 10.0, frames: int = 9
) -> dict[str, Any]:
    """What a build writes onto a card."""
    gate = Gate(kind="labels", frames=frames, float_miou=float_miou, miou=miou, drop=float_miou - miou)
    speed = Speed(p50_ms=ms, p99_ms=2 * ms, fps=1e3 / ms, float_p50_ms=float_ms, ratio=float_ms / ms)
    told = {"gate": gate, "speed": speed, "verdict": "pass", "device": inference_device(), "data": "camvid"}
    return dict(msgspec.to_builtins(told))


def keep(folder: Path, name: str, card: Card) -> None:
    (folder / name).write_bytes(name.encode())
    write_card(folder / name, card)


def test_an_engine_and_the_float_one_of_its_build_are_two_points(tmp_path: Path) -> None:
    keep(tmp_path, "net.onnx", card(measured=measured()))
    found = read_tradeoff(tmp_path)
    assert [(p.engine, p.backend, p.precision, p.p50_ms, p.miou, p.on_front) for p in found.points] == [
        ("net.onnx", "openvino", "int8", 5.0, 0.70, True),
        ("", "onnxruntime", "fp32", 10.0, 0.71, True),
    ]
    assert (found.device, found.data, found.frames, found.in_turns) == (inference_device(), "camvid", 9, False)
    assert (found.left_out, found.warnings) == ((), ())


def test_a_float_engine_that_was_kept_stands_for_itself(tmp_path: Path) -> None:
    keep(tmp_path, "int8.onnx", card(measured=measured()))
    keep(tmp_path, "fp32.onnx", card(precision="fp32", backend="onnxruntime", measured=measured(0.71, 10.0)))
    keep(tmp_path, "other.onnx", card(model="other", measured=measured()))
    found = read_tradeoff(tmp_path)
    floats = [(point.model, point.engine) for point in found.points if point.precision == "fp32"]
    assert sorted(floats) == [("net", "fp32.onnx"), ("other", "")]


def test_a_busier_machine_counts_for_nothing_between_builds_of_one_graph(tmp_path: Path) -> None:
    keep(tmp_path, "quiet.onnx", card(measured=measured(0.70, 5.0, float_ms=10.0)))
    keep(tmp_path, "busy.onnx", card(backend="onnxruntime", measured=measured(0.69, 18.0, float_ms=30.0)))
    found = read_tradeoff(tmp_path)
    times = {point.engine: point.p50_ms for point in found.points}
    assert times == {"quiet.onnx": pytest.approx(10.0), "busy.onnx": pytest.approx(12.0), "": pytest.approx(20.0)}
    (warning,) = found.warnings
    assert "3.0 times as long" in warning


LEFT_OUT = [
    pytest.param({"gate": {"kind": "agreement", "frames": 9}}, "not judged on labels", id="agreement"),
    pytest.param({"gate": None}, "not judged on labels", id="no gate"),
    pytest.param({"speed": None}, "not timed", id="no speed"),
    pytest.param({"gate": {"kind": "guessed"}}, "can't be read", id="a gate of another version"),
    pytest.param({"device": "Another CPU, 4 threads"}, "timed on Another CPU, 4 threads", id="another machine"),
    pytest.param({"device": ""}, "timed on a machine that its card does not name", id="an unnamed machine"),
    pytest.param({"data": "elsewhere"}, "judged on 9 frames of elsewhere", id="other frames"),
]


@pytest.mark.parametrize(("change", "reason"), LEFT_OUT)
def test_what_can_not_be_compared_is_left_out_with_its_reason(
    change: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    for name in ("a.onnx", "b.onnx"):
        keep(tmp_path, name, card(measured=measured()))
    keep(tmp_path, "odd.onnx", card(model="odd", measured={**measured(), **change}))
    found = read_tradeoff(tmp_path)
    assert {point.model for point in found.points} == {"net"}
    (left_out,) = found.left_out
    assert left_out.engine == "odd.onnx" and reason in left_out.reason


def test_a_damaged_card_is_left_out(tmp_path: Path) -> None:
    keep(tmp_path, "net.onnx", card(measured=measured()))
    keep(tmp_path, "bad.onnx", card(measured=measured()))
    (tmp_path / "bad.onnx.json").write_text("{")
    assert [left_out.engine for left_out in read_tradeoff(tmp_path).left_out] == ["bad.onnx"]


@pytest.mark.parametrize(
    ("change", "having", "said"),
    [
        pytest.param({"gate": None}, "", "1 not judged on labels", id="none on labels"),
        pytest.param({"device": "Another CPU"}, "", "1 timed on Another CPU", id="another machine"),
        pytest.param({}, "other", "No engine with 'other' in its name", id="none of that name"),
    ],
)
def test_without_an_engine_the_next_command_is_told(
    change: dict[str, Any], having: str, said: str, tmp_path: Path
) -> None:
    keep(tmp_path, "net.onnx", card(measured={**measured(), **change}))
    with pytest.raises(UsageError, match="timed on this machine and judged on labels") as caught:
        read_tradeoff(tmp_path, having=having)
    assert said in caught.value.message
    assert "edgeseg build --int8 --data DIR" in caught.value.hint


def test_an_empty_folder_and_none_are_alike(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(UsageError, match="judged on labels"):
            read_tradeoff(folder)


def record(times: dict[str, float | None], cpu: str = "") -> Record:
    """A benchmark of engines, by hash."""
    device = describe_device()
    if cpu:
        device = msgspec.structs.replace(device, cpu=cpu)
    engines = tuple(
        EngineRecord(
            name=sha256, sha256=sha256, graph_sha256="", calibration_sha256="", size_bytes=1,
            model="net", backend="openvino", library="1",
            precision="int8", dialect="u8-asym", size_hw=(32, 48), batch=1, pixel_format="bgr", upsample="half",
            layers={}, execution={}, accuracy={}, warm_up_frames=0, steady=True, seconds=1.0, fps=1.0,
            latency=Latency(
                samples=9, percentiles_ms={"50": ms}, intervals_ms={"50": None}, min_ms=1, mean_ms=1, max_ms=1
            ),
            early_stopping_p90_ms=None, stages={},
        )
        for sha256, ms in times.items()
    )  # fmt: skip
    conditions = Conditions(seconds=[], others=[], clock_mhz=[], gpu_mhz=[], celsius=[], watts=[], rss_mb=[])
    environment = Environment(
        device=device, before=describe_state(), after=describe_state(), versions={}, container=False,
        reference_ms=1.0, reference_interval_ms=(1.0, 1.0),
        conditions=conditions, flags=(),
    )  # fmt: skip
    return Record(
        created="", command="", settings=Settings(), environment=environment, engines=engines, samples="x.npz"
    )


def test_a_benchmark_tells_the_times_of_the_engines_that_it_timed(tmp_path: Path) -> None:
    elsewhere = {**measured(0.69, 99.0), "device": "Another CPU"}
    keep(tmp_path, "a.onnx", card(sha256="a", measured=measured()))
    keep(tmp_path, "b.onnx", card(sha256="b", measured=elsewhere))
    keep(tmp_path, "c.onnx", card(sha256="c", measured=measured()))
    keep(tmp_path, "d.onnx", card(sha256="d", measured=measured()))
    found = read_tradeoff(tmp_path, record=record({"a": 3.0, "b": 2.0, "d": None}))
    assert [(p.engine, p.p50_ms, p.miou) for p in found.points] == [("b.onnx", 2.0, 0.69), ("a.onnx", 3.0, 0.70)]
    assert [left_out.engine for left_out in found.left_out] == ["c.onnx", "d.onnx"]
    assert found.in_turns and found.warnings == ()


def test_a_benchmark_of_another_machine_is_refused(tmp_path: Path) -> None:
    keep(tmp_path, "a.onnx", card(sha256="a", measured=measured()))
    with pytest.raises(UsageError, match="measured on Another CPU"):
        read_tradeoff(tmp_path, record=record({"a": 3.0}, cpu="Another CPU"))


@pytest.mark.parametrize(
    ("fields", "label"),
    [
        pytest.param({"model": "b"}, "int8 openvino", id="alike but for the model"),
        pytest.param({"size_hw": (64, 96)}, "int8 openvino, 64x96", id="another size"),
        pytest.param({"upsample": "full"}, "int8 openvino, upsample full", id="another tail"),
    ],
)
def test_labels_say_what_sets_points_apart(fields: dict[str, Any], label: str, tmp_path: Path) -> None:
    keep(tmp_path, "a.onnx", card(measured=measured()))
    keep(tmp_path, "b.onnx", card(**fields, measured=measured(0.65, 7.0, float_ms=20.0)))
    keep(tmp_path, "c.onnx", card(measured={}))
    chart = tradeoff_svg(read_tradeoff(tmp_path))
    texts = [one.text for one in ElementTree.fromstring(chart).iter("{http://www.w3.org/2000/svg}text")]
    assert label in texts
    assert any("9 labelled frames of camvid" in (text or "") for text in texts)
    assert any("can't be compared with these: 1 engine" in (text or "") for text in texts)
