"""From a model on disk to a report on its blocks, on a network that is fragile on purpose and on a sound one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import msgspec
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from edgeseg.build import BuildRecipe
from edgeseg.build import sensitivity as stage
from edgeseg.build.prepared import open_prepared
from edgeseg.build.sensitivity import find_sensitive_blocks
from edgeseg.build.sensitivity_report import (
    BlockRow,
    BlockScore,
    RankCorrelation,
    SensitivityReport,
    chance_warning,
    proxy_sentence,
    sensitivity_svg,
    whole_sentence,
    write_sensitivity,
)
from edgeseg.data.labelled import open_labelled
from edgeseg.data.scene import Scene
from edgeseg.errors import ModelFileError, UsageError
from edgeseg.graph.io import save_graph
from edgeseg.quantize.probe import Answers, Probe
from edgeseg.quantize.sensitivity import comparable_db, rank_correlation
from tests.build.fragile import HEIGHT, WIDTH, fragile
from tests.graphs import GraphMaker
from tests.half_right import graph_labels
from tests.train.scenes import write_scenes

SVG = "{http://www.w3.org/2000/svg}"
MEAN_STD: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks, frames to calibrate on and others to measure on, and labelled ones."""
    folder = tmp_path_factory.mktemp("sensitivity")
    for name, spread in (("sound", 1), ("fragile", 10_000)):
        save_graph(fragile("relu", spread=spread), folder / f"{name}.onnx")
    scene = Scene((2 * HEIGHT, 2 * WIDTH), seed=2)
    for name, shift in (("calib", 0), ("frames", 3)):
        (folder / name).mkdir()
        for index in range(40):
            cv2.imwrite(str(folder / name / f"{index:03}.png"), scene.render(6 * index + shift))
    write_scenes(folder / "data", 20, seed=5)
    graph_labels(folder / "data", open_prepared(recipe(folder, "fragile", data="-"))[1])
    write_scenes(folder / "strange", 3, seed=5)
    return folder


def recipe(room: Path, name: str, **fields: Any) -> BuildRecipe:
    """Measured ranges, and frames without labels unless others are given."""
    sources = {"calib": str(room / "calib"), **({} if "data" in fields else {"frames": str(room / "frames")})}
    return BuildRecipe(model=str(room / f"{name}.onnx"), **{**MEAN_STD, **sources, **fields})


@pytest.fixture(scope="module")
def fragile_report(room: Path) -> SensitivityReport:
    return find_sensitive_blocks(recipe(room, "fragile"))


@pytest.fixture(scope="module")
def labelled_report(room: Path) -> SensitivityReport:
    return find_sensitive_blocks(recipe(room, "fragile", data=str(room / "data"), gate_frames=6))


def test_the_fragile_block_comes_first_and_pays_off_in_float(fragile_report: SensitivityReport) -> None:
    first, second = fragile_report.blocks
    assert (first.name, len(first.weighted), second.weighted) == ("n0", 3, ("n6",))
    assert {*first.weighted, "n1", "n3", "n5"} <= set(first.nodes), "its activations too"
    assert first.alone.snr_db is not None and second.alone.snr_db is not None
    assert first.alone.snr_db < second.alone.snr_db - 5
    assert first.snr_gain_db is not None and second.snr_gain_db is not None
    assert first.snr_gain_db > 5 > second.snr_gain_db
    assert first.gain is not None and second.gain is not None
    assert first.gain > max(0.02, second.gain)


@pytest.mark.parametrize("kind", ["labels", "agreement"])
def test_gains_are_what_leaving_out_wins_over_the_whole(
    kind: str, fragile_report: SensitivityReport, labelled_report: SensitivityReport
) -> None:
    report = labelled_report if kind == "labels" else fragile_report
    whole = report.all_int8
    assert report.kind == kind and whole is not None and whole.snr_db is not None
    for row in report.blocks:
        assert row.left_out is not None and row.left_out.snr_db is not None
        assert row.snr_gain_db == pytest.approx(row.left_out.snr_db - whole.snr_db)
        assert row.gain == pytest.approx(whole.loss - row.left_out.loss)


def test_without_labels_there_is_agreement_and_no_miou(fragile_report: SensitivityReport) -> None:
    rows, ranks = fragile_report.blocks, fragile_report.rank_correlation
    assert fragile_report.float_miou is None and ranks is not None and ranks.miou_gain is None
    for score in (fragile_report.all_int8, *(row.alone for row in rows), *(row.left_out for row in rows)):
        assert score is not None and score.miou is None and score.drop is None
        assert score.agreement_miou is not None
        assert score.loss == 1 - score.agreement_miou > 0
    assert all(row.miou_gain is None and row.agreement_miou_gain is not None for row in rows)


def test_with_labels_miou_is_theirs(labelled_report: SensitivityReport, room: Path) -> None:
    """Six of twenty frames, evenly spaced with both ends, as the probe alone scores them."""
    _, prepared = open_prepared(recipe(room, "fragile", data="-"))
    data = open_labelled(room / "data", 3)
    probe = Probe(prepared, [data.read(index) for index in (0, 4, 8, 11, 15, 19)])
    assert labelled_report.frames == 6
    assert labelled_report.float_miou == probe.float_miou
    for row in labelled_report.blocks:
        assert row.alone.miou is not None and row.alone.agreement_miou is None
        assert row.alone.drop == pytest.approx(probe.float_miou - row.alone.miou)
        assert row.miou_gain is not None and row.agreement_miou_gain is None


def test_a_quick_run_is_the_proxy_of_which_the_whole_tells(room: Path) -> None:
    """On eleven frames, of which it takes four, on the same ranges."""
    whole = find_sensitive_blocks(recipe(room, "sound", gate_frames=11))
    quick = find_sensitive_blocks(recipe(room, "sound", gate_frames=11), quick=True)
    assert (quick.quick, quick.frames, whole.frames) == (True, 4, 11)
    assert (quick.all_int8, quick.rank_correlation) == (None, None)
    assert all((row.left_out, row.snr_gain_db, row.gain) == (None, None, None) for row in quick.blocks)
    noise = [comparable_db(row.alone.snr_db) for row in quick.blocks]
    assert noise == sorted(noise)
    left_out = {row.name: row.left_out for row in whole.blocks}
    found = [score for row in quick.blocks if (score := left_out[row.name]) is not None]
    assert whole.rank_correlation is not None
    assert (whole.rank_correlation.frames, whole.rank_correlation.blocks) == (4, len(found))
    ranks = [-value for value in noise]
    assert whole.rank_correlation.snr_gain == rank_correlation(ranks, [comparable_db(one.snr_db) for one in found])
    assert whole.rank_correlation.agreement_miou_gain == rank_correlation(
        ranks, [one.agreement_miou or 0 for one in found]
    )


@pytest.mark.parametrize(
    ("gains", "told"),
    [
        pytest.param([], None, id="a quick run has none"),
        pytest.param([0.0, 0.0], "0.00 points won at most and 0.00 lost", id="nothing changes"),
        pytest.param([0.0003, -0.0017], "0.03 points won at most and 0.17 lost", id="more is lost than won"),
        pytest.param([0.05, -0.004], None, id="more is won than lost"),
        pytest.param([0.001, 0.002], None, id="nothing is lost"),
        pytest.param([-0.001, -0.002], "0.00 points won at most and 0.20 lost", id="nothing is won"),
    ],
)
@pytest.mark.parametrize("kind", ["mIoU", "agreement"])
def test_gains_that_are_no_larger_than_losses_are_called_chance(
    gains: list[float], told: str | None, kind: str
) -> None:
    score = BlockScore(snr_db=20.0, agreement=0.9)
    field = "miou_gain" if kind == "mIoU" else "agreement_miou_gain"
    rows = [
        BlockRow(name="n", label="n", nodes=("n",), weighted=("n",), parameters=1, alone=score, **{field: gain})
        for gain in gains
    ]
    warnings = chance_warning(rows)
    assert len(warnings) == (told is not None)
    assert all(told and told in warning and f"changes in {kind} is chance" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("saturates", "asked", "dialect"),
    [
        pytest.param(False, None, "u8-asym", id="that of most CPUs"),
        pytest.param(True, None, "u8-asym-reduced", id="that of CPUs whose sums saturate"),
        pytest.param(True, "s8-sym", "s8-sym", id="the one that was asked for"),
    ],
)
def test_the_dialect_is_that_of_the_cpu_at_hand(
    room: Path, monkeypatch: pytest.MonkeyPatch, saturates: bool, asked: Any, dialect: str
) -> None:
    monkeypatch.setattr(stage, "int8_saturates", lambda: saturates)
    report = find_sensitive_blocks(recipe(room, "sound", gate_frames=1), dialect=asked, quick=True)
    assert report.dialect == dialect


def test_frames_that_were_calibrated_on_are_told_of(room: Path) -> None:
    """Every fifth of forty is held out from calibration: the 20th, but not the 6th and the 33rd."""
    same = find_sensitive_blocks(recipe(room, "sound", frames=str(room / "calib"), gate_frames=3), quick=True)
    assert any(warning.startswith("2 of the 3 frames were calibrated on") for warning in same.warnings)
    others = find_sensitive_blocks(recipe(room, "sound", gate_frames=3), quick=True)
    assert not any("were calibrated on" in warning for warning in others.warnings)


def test_progress_rises_to_the_end(room: Path) -> None:
    shares: list[float] = []
    find_sensitive_blocks(recipe(room, "sound", gate_frames=2), on_progress=lambda share, _: shares.append(share))
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        pytest.param({"frames": ""}, UsageError, "Give the frames", id="no frames"),
        pytest.param({"data": "data", "frames": "frames"}, UsageError, "Give the frames", id="two kinds of frames"),
        pytest.param({"calib": ""}, UsageError, "no ranges lie beside", id="no ranges"),
        pytest.param({"calibrator": "auto"}, UsageError, "no calibrator 'auto'", id="a calibrator that is none"),
        pytest.param({"precision": "fp32"}, UsageError, "fp32", id="a float precision"),
        pytest.param({"data": "classes"}, UsageError, "there are 3 classes", id="labels of more classes"),
        pytest.param({"data": "strange"}, UsageError, "labels of other classes", id="labels of other classes"),
    ],
)
def test_what_does_not_fit_is_refused(room: Path, fields: dict[str, Any], error: type[Exception], message: str) -> None:
    if fields.get("data") == "classes":
        folder = write_scenes(room / "classes", 1, seed=1)
        cv2.imwrite(str(folder / "masks" / "000.png"), cv2.imread(str(folder / "masks" / "000.png"), -1) + 7)
    paths = {
        name: str(room / value) if name in ("data", "frames") and value else value for name, value in fields.items()
    }
    with pytest.raises(error, match=message):
        find_sensitive_blocks(recipe(room, "sound", **{**fields, **paths}))


def test_ranges_are_read_or_measured_and_not_both(room: Path) -> None:
    with pytest.raises(UsageError, match="either measured"):
        find_sensitive_blocks(recipe(room, "sound"), ranges=room / "sound.ranges.npz")


@pytest.mark.parametrize("quick", [False, True], ids=["the whole run", "a quick run"])
@pytest.mark.parametrize("weights", [True, False], ids=["a classifier alone", "nothing with weights"])
def test_a_network_without_blocks_has_nothing_to_lose(room: Path, tmp_path: Path, weights: bool, quick: bool) -> None:
    m = GraphMaker()
    out = m.conv("image", 3, 3) if weights else m.node("Relu", "image")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 3, HEIGHT, WIDTH)) for name in ("image", out)]
    onnx.save(m.model(ends[:1], ends[1:]), tmp_path / "one.onnx")
    one = msgspec.structs.replace(recipe(room, "sound", gate_frames=1), model=str(tmp_path / "one.onnx"))
    with pytest.raises(ModelFileError, match=r"nothing (that eight bits could harm|to quantize)"):
        find_sensitive_blocks(one, quick=quick)


def test_both_files_are_written(fragile_report: SensitivityReport, tmp_path: Path) -> None:
    written = write_sensitivity(fragile_report, tmp_path / "new")
    assert written == (tmp_path / "new" / "sensitivity.json", tmp_path / "new" / "sensitivity.svg")
    assert json.loads(written[0].read_text())["schema"] == "edgeseg.sensitivity/1"
    assert msgspec.json.decode(written[0].read_bytes(), type=SensitivityReport) == fragile_report
    assert written[1].read_text() == sensitivity_svg(fragile_report)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["sensitivity.json", "sensitivity.svg"]


@pytest.mark.parametrize("blocked", ["sensitivity.json", "sensitivity.svg"])
def test_where_one_can_not_be_written_no_half_file_stays(
    fragile_report: SensitivityReport, tmp_path: Path, blocked: str
) -> None:
    (tmp_path / blocked).mkdir()
    with pytest.raises(OSError, match=blocked):
        write_sensitivity(fragile_report, tmp_path)
    assert not list(tmp_path.glob(".*"))
    assert not (tmp_path / "sensitivity.json").is_file(), "it is replaced last"


def drawn(report: SensitivityReport) -> list[str]:
    return ["".join(one.itertext()) for one in ElementTree.fromstring(sensitivity_svg(report)).iter(f"{SVG}text")]


def test_the_chart_shows_both_series_of_all_blocks(fragile_report: SensitivityReport) -> None:
    texts = drawn(fragile_report)
    for row in fragile_report.blocks:
        assert any(row.label in text for text in texts)
        assert f"{row.alone.snr_db:.1f}" in texts
        assert f"{row.snr_gain_db:+.2f}" in texts
    assert any("dB below the signal" in text for text in texts)
    assert any("agreement, no accuracy" in text for text in texts)


def test_the_chart_of_a_quick_run_shows_the_noise_alone(fragile_report: SensitivityReport) -> None:
    row = msgspec.structs.replace(fragile_report.blocks[0], left_out=None, snr_gain_db=None, agreement_miou_gain=None)
    texts = drawn(msgspec.structs.replace(fragile_report, quick=True, all_int8=None, blocks=(row,)))
    assert f"{row.alone.snr_db:.1f}" in texts
    assert not any("gain" in text for text in texts)


@pytest.mark.parametrize("kind", ["labels", "agreement"])
def test_the_chart_shows_what_each_block_loses_alone(
    kind: str, fragile_report: SensitivityReport, labelled_report: SensitivityReport
) -> None:
    report = labelled_report if kind == "labels" else fragile_report
    texts = drawn(report)
    assert "One block alone in INT8: loss" in texts
    assert any(text.startswith("points of ") and ("own classes" in text) is (kind == "agreement") for text in texts)
    assert all(f"{100 * row.alone.loss:+.2f}" in texts for row in report.blocks)


class Broken(Probe):
    """The second block, alone in eight bits, gives what is no number."""

    asked = 0

    def answer(self, graph: ir.Model) -> Answers:
        answers = super().answer(graph)
        self.asked += 1
        return (
            Answers([logits * np.float32("nan") for logits in answers.logits], answers.maps)
            if self.asked == 3
            else answers
        )


def test_a_block_that_gives_no_numbers_comes_first(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "Probe", Broken)
    report = find_sensitive_blocks(recipe(room, "sound", gate_frames=2), quick=True)
    first, second = report.blocks
    assert (first.name, first.alone.snr_db, first.alone.drowned) == ("n6", None, True)
    assert second.alone.snr_db is not None and not second.alone.drowned
    written = json.loads(msgspec.json.encode(report))["blocks"]
    assert [one["alone"]["drowned"] for one in written] == [True, False]
    assert "drowned" in drawn(report)


def test_where_all_are_drowned_there_is_no_gain_in_decibels(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first graph in eight bits is the one with all blocks."""

    class AllBroken(Broken):
        asked = 1

    monkeypatch.setattr(stage, "Probe", AllBroken)
    report = find_sensitive_blocks(recipe(room, "sound", gate_frames=2))
    assert report.all_int8 is not None and report.all_int8.drowned
    assert [row.snr_gain_db for row in report.blocks] == [None, None]
    assert "drowned in noise" in whole_sentence(report.all_int8)


def test_hostile_names_are_text_in_the_chart(fragile_report: SensitivityReport) -> None:
    name = "</title><script>\x00&amp;"
    row = msgspec.structs.replace(fragile_report.blocks[0], label=name)
    hostile = msgspec.structs.replace(fragile_report, model=name, source=name, blocks=(row,))
    assert sum("</title><script>\ufffd&amp;" in text for text in drawn(hostile)) == 3
    assert "<script" not in sensitivity_svg(hostile)


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        pytest.param({"miou": 0.7, "drop": 0.012}, "20.0 dB, mIoU 70.00, 1.20 points below float.", id="worse"),
        pytest.param({"miou": 0.7, "drop": -0.012}, "20.0 dB, mIoU 70.00, 1.20 points above float.", id="better"),
        pytest.param({"miou": 0.7, "drop": 0.0}, "20.0 dB, mIoU 70.00, 0.00 points below float.", id="as good"),
        pytest.param(
            {"agreement_miou": 0.975},
            "20.0 dB, mean IoU 97.50 against float's own classes (agreement, no accuracy).",
            id="without labels",
        ),
        pytest.param({"snr_db": None, "agreement_miou": 1.0}, "no noise, mean IoU 100.00", id="equal"),
    ],
)
def test_the_whole_is_told_in_a_sentence(score: dict[str, Any], expected: str) -> None:
    told = whole_sentence(BlockScore(**{"snr_db": 20.0, "agreement": 0.9, **score}))
    assert told.startswith(f"All blocks in INT8: {expected}")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param({"snr_gain": 0.5, "miou_gain": -0.25}, "0.50 by gain in dB, -0.25 by gain in mIoU", id="labels"),
        pytest.param({"snr_gain": 1.0, "agreement_miou_gain": 0.0}, "0.00 by gain in agreement", id="no labels"),
        pytest.param({"snr_gain": None}, "Spearman can not be told", id="one block"),
    ],
)
def test_the_worth_of_a_quick_run_is_told_in_a_sentence(found: dict[str, Any], expected: str) -> None:
    told = proxy_sentence(RankCorrelation(frames=4, blocks=9, **found))
    assert told.startswith("A quick run, noise alone on 4 frames, ranks the 9 blocks")
    assert told.endswith(f"{expected}.")
