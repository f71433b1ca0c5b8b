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
from edgeseg.graph.io import save_graph
from edgeseg.quantize.ranges import load_ranges
from tests.engines import tiny_model

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
    assert report["warnings"] == ["Only 4 frames were calibrated on; a hundred varied ones are better."]


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
    assert "warning: Only 6 frames" in told.err


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
