"""`edgeseg compare` on real engines and graphs of the tiny network."""

from __future__ import annotations

import json
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from edgeseg.backends import Engine, open_backend
from edgeseg.bench.strips import LOST, Layout
from edgeseg.cli import main
from edgeseg.data.labelled import open_labelled
from edgeseg.evaluate import evaluate_frames
from edgeseg.graph.io import save_graph
from tests.engines import NAMES, tiny_engine, tiny_model
from tests.half_right import engine_labels
from tests.quantize.tiny import prepared, quantized
from tests.train.scenes import write_scenes

FRAMES = "synthetic://?width=64&height=48&frames=2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph, two engines, one of them of other classes, and labelled frames."""
    folder = tmp_path_factory.mktemp("compare")
    save_graph(tiny_model(), folder / "tiny.onnx")
    engine = tiny_engine(folder, name="engine")
    tiny_engine(folder, "fake", name="fake")
    tiny_engine(folder, "fake", name="other", classes=("a", "b", "c", "d"))
    engine_labels(write_scenes(folder / "data", 3, seed=0), engine)
    write_scenes(folder / "strange", 2, seed=0)
    return folder


@pytest.fixture(autouse=True)
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("EDGESEG_ENGINES", str(folder))


def test_a_graph_agrees_with_the_engine_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "tiny.onnx", "engine.onnx", "--frames", FRAMES, "--duration", "0", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["schema"] == "edgeseg.compare/1"
    assert (report["a"]["engine"], report["b"]["engine"]) == ("tiny.onnx", "engine.onnx")
    assert report["frames"] == 2
    assert report["agreement"]["share"] == 1
    assert report["agreement"]["passes"]
    assert report["drop"] is None


def test_a_quantized_graph_is_compared_with_the_float_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_graph(prepared(), tmp_path / "float.onnx")
    save_graph(quantized("u8-asym"), tmp_path / "int8.onnx")
    words = [str(tmp_path / name) for name in ("float.onnx", "int8.onnx")]
    assert main(["compare", *words, "--frames", FRAMES, "--duration", "0", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["b"]["precision"], report["b"]["dialect"]) == ("int8", "u8-asym")
    assert report["agreement"]["passes"]


def test_graphs_of_one_name_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_graph(tiny_model(seed=5), tmp_path / "tiny.onnx")
    words = ["tiny.onnx", str(tmp_path / "tiny.onnx"), "--frames", FRAMES, "--duration", "0", "--json"]
    assert main(["compare", *words]) == 0
    assert json.loads(capsys.readouterr().out)["agreement"]["share"] < 0.9


def test_labels_give_the_accuracy_of_both(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "engine.onnx", "fake.fake", "--data", "data", "--duration", "0", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report["a"]["class_iou"]) == set(NAMES)
    assert report["drop"]["drop"] == pytest.approx(report["a"]["miou"] - report["b"]["miou"])
    low, high = report["drop"]["drop_ci95"]
    assert low <= report["drop"]["drop"] <= high
    assert report["agreement"]["passes"] is None, "a gate with labels does not ask for it"


@pytest.mark.parametrize(
    ("limit", "names"),
    [
        pytest.param([], ["000.png", "001.png", "002.png"], id="all"),
        pytest.param(["--limit", "2"], ["000.png", "002.png"], id="both ends"),
        pytest.param(["--limit", "1"], ["000.png"], id="one"),
        pytest.param(["--limit", "9"], ["000.png", "001.png", "002.png"], id="more than there are"),
    ],
)
def test_labelled_frames_are_limited_too(
    limit: list[str], names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", "engine.onnx", "fake.fake", "--data", "data", "--duration", "0", "--json", *limit]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["frames"] == len(names)
    assert sorted(Path(one["name"]).name for one in report["worst"]) == names


def test_the_tables_tell_drops_confusions_and_worst_frames(capsys: pytest.CaptureFixture[str]) -> None:
    before = set(Path().rglob("*"))
    assert main(["compare", "engine.onnx", "fake.fake", "--data", "data", "--duration", "0"]) == 0
    printed, told = capsys.readouterr()
    assert "A: engine.onnx" in printed and "B: fake.fake" in printed
    assert "mIoU" in printed and "times as fast as A" in printed and "for the gate" not in printed, "labels tell more"
    for heading in ("IoU by class", "Confusions that grew from A to B", "Frames with the largest loss"):
        assert heading in printed
    assert re.search(r"ground .* tree", printed) and "002.png" in printed
    assert (set(Path().rglob("*")), "compare.md" in told) == (before, False), "without -o nothing is written"


def test_without_labels_the_tables_speak_of_agreement_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "engine.onnx", "fake.fake", "--frames", FRAMES, "--duration", "0"]) == 0
    printed = capsys.readouterr().out
    assert "Where B gives another class than A (agreement, not accuracy)" in printed
    assert "Frames that agree least" in printed and "synthetic#1" in printed and "too little for the gate" in printed
    assert "IoU by class" not in printed and "mIoU" not in printed


def report(out: Path, *more: str) -> list[str]:
    """The words that compare the two engines on labels into a folder."""
    return ["compare", "engine.onnx", "fake.fake", "--data", "data", "--duration", "0", "-o", str(out), *more]


def test_a_folder_gets_the_report_that_json_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "why"
    assert main(report(out, "--json")) == 0
    printed, told = capsys.readouterr()
    written = json.loads((out / "compare.json").read_text())
    assert written == json.loads(printed) and written["schema"] == "edgeseg.compare/1"
    pictures = [one["picture"] for one in written["worst"]]
    assert pictures == ["worst-01.png", "worst-02.png", "worst-03.png"]
    assert {path.name for path in out.iterdir()} == {"compare.json", "compare.md", *pictures}
    assert str(out / "compare.md") in told


def test_the_markdown_tells_what_the_json_holds(tmp_path: Path) -> None:
    assert main(report(tmp_path)) == 0
    found, text = json.loads((tmp_path / "compare.json").read_text()), (tmp_path / "compare.md").read_text()
    assert re.findall(r"!\[[^]]+\]\(([^)]+)\)", text) == [one["picture"] for one in found["worst"]]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    for name, share in found["drop"]["class_share"].items():
        ious = [found[side]["class_iou"][name] for side in "ab"]
        drop = {**found["drop"]["class_drop"], **found["drop"]["small_class_drop"]}[name]
        assert [name, *(f"{100 * value:.2f}" for value in (share, *ious, drop))] in rows
    for one in found["confusions"]:
        shares = [f"{100 * one[key]:.3f}" for key in ("share_of_class", "share_of_all")]
        assert [one["expected"], one["found"], f"{one['pixels_a']:,}", f"{one['pixels_b']:,}", *shares] in rows
    assert text.startswith(f"# On {found['frames']} frames, mIoU ") and "Agreement: " in text
    assert all(f"`{one['name']}`" in text for one in found["worst"])


def test_the_worst_frame_comes_first_and_its_strip_shows_what_was_lost(tmp_path: Path) -> None:
    assert main(report(tmp_path, "--worst", "1")) == 0
    (worst,) = json.loads((tmp_path / "compare.json").read_text())["worst"]
    data = open_labelled("data", len(NAMES))
    right = []
    for path in ("engine.onnx", "fake.fake"):
        engine = Engine.open(path)
        with open_backend(engine.card.backend).load(engine) as session:
            right.append([one.pixel_accuracy() for one in evaluate_frames(session, data)])
    loss = np.subtract(*right)
    assert worst["index"] == int(loss.argmax())
    assert worst["figures"]["lost"] - worst["figures"]["gained"] == pytest.approx(loss.max())
    assert [path.name for path in tmp_path.glob("*.png")] == [worst["picture"]]
    strip = cv2.imread(str(tmp_path / worst["picture"]))
    height, width = data.read(0)[1].shape
    difference = Layout.of((height, width), 5).panel(4).of(strip)
    labelled = (data.read(worst["index"])[1] != 255).mean()
    assert (difference[..., ::-1] == LOST).all(2).mean() == pytest.approx(worst["figures"]["lost"] * labelled)


def test_strips_of_an_earlier_comparison_do_not_stay(tmp_path: Path) -> None:
    assert main(report(tmp_path)) == 0
    (tmp_path / "worst-case.png").write_bytes(b"mine")
    assert main(report(tmp_path, "--worst", "1")) == 0
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["worst-01.png", "worst-case.png"]


def test_without_labels_the_strips_have_no_label(tmp_path: Path) -> None:
    words = ["compare", "engine.onnx", "fake.fake", "--frames", FRAMES, "--duration", "0", "-o", str(tmp_path)]
    assert main(words) == 0
    found, text = json.loads((tmp_path / "compare.json").read_text()), (tmp_path / "compare.md").read_text()
    assert (found["drop"], found["reference"]) == (None, "a")
    assert [one["figures"]["right_a"] for one in found["worst"]] == [None, None]
    strip = cv2.imread(str(tmp_path / "worst-01.png"))
    assert strip.shape[1] == Layout.of((48, 64), 4).width
    assert "agreement, not accuracy" in text and "mIoU" not in text


def test_engines_alike_are_reported_so(tmp_path: Path) -> None:
    words = ["compare", "tiny.onnx", "engine.onnx", "--data", "data", "--duration", "0", "-o", str(tmp_path)]
    assert main(words) == 0
    assert json.loads((tmp_path / "compare.json").read_text())["confusions"] == []
    assert "No confusion grew from A to B." in (tmp_path / "compare.md").read_text()


def test_other_differences_than_precision_are_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compare", "tiny.onnx", "engine.onnx", "--frames", FRAMES, "--duration", "0", "--upsample", "none"]
    assert main([*words, "--json", "-o", str(tmp_path)]) == 0
    printed, told = capsys.readouterr()
    (warning,) = json.loads(printed)["warnings"]
    assert warning.startswith("A and B differ in upsample (none and half)")
    assert f"warning: {warning}" in told
    assert f"> Warning: {warning}" in (tmp_path / "compare.md").read_text()


def state(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """Writing more fails, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_is_full_leaves_the_folder_as_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(report(tmp_path)) == 0
    before = {name: name.encode() + content for name, content in state(tmp_path).items()}
    for name, content in before.items():
        (tmp_path / name).write_bytes(content)
    largest = max(len(content) - len(name) for name, content in before.items())
    capsys.readouterr()
    with no_file_larger_than(largest - 1):
        assert main(report(tmp_path, "--json")) == 1
    printed, told = capsys.readouterr()
    assert "error: " in told and "Traceback" not in told
    assert "error" in json.loads(printed), "one object and not two"
    assert state(tmp_path) == before


def test_ctrl_c_leaves_the_folder_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from edgeseg.bench import strips

    assert main(report(tmp_path)) == 0
    before, draw, drawn = state(tmp_path), strips.draw_strip, []

    def interrupted(*arguments: object) -> np.ndarray:
        drawn.append(arguments)
        if len(drawn) == 2:
            raise KeyboardInterrupt
        return draw(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(strips, "draw_strip", interrupted)
    assert main(report(tmp_path, "--worst", "2")) == 130
    assert "Interrupted" in capsys.readouterr().err
    assert state(tmp_path) == before


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    """Where no report can go, and labels that are of other classes."""
    (tmp_path / "file").write_text("mine")
    data = write_scenes(tmp_path / "other", 1, seed=0)
    cv2.imwrite(str(data / "masks" / "000.png"), np.full((48, 64), 9, np.uint8))
    return {"file": str(tmp_path / "file"), "below": str(tmp_path / "file" / "why"), "other": str(data)}


@pytest.mark.parametrize(
    ("out", "data", "said"),
    [
        pytest.param("file", "data", "is a file", id="the folder is a file"),
        pytest.param("below", "data", "can't be a folder", id="a folder above it is a file"),
        pytest.param("why", "other", "holds the ids 9, but there are 4 classes", id="labels of another class set"),
    ],
)
def test_a_report_that_cannot_be_made_is_refused(
    out: str, data: str, said: str, places: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = places.get(out, str(tmp_path / out))
    words = ["--data", places.get(data, data), "--duration", "0", "-o", out]
    assert main(["compare", "engine.onnx", "fake.fake", *words]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not Path(out).is_dir() or not list(Path(out).iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["engine.onnx", "fake.fake"], "either --frames SOURCE or --data DIR", id="no frames"),
        pytest.param(["engine.onnx", "fake.fake", "--frames", FRAMES, "--data", "data"], "either", id="both"),
        pytest.param(["engine.onnx", "other.fake", "--frames", FRAMES], "classes differ", id="other classes"),
        pytest.param(["engine.onnx", "absent", "--frames", FRAMES], "no engine 'absent'", id="no such engine"),
        pytest.param(["engine.onnx", "fake.fake", "--frames", "nowhere"], "nowhere", id="no such frames"),
        pytest.param(["engine.onnx", "fake.fake", "--data", "data/images"], "no labelled data set", id="no labels"),
        pytest.param(["engine.onnx", "fake.fake", "--data", "strange"], "labels of other classes", id="strange labels"),
        pytest.param(["a", "b", "--data", "data", "--worst", "0"], "1<=x<=50", id="no worst frame"),
        pytest.param(["a", "b", "--data", "data", "--worst", "51"], "1<=x<=50", id="too many of them"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *arguments]) == 2
    assert said in capsys.readouterr().err
