"""`edgeseg calibrate` on the tiny network and rendered frames."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from edgeseg.card import Preprocess
from edgeseg.cli import main
from edgeseg.data.calibration import FrameSet, NamedFrame, open_frames
from edgeseg.data.scene import Scene
from edgeseg.graph.io import save_graph
from edgeseg.quantize.ranges import load_ranges
from tests.engines import NAMES, tiny_model
from tests.graph.foreign import Shape, foreign

STREET = "synthetic://?width=96&height=64&frames=6&seed=1"
AS_PIXELS = Preprocess(channels="bgr", std=(1.0, 1.0, 1.0))


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float graph with a card."""
    path = tmp_path_factory.mktemp("network") / "tiny.onnx"
    save_graph(tiny_model(kind="graph", preprocess=AS_PIXELS), path)
    return path


def test_the_report_says_what_the_file_holds(network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "tiny.ranges.npz"
    assert main(["calibrate", str(network), STREET, "-o", str(out), "--calib-frames", "4", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    ranges = load_ranges(out)
    assert report["schema"] == "edgeseg.calibrate/1"
    assert (report["ranges"], report["size_bytes"]) == (str(out), out.stat().st_size)
    assert (report["ranges_sha256"], report["weights_sha256"]) == (ranges.sha256(), ranges.weights_sha256)
    assert [report["calibration_sha256"]] == list(ranges.calibration_sha256) == [open_frames(STREET, limit=4).sha256]
    assert (report["frames"], report["size_hw"], report["tensors"]) == (4, [32, 48], len(ranges.tensors))
    (warning,) = report["warnings"]
    assert warning.startswith("Only 3 distinct pictures are among the 4 frames")


def test_tails_are_told_of_tensors_that_are_rounded(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["calibrate", str(network), STREET, "-o", str(tmp_path / "tiny.ranges.npz"), "--json"])
    tails = json.loads(capsys.readouterr().out)["tails"]
    ranges = load_ranges(tmp_path / "tiny.ranges.npz").tensors
    assert {"pixels", "logits", "t1"} <= {tail["tensor"] for tail in tails}
    assert "t0" not in {tail["tensor"] for tail in tails}, "a Clip cuts it before it is rounded"
    bits = [tail["bits"] for tail in tails]
    assert bits == sorted(bits, reverse=True)
    for tail in tails:
        largest = max(-tail["minimum"], tail["maximum"])
        assert (tail["minimum"], tail["maximum"]) == (ranges[tail["tensor"]].minimum, ranges[tail["tensor"]].maximum)
        assert tail["bits"] == pytest.approx(np.log2(largest / tail["most"]))


def test_people_are_shown_the_longest_tails_and_what_comes_next(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tiny.ranges.npz"
    assert main(["calibrate", str(network), STREET, "-o", str(out)]) == 0
    told = capsys.readouterr()
    assert "99.99 % within" in told.out
    assert f"Next: edgeseg quantize {network} {out}" in told.err
    assert "warning: Only 3 distinct pictures are among the 6 frames" in told.err


def test_what_was_interrupted_leaves_the_old_ranges(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tiny.ranges.npz"
    main(["calibrate", str(network), STREET, "-o", str(out)])
    before = out.read_bytes()

    def interrupted(_: FrameSet) -> NamedFrame:
        raise KeyboardInterrupt

    monkeypatch.setattr(FrameSet, "__iter__", interrupted)
    assert main(["calibrate", str(network), STREET, "-o", str(out)]) == 130
    assert out.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def _one_bad_image(folder: Path) -> str:
    (folder / "frames").mkdir()
    cv2.imwrite(str(folder / "frames" / "good.png"), np.zeros((32, 48, 3), np.uint8))
    (folder / "frames" / "bad.png").write_bytes(b"no image")
    return str(folder / "frames")


@pytest.mark.parametrize(
    ("model", "source", "code", "message"),
    [
        pytest.param("{net}", "{tmp}/none", 2, "none", id="a source that does not exist"),
        pytest.param("{net}", "{tmp}", 2, "no images", id="an empty folder"),
        pytest.param("{net}", "{bad}", 1, "bad.png", id="a folder of unreadable images"),
        pytest.param("{tmp}/none.onnx", STREET, 2, "does not exist", id="a model that does not exist"),
        pytest.param("{junk}", STREET, 4, "junk.onnx", id="a model that is no ONNX"),
    ],
)
def test_bad_input_ends_with_its_code_and_writes_nothing(
    model: str, source: str, code: int, message: str, network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    junk, out = tmp_path / "junk.onnx", tmp_path / "out.ranges.npz"
    junk.write_bytes(b"junk")
    bad = _one_bad_image(tmp_path) if source == "{bad}" else ""
    words = [word.format(net=network, tmp=tmp_path, bad=bad, junk=junk) for word in (model, source)]
    assert main(["calibrate", *words, "-o", str(out), "--json"]) == code
    assert message in json.loads(capsys.readouterr().out)["error"]["message"]
    assert not out.exists()


def _frames(folder: Path, kind: str) -> str:
    """A folder of images: forty streets, one picture forty times, or nothing but black."""
    folder.mkdir(parents=True)
    for index in range(40):
        scene = Scene((48, 64), seed=index if kind == "varied" else 0).render(20 * index if kind == "varied" else 0)
        light = 0 if kind == "black" else 0.5 + 0.5 * (index % 2) if kind == "varied" else 1
        cv2.imwrite(str(folder / f"{index:02}.png"), (scene * light).astype(np.uint8))
    return str(folder)


@pytest.mark.parametrize(
    ("kind", "code", "verdict", "found"),
    [
        pytest.param("varied", 0, None, set(), id="frames that are fit"),
        pytest.param("same", 7, "bad", {"same"}, id="one picture over and over"),
        pytest.param("black", 7, "bad", {"black"}, id="all black"),
    ],
)
def test_a_check_ends_with_the_code_of_its_verdict(
    kind: str, code: int, verdict: str | None, found: set[str], network: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    source = _frames(tmp_path / kind, kind)
    assert main(["calibrate", str(network), source, "--check", "--json"]) == code
    report = json.loads(capsys.readouterr().out)
    assert report["schema"] == "edgeseg.calibrate/1" and report["check"]["frames"] == 40
    assert report["check"]["verdict"] in ([verdict] if verdict else ["good", "usable"])
    assert found <= {finding["kind"] for finding in report["check"]["findings"]}
    assert ("error" in report) is (code == 7)
    assert [path.name for path in tmp_path.iterdir()] == [kind], "a check writes nothing"


def test_people_are_told_what_a_check_found(network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, sheet = _frames(tmp_path / "frames", "varied"), tmp_path / "sheet.png"
    words = ["calibrate", str(network), source, "--check", "--against", source, "--sheet", str(sheet)]
    assert main(words) == 7
    told = capsys.readouterr()
    for expected in ("distinct pictures", "mean luminance", "in frames", *NAMES, "bad: 40 of 40", "verdict: bad"):
        assert expected in told.out
    assert "are no good to calibrate on" in told.err and "Wrote" in told.err
    assert cv2.imread(str(sheet)) is not None


def test_a_chosen_set_is_taken_wherever_frames_are(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, chosen = _frames(tmp_path / "frames", "varied"), str(tmp_path / "set.toml")
    assert (
        main(["calibrate", str(network), source, "--select", "5", "-o", chosen, "--calib-frames", "20", "--json"]) == 0
    )
    report = json.loads(capsys.readouterr().out)
    selection = report["selection"]
    assert (report["schema"], selection["candidates"], selection["frames"]) == ("edgeseg.calibrate/1", 20, 5)
    assert [Path(selection[key]).is_file() for key in ("set", "sheet")] == [True, True]
    out = tmp_path / "tiny.ranges.npz"
    assert main(["calibrate", str(network), chosen, "-o", str(out)]) == 0
    assert load_ranges(out).calibration_sha256 == (selection["calibration_sha256"],)
    capsys.readouterr()
    assert main(["calibrate", str(network), chosen, "--check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["check"]["calibration_sha256"] == selection["calibration_sha256"]


def test_people_are_told_how_good_a_choice_is(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, chosen = _frames(tmp_path / "frames", "varied"), tmp_path / "set.toml"
    assert main(["calibrate", str(network), source, "--select", "100", "-o", str(chosen)]) == 0
    told = capsys.readouterr()
    assert "selected" in told.out and "evenly spaced" in told.out and "Left out: 0 that show nothing" in told.out
    assert "100 were asked for" in told.err and f"edgeseg build {network} --calib {chosen}" in told.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param([], "not said where to write", id="neither a file nor a check"),
        pytest.param(["--select", "3"], "not said where to write", id="a choice without a file"),
        pytest.param(["--select", "3", "-o", "x.npz"], "is a .toml file", id="a choice in another file"),
        pytest.param(["--select", "0", "-o", "s.toml"], "--select", id="a choice of nothing"),
        pytest.param(["--check", "-o", "x.ranges.npz"], "only looks", id="a check with a file"),
        pytest.param(["--check", "--select", "3"], "only looks", id="a check with a choice"),
        pytest.param(["-o", "x.ranges.npz", "--against", "f"], "belong to --check", id="a leak without a check"),
        pytest.param(["--select", "3", "-o", "s.toml", "--sheet", "s.png"], "belong to --check", id="a sheet without"),
        pytest.param(["--check", "--sheet", "sheet.gif"], "is a .png file", id="a sheet of another format"),
        pytest.param(["--check", "--against", "nowhere"], "nowhere", id="an evaluation that does not exist"),
    ],
)
def test_options_that_do_not_fit_are_refused_and_nothing_is_written(
    options: list[str], message: str, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["calibrate", str(network), STREET, *options, "--json"]) == 2
    assert message in json.loads(capsys.readouterr().out)["error"]["message"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("when", ["while frames are looked at", "while the set is written"])
def test_a_choice_that_was_interrupted_leaves_the_old_one(
    when: str, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["calibrate", str(network), STREET, "--select", "1", "-o", str(tmp_path / "set.toml")]
    assert main(words) == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def interrupted(*_: object) -> NamedFrame:
        raise KeyboardInterrupt

    if when == "while frames are looked at":
        monkeypatch.setattr(FrameSet, "__iter__", interrupted)
    else:
        monkeypatch.setattr("edgeseg.files.os.replace", interrupted)
    assert main(words) == 130
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert set(before) == {"set.toml", "set.png"}


def test_a_model_without_a_card_is_asked_with_the_options_of_a_build(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_graph(foreign(Shape()), tmp_path / "net.onnx")
    words = ["calibrate", str(tmp_path / "net.onnx"), STREET, "--check", "--json"]
    assert main(words) == 2
    assert "--mean" in json.loads(capsys.readouterr().out)["error"]["hint"]
    assert main([*words, "--mean", "0.5", "--std", "0.5", "--classes", "a,b,c"]) in (0, 7)
    assert [found["name"] for found in json.loads(capsys.readouterr().out)["check"]["classes"]] == ["a", "b", "c"]
