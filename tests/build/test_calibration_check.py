"""Frames that are fit to be calibrated on, and frames that are not."""

from __future__ import annotations

import weakref
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest

pytest.importorskip("onnxruntime")

from edgeseg.build.calibration_check import CheckReport, check_frames
from edgeseg.build.candidate_frames import look_through
from edgeseg.build.prepared import open_prepared
from edgeseg.data.calibration import NamedFrame, open_frames
from edgeseg.data.contact_sheet import COLOURS
from edgeseg.errors import ModelFileError, UsageError
from edgeseg.graph.io import save_graph
from tests.build.painted import BLACK, CLASSES, colour_network, painted, recipe_for, write_frames
from tests.engines import tiny_model
from tests.graph.foreign import Shape, foreign

#: Forty frames that have it all.
FRAMES = [painted(CLASSES[index % 3], index) for index in range(40)]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return colour_network(tmp_path_factory.mktemp("network") / "colours.onnx")


def check(network: Path, source: Path, **options: object) -> CheckReport:
    return check_frames(recipe_for(network, source), **options)  # type: ignore[arg-type]


def said(report: CheckReport, kind: str) -> str:
    return "".join(finding.text for finding in report.findings if finding.kind == kind)


@pytest.mark.parametrize(
    ("frames", "verdict", "kinds"),
    [
        pytest.param(FRAMES, "good", [], id="varied frames"),
        pytest.param([*FRAMES, BLACK], "usable", ["black"], id="one of them black"),
        pytest.param([BLACK] * 3, "bad", ["black"], id="all black, of which the network says nothing"),
        pytest.param(FRAMES[:1], "bad", ["same", "absent", "rare"], id="one frame"),
        pytest.param(FRAMES[:1] * 40, "bad", ["same", "absent"], id="one picture"),
        pytest.param(FRAMES[:30], "usable", ["few"], id="too few"),
        pytest.param(FRAMES + FRAMES[:9], "usable", ["duplicate"], id="copies"),
        pytest.param(FRAMES[0::3] * 3, "usable", ["few", "duplicate", "narrow", "absent"], id="one class alone"),
    ],
)
def test_the_verdict_follows_from_what_is_found(
    network: Path, tmp_path: Path, frames: list[npt.NDArray[np.uint8]], verdict: str, kinds: list[str]
) -> None:
    report = check(network, write_frames(tmp_path / "frames", frames))
    assert (report.verdict, [finding.kind for finding in report.findings]) == (verdict, kinds)
    assert all(finding.text.count(": ") >= 1 and finding.text.endswith(".") for finding in report.findings)


def test_classes_are_counted_as_the_network_finds_them(network: Path, tmp_path: Path) -> None:
    mixed = painted("red", 7)
    mixed[:12, :16] = painted("green", 7)[:12, :16]
    frames = [*(painted("red", seed) for seed in range(7)), mixed]
    report = check(network, write_frames(tmp_path / "frames", frames))
    assert [(found.name, found.frames) for found in report.classes] == [("red", 8), ("green", 1), ("blue", 0)]
    assert [found.share for found in report.classes] == pytest.approx([1 - 1 / 128, 1 / 128, 0], abs=0.002)
    assert "never finds 'blue'" in said(report, "absent") and "finds 'green' in fewer" in said(report, "rare")


def test_frames_that_look_alike_are_listed_together(network: Path, tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "frames", [*FRAMES[:3], FRAMES[1], BLACK, BLACK, FRAMES[1]])
    report = check(network, folder)
    assert [[Path(name).stem for name in group] for group in report.groups] == [["001", "003", "006"], ["004", "005"]]
    assert (report.frames, report.distinct, report.duplicates, report.copies, report.black) == (7, 3, 2, 2, 2)
    assert report.calibration_sha256 == open_frames(folder).sha256


def _data_set(folder: Path) -> dict[str, str]:
    """Frames to evaluate on, in every form that they come in; 5 to 9 of them are calibration frames too."""
    for part, frames in (("train", FRAMES[:2]), ("val", FRAMES[5:8]), ("test", [*FRAMES[8:10], painted("red", 99)])):
        write_frames(folder / "camvid" / part / "images", frames)
        masks = write_frames(folder / "camvid" / part / "labels", [])
        for index in range(len(frames)):
            cv2.imwrite(str(masks / f"{index:03}.png"), np.full((48, 64), 77, np.uint8))
    names = "".join(f"camvid/{part}/images/{index:03}.png\n" for part in ("val", "test") for index in range(3))
    (folder / "list.txt").write_text(names)
    (folder / "set.toml").write_text("source = 'list.txt'\n")
    return {"folder": f"{folder}/camvid", "name": "camvid", "list": f"{folder}/list.txt", "set": f"{folder}/set.toml"}


@pytest.mark.parametrize("form", ["folder", "name", "list", "set"])
def test_a_leak_is_found_whatever_form_the_evaluation_has(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    against = _data_set(tmp_path / "data")[form]
    monkeypatch.setenv("EDGESEG_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    source = write_frames(tmp_path / "frames", FRAMES)
    cv2.imwrite(str(source / "006.png"), FRAMES[6] // 2 * 2)
    report = check(network, source, against=against)
    assert report.leak is not None and (report.leak.against, report.leak.evaluation_frames) == (against, 6)
    pairs = [(Path(pair.frame).stem, Path(pair.evaluation).parts[-3], pair.copy) for pair in report.leak.pairs]
    assert pairs == [(f"{index:03}", "val" if index < 8 else "test", index != 6) for index in range(5, 10)]
    assert "5 of 40 frames are also among the 6" in said(report, "leak") and "4 as exact copies" in said(report, "leak")
    assert report.verdict == "usable"


@pytest.mark.parametrize(
    ("evaluated", "leaked", "verdict"),
    [
        pytest.param([painted("red", 99), BLACK], 0, "usable", id="none, a black frame is no leak"),
        pytest.param(FRAMES[:20], 20, "usable", id="half of the frames"),
        pytest.param(FRAMES[:21], 21, "bad", id="more than half"),
    ],
)
def test_a_leak_is_as_grave_as_it_is_large(
    network: Path, tmp_path: Path, evaluated: list[npt.NDArray[np.uint8]], leaked: int, verdict: str
) -> None:
    source = write_frames(tmp_path / "frames", [*FRAMES[:39], BLACK])
    report = check(network, source, against=str(write_frames(tmp_path / "evaluated", evaluated)))
    assert report.leak is not None and (len(report.leak.pairs), report.verdict) == (leaked, verdict)


@pytest.mark.parametrize(
    ("brighter_by", "expected"),
    [
        pytest.param([3, 1, 2], "001", id="the nearest of three"),
        pytest.param([1, 0, 1], "001", id="an exact copy"),
        pytest.param([3], "000", id="the only one"),
    ],
)
def test_a_leaked_frame_is_shown_with_the_frame_most_like_it(
    network: Path, tmp_path: Path, brighter_by: list[int], expected: str
) -> None:
    against = write_frames(tmp_path / "evaluated", [FRAMES[0] + np.uint8(levels) for levels in brighter_by])
    report = check(network, write_frames(tmp_path / "frames", FRAMES[:1]), against=str(against))
    assert report.leak is not None
    assert [Path(pair.evaluation).stem for pair in report.leak.pairs] == [expected]


def test_the_sheet_shows_what_was_found(network: Path, tmp_path: Path) -> None:
    source = write_frames(tmp_path / "frames", [*FRAMES[:4], FRAMES[1], BLACK])
    against = write_frames(tmp_path / "evaluated", [FRAMES[2]])
    report = check(network, source, against=str(against), sheet=tmp_path / "sheet.png")
    picture = cv2.imread(str(tmp_path / "sheet.png"))
    assert report.sheet == str(tmp_path / "sheet.png") and picture is not None
    for word, colour in {word: COLOURS[word] for word in ("leak", "duplicate", "black")}.items():
        assert (picture == colour[::-1]).all(2).sum() > 500, word
    assert not check(network, source).sheet


@pytest.mark.parametrize(
    ("sheet", "message"),
    [
        pytest.param("frames/sheet.png", "would lie among the frames", id="in the folder of the frames"),
        pytest.param("frames/deep/er/sheet.png", "would lie among the frames", id="below it"),
        pytest.param("sheet.jpg", "is a .png file", id="another format"),
    ],
)
def test_a_sheet_never_becomes_a_frame(network: Path, tmp_path: Path, sheet: str, message: str) -> None:
    source = write_frames(tmp_path / "frames", FRAMES[:2])
    with pytest.raises(UsageError, match=message):
        check(network, source, sheet=tmp_path / sheet)
    assert not (tmp_path / sheet).exists()


@pytest.mark.parametrize(
    ("end", "classes"),
    [("logits", 3), ("softmax", 3), ("labels", 3), ("small", 3), ("softmax_first", 3), ("sigmoid", 2), ("greater", 2)],
)
def test_networks_of_all_shapes_are_asked(tmp_path: Path, end: str, classes: int) -> None:
    save_graph(foreign(Shape(end=end)), tmp_path / "net.onnx")
    recipe = recipe_for(tmp_path / "net.onnx", "synthetic://?width=32&height=24&frames=3", classes="")
    _, prepared = open_prepared(recipe)
    watch, seen = look_through(prepared, open_frames(recipe.calib), lambda _: None)
    assert len(watch) == len(seen) == 3
    for view in seen:
        assert view.means.shape == view.deviations.shape == (8,)
        assert len(view.shares) == classes and view.shares.sum() == pytest.approx(1)


def test_a_network_that_gives_no_numbers_is_refused() -> None:
    model = tiny_model()
    bias = next(node for node in model.graph if node.op_type == "Conv").inputs[2]
    assert bias is not None
    bias.const_value = ir.tensor(np.full(8, np.nan, np.float32))
    with pytest.raises(ModelFileError, match="not finite"):
        look_through(model, open_frames("synthetic://?width=48&height=32&frames=1"), lambda _: None)


def test_frames_are_let_go_of() -> None:
    alive: list[weakref.ref[npt.NDArray[np.uint8]]] = []
    most = 0

    def see(named: NamedFrame) -> None:
        nonlocal most
        alive.append(weakref.ref(named.frame))
        most = max(most, sum(one() is not None for one in alive))

    look_through(tiny_model(), open_frames("synthetic://?width=48&height=32&frames=30"), lambda _: None, see)
    assert len(alive) == 30 and most <= 3
