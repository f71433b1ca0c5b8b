"""`edgeseg build` as its user meets it: a foreign network, a folder of frames, and all that can be wrong with both."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

import onnx_ir as ir
from onnx import TensorProto, helper

from edgeseg.build import BuildRecipe, find_engine, load_session
from edgeseg.build.golden import golden_paths, read_golden, write_golden
from edgeseg.build.recipe import preprocess_of
from edgeseg.build.stages import calibrate_file, quantize_file
from edgeseg.card import write_card
from edgeseg.cli import main
from edgeseg.cli.options import triple
from edgeseg.data.scene import Scene
from edgeseg.errors import EngineMismatch, ModelFileError
from edgeseg.files import sha256_file
from edgeseg.graph.io import save_graph
from tests.graph.foreign import HEIGHT, WIDTH, Shape, classifier, foreign
from tests.graphs import GraphMaker

IMAGENET = ("--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225")
QUICK = ("--backend", "onnxruntime", "--duration", "0.05", "--even-if-slower", "--json")


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a network, frames, and labels that the network itself would give."""
    folder = tmp_path_factory.mktemp("stock")
    save_graph(foreign(Shape()), folder / "net.onnx")
    for name in ("frames", "data/images", "data/masks"):
        (folder / name).mkdir(parents=True)
    scene = Scene((2 * HEIGHT, 2 * WIDTH), seed=2)
    for index in range(20):
        frame = scene.render(6 * index)
        cv2.imwrite(str(folder / f"frames/{index:03}.png"), frame)
        cv2.imwrite(str(folder / f"data/images/{index:03}.png"), scene.render(6 * index + 3))
        cv2.imwrite(str(folder / f"data/masks/{index:03}.png"), frame[..., 0] % 3)
    return folder


class Ran:
    """What a command printed and ended with."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def report(self) -> dict[str, Any]:
        return dict(json.loads(self.out))


@pytest.fixture
def edgeseg(capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*words: object) -> Ran:
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return call


def build(edgeseg: Any, stock: Path, out: Path, *words: object) -> Ran:
    ran: Ran = edgeseg(
        "build", stock / "net.onnx", "--int8", *IMAGENET, "--calib", stock / "frames", *QUICK, "-o", out, *words
    )
    return ran


@pytest.fixture
def built(edgeseg: Any, stock: Path, tmp_path: Path) -> Path:
    """A store with one engine."""
    ran = build(edgeseg, stock, tmp_path / "engines")
    assert ran.code == 0, ran.err
    return tmp_path / "engines"


def answers(folder: Path) -> np.ndarray:
    with load_session(find_engine(None, folder)) as session:
        return session.infer(Scene((HEIGHT, WIDTH), seed=9).render(0)[None])


def test_a_foreign_network_becomes_a_gated_engine(edgeseg: Any, stock: Path, tmp_path: Path) -> None:
    ran = build(edgeseg, stock, tmp_path)
    assert ran.code == 0, ran.err
    report = ran.report
    assert report["schema"] == "edgeseg.build/1"
    assert (report["backend"], report["precision"], report["verdict"]) == ("onnxruntime", "int8", "pass")
    assert (report["gate"]["kind"], report["gate"]["frames"]) == ("agreement", 2)
    assert 0.96 <= report["gate"]["agreement"] <= 1
    assert report["int8_convs"] == report["total_convs"] - 1 == 3
    assert report["speed"]["ratio"] == pytest.approx(report["speed"]["float_p50_ms"] / report["speed"]["p50_ms"])
    engine = Path(report["engine"])
    assert engine.name == f"net-{HEIGHT}x{WIDTH}-int8-onnxruntime.onnx"
    assert json.loads((tmp_path / "current.json").read_text())["engine"] == engine.name
    found = {path.name for path in tmp_path.iterdir() if path.suffix == ".json"}
    assert found == {"current.json", f"{engine.name}.json"}
    assert all(path.is_file() for path in golden_paths(engine))
    assert len(np.unique(answers(tmp_path))) > 1


def test_two_builds_give_the_same_graph(edgeseg: Any, stock: Path, tmp_path: Path) -> None:
    first, second = (build(edgeseg, stock, tmp_path / name).report for name in ("a", "b"))
    assert first["graph_sha256"] == second["graph_sha256"]
    assert first["ranges_sha256"] == second["ranges_sha256"]


def test_labels_gate_on_miou(edgeseg: Any, stock: Path, tmp_path: Path) -> None:
    gate = build(edgeseg, stock, tmp_path, "--data", stock / "data").report["gate"]
    assert (gate["kind"], gate["frames"]) == ("labels", 20)
    assert gate["drop"] == pytest.approx(gate["float_miou"] - gate["miou"])
    assert gate["drop_ci95"][0] <= gate["drop"] <= gate["drop_ci95"][1]
    assert set(gate["class_drop"]) <= {"class 0", "class 1", "class 2"}


def test_a_failed_gate_replaces_nothing_and_gives_the_figures(edgeseg: Any, stock: Path, built: Path) -> None:
    before = {path.name: path.read_bytes() for path in built.iterdir()}
    ran = build(edgeseg, stock, built, "--data", stock / "data", "--max-drop", "-90")
    assert ran.code == 7
    assert ran.report["verdict"] == "fail"
    assert ran.report["engine"] == ""
    assert "a drop of -90 is allowed" in ran.report["error"]["message"]
    assert not any("--engine" in warning for warning in ran.report["warnings"])
    assert {path.name: path.read_bytes() for path in built.iterdir()} == before


def test_float_engines_are_built_by_the_same_command(edgeseg: Any, stock: Path, tmp_path: Path) -> None:
    ran = edgeseg(
        "build", stock / "net.onnx", "--fp32", *IMAGENET, *QUICK, "--frames", stock / "frames", "-o", tmp_path
    )
    assert (ran.report["precision"], ran.report["verdict"], ran.report["gate"]["agreement"]) == ("fp32", "pass", 1.0)


def test_without_frames_the_engine_is_kept_unmeasured_and_does_not_lead(edgeseg: Any, stock: Path, built: Path) -> None:
    before = find_engine(None, built).path
    ran = edgeseg("build", stock / "net.onnx", "--fp32", *IMAGENET, *QUICK, "-o", built)
    assert (ran.code, ran.report["verdict"], ran.report["gate"]["kind"]) == (0, "unmeasured", "none")
    assert Path(ran.report["engine"]).is_file()
    assert find_engine(None, built).path == before


def test_a_network_that_is_nowhere_confident_is_not_judged(edgeseg: Any, stock: Path, tmp_path: Path) -> None:
    graph = foreign(Shape())
    classifier = graph.graph.outputs[0].producer().inputs[0].producer()
    for value in classifier.inputs[1:]:
        value.const_value = ir.tensor(value.const_value.numpy() / 1000, name=value.name)
    save_graph(graph, tmp_path / "vague.onnx")
    words = ("--int8", *IMAGENET, *QUICK, "--calib", stock / "frames", "-o", tmp_path / "engines")
    ran = edgeseg("build", tmp_path / "vague.onnx", *words)
    assert (ran.code, ran.report["verdict"], ran.report["gate"]["confident"]) == (0, "unmeasured", 0.0), ran.err
    assert any("unmeasured: float is confident of 0.00 %" in warning for warning in ran.report["warnings"])


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        pytest.param(("nonet",), 2, "There is no model 'nonet'", id="no such model"),
        pytest.param(("missing.onnx",), 2, "does not exist", id="a file that is not there"),
        pytest.param(("{stock}/frames/000.png",), 2, "is no .onnx file or checkpoint", id="a picture as model"),
        pytest.param(("{stock}/net.onnx", "--calib", "{stock}/frames"), 2, "--mean 0.485", id="no mean and deviation"),
        pytest.param(("{stock}/net.onnx", *IMAGENET), 2, "--calib FOLDER|VIDEO", id="no ranges and no frames"),
        pytest.param(
            ("{stock}/net.onnx", "--mean", "9", "--std", "8", "--input-range", "1"), 2, "0 to 1", id="bytes' mean"
        ),
        pytest.param(("{stock}/net.onnx", "--mean", "1,2"), 2, "not three numbers", id="two means"),
        pytest.param(("{stock}/net.onnx", *IMAGENET, "--imgsz", "huge"), 2, "as in 360x640", id="no size"),
        pytest.param(
            ("{stock}/net.onnx", *IMAGENET, "--calib", "{stock}/empty"), 2, "no image", id="an empty calibration folder"
        ),
        pytest.param(
            ("{stock}/net.onnx", *IMAGENET, "--calib", "{stock}/bad"), 1, "decode", id="an unreadable folder"
        ),
        pytest.param(
            ("{stock}/net.onnx", *IMAGENET, "--calib", "{stock}/frames", "--calibrator", "minmix"), 2, "minmax",
            id="a misspelt calibrator",
        ),
        pytest.param(
            ("{stock}/net.onnx", *IMAGENET, "--calib", "{stock}/frames", "--backend", "openvin"), 2, "openvino",
            id="a misspelt backend",
        ),
        pytest.param(
            ("{stock}/net.onnx", *IMAGENET, "--calib", "{stock}/frames", "--max-drop", "1"), 2, "--data DIR",
            id="a limit on labels without labels",
        ),
        pytest.param(
            ("{stock}/net.onnx", *IMAGENET, "--calib", "{stock}/frames", "--data", "{stock}/data", "--max-drop", "nan"),
            2, "--max-drop is nan", id="a limit that is no number",
        ),
        pytest.param(
            ("{stock}/net.onnx", *IMAGENET, "--calib", "{stock}/frames", "--data", "{stock}/data", "--frames", "x"), 2,
            "--data and --frames", id="two kinds of frames to judge on",
        ),
        pytest.param(
            ("{stock}/net.onnx", *IMAGENET, "--calib", "{stock}/frames", "--keep-float", "n99"), 2, "n99",
            id="a node that is not there",
        ),
        pytest.param(
            ("{stock}/net.onnx", *IMAGENET, "--calib", "{stock}/frames", "--frames", "{stock}/frames"), 2,
            "calibrated on", id="a gate on the frames that were calibrated on",
        ),
        pytest.param(("{stock}/cut.onnx", *IMAGENET), 4, "can't be read", id="a truncated model"),
        pytest.param(("{stock}/noise.onnx", *IMAGENET), 4, "can't be read", id="a model of noise"),
        pytest.param(
            ("{stock}/net.onnx", *IMAGENET, "--calib", "{stock}/frames", "--data", "{stock}/wrong"), 2, "ids 9",
            id="labels above the class count",
        ),
        pytest.param(
            ("liteseg-efficientnet-lite0-camvid", "--channels", "bgr", "--threshold", "0"), 2,
            "--channels, --threshold can't be given", id="options that would have no effect",
        ),
        pytest.param(("{stock}/net.onnx", *IMAGENET, "--fp32"), 2, "--fp32 and --int8", id="two precisions"),
        pytest.param(
            ("{stock}/net.onnx", "--mean", "nan", "--std", "1"), 2, "must be numbers", id="a mean that is no number"
        ),
        pytest.param(("{stock}/net.onnx", *IMAGENET, "--network", "x"), 2, "--network", id="a network for a graph"),
        pytest.param(("{stock}/classifier.onnx", *IMAGENET), 2, "no map over the image", id="a classifier"),
        pytest.param(
            ("{stock}/bare.onnx", *IMAGENET, "--calib", "{stock}/frames"), 4, "nothing to quantize",
            id="a network without any convolution",
        ),
        pytest.param(
            ("{stock}/quantized.onnx", *IMAGENET, "--calib", "{stock}/frames"), 4, "is quantized already",
            id="a network that is quantized already",
        ),
        pytest.param(
            ("{stock}/net.onnx", *IMAGENET, "--calib", "{stock}/black"), 2, "None of the 4 frames",
            id="black frames to calibrate on",
        ),
        pytest.param(
            ("{stock}/net.onnx", *IMAGENET, "--calib", "{stock}/frames", "--frames", "{stock}/black"), 2,
            "None of the 5 frames", id="black frames to judge on",
        ),
        pytest.param(
            ("{stock}/net.onnx", *IMAGENET, "--calib", "{stock}/frames", "--data", "{stock}/others"), 2,
            "labels of other classes", id="labels of other classes with the same ids",
        ),
        pytest.param(("{stock}/nan.onnx", *IMAGENET), 4, "impossible", id="ranges with a limit that is no number"),
        pytest.param(("--recipe", "{stock}/misspelt.toml"), 2, "upsample", id="a misspelt option in a recipe"),
    ],
)  # fmt: skip
def test_bad_input_is_answered_with_what_to_do(
    edgeseg: Any, stock: Path, tmp_path: Path, words: tuple[str, ...], code: int, says: str
) -> None:
    spoil(stock)
    quick = () if "--backend" in words else ("--backend", "onnxruntime")
    ran = edgeseg("build", "--int8", *(word.format(stock=stock) for word in words), *quick, "-o", tmp_path)
    assert ran.code == code, ran.err
    assert says in ran.err
    assert "Traceback" not in ran.err
    assert ran.out == ""
    assert not list(tmp_path.glob("*.onnx"))


def spoil(stock: Path) -> None:
    """Broken things beside the sound ones."""
    if (stock / "empty").is_dir():
        return
    whole = (stock / "net.onnx").read_bytes()
    (stock / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    (stock / "noise.onnx").write_bytes(np.random.default_rng(0).bytes(4000))
    (stock / "misspelt.toml").write_text('model = "x.onnx"\nupsampel = "full"\n')
    save_graph(classifier(), stock / "classifier.onnx")
    (stock / "bad").mkdir()
    for index in range(3):
        (stock / f"bad/{index}.png").write_bytes(b"no picture")
    shutil.copytree(stock / "data", stock / "wrong")
    cv2.imwrite(str(stock / "wrong/masks/003.png"), np.full((2 * HEIGHT, 2 * WIDTH), 9, np.uint8))
    (stock / "empty").mkdir()
    save_graph(bare(), stock / "bare.onnx")
    (stock / "black").mkdir()
    for index in range(5):
        black = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        black[0, index] = 1
        cv2.imwrite(str(stock / f"black/{index}.png"), black)
    shutil.copytree(stock / "data", stock / "others")
    for mask in (stock / "others/masks").iterdir():
        cv2.imwrite(str(mask), np.zeros((2 * HEIGHT, 2 * WIDTH), np.uint8))
    spoil_ranges(stock)


def spoil_ranges(stock: Path) -> None:
    """An INT8 graph to begin with, and ranges in which a limit is no number."""
    ranges = stock / "nan.ranges.npz"
    recipe = BuildRecipe(
        model=str(stock / "net.onnx"),
        calib=str(stock / "frames"),
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )
    calibrate_file(recipe, ranges)
    quantize_file(recipe, ranges, "u8-asym", stock / "quantized.onnx")
    arrays = dict(np.load(ranges))
    arrays["limits"][2, 1] = np.nan
    np.savez(ranges, **arrays)
    shutil.copy(stock / "net.onnx", stock / "nan.onnx")


def bare() -> ir.Model:
    """A graph that maps an image to classes without any weights."""
    m = GraphMaker()
    factors = m.constant(np.float32([2, -1, 3]).reshape(3, 1, 1))
    m.node("Relu", m.node("Mul", "image", factors), out="logits")
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH]) for name in ("image", "logits")
    ]
    return ir.from_proto(m.model(ends[:1], ends[1:]))


def test_one_frame_gives_an_engine_and_a_warning(edgeseg: Any, stock: Path, tmp_path: Path) -> None:
    words = ("--int8", *IMAGENET, *QUICK, "--calib", stock / "frames/000.png", "-o", tmp_path)
    ran = edgeseg("build", stock / "net.onnx", *words)
    assert (ran.code, ran.report["verdict"]) == (0, "unmeasured"), ran.err
    assert any("only one frame" in warning for warning in ran.report["warnings"])


@pytest.mark.parametrize("share", ["0", "40"], ids=["every class gates", "none but the largest gates"])
def test_small_classes_gate_only_when_asked(edgeseg: Any, stock: Path, tmp_path: Path, share: str) -> None:
    words = ("--data", stock / "data", "--min-class-share", share, "--max-drop", "100", "--max-class-drop", "100")
    gate = build(edgeseg, stock, tmp_path, *words).report["gate"]
    assert len(gate["class_drop"]) + len(gate["small_class_drop"]) == 3
    assert (gate["small_class_drop"] == {}) is (share == "0")


def test_ranges_of_other_weights_are_refused(edgeseg: Any, stock: Path, tmp_path: Path) -> None:
    save_graph(foreign(Shape()), tmp_path / "a.onnx")
    save_graph(foreign(Shape(), seed=0), tmp_path / "b.onnx")
    ran = edgeseg("calibrate", tmp_path / "a.onnx", stock / "frames", *IMAGENET, "-o", tmp_path / "b.ranges.npz")
    assert ran.code == 0, ran.err
    ran = edgeseg("build", tmp_path / "b.onnx", "--int8", *IMAGENET, *QUICK, "-o", tmp_path / "engines")
    assert ran.code == 4
    assert "ranges of other weights" in ran.err


def test_ranges_beside_the_model_are_taken(edgeseg: Any, stock: Path, tmp_path: Path) -> None:
    save_graph(foreign(Shape()), tmp_path / "net.onnx")
    ran = edgeseg("calibrate", tmp_path / "net.onnx", stock / "frames", *IMAGENET, "-o", tmp_path / "net.ranges.npz")
    assert ran.code == 0, ran.err
    ran = edgeseg(
        "build",
        tmp_path / "net.onnx",
        "--int8",
        *IMAGENET,
        *QUICK,
        "--frames",
        stock / "data/images",
        "-o",
        tmp_path / "e",
    )
    assert (ran.code, ran.report["verdict"]) == (0, "pass"), ran.err


def test_an_engine_that_answers_otherwise_is_not_loaded(built: Path) -> None:
    """As after an update of the library, or on another processor: the recorded answer is another one."""
    engine = find_engine(None, built)
    frame, class_map = read_golden(engine)
    hashes = write_golden(engine.path, frame, (class_map + 1) % 3)
    write_card(engine.path, msgspec.structs.replace(engine.card, measured={**engine.card.measured, "golden": hashes}))
    with pytest.raises(EngineMismatch, match="does not compute what was measured"):
        load_session(find_engine(None, built))


@pytest.mark.parametrize("which", [0, 1], ids=["frame", "class map"])
@pytest.mark.parametrize("missing", [True, False], ids=["missing", "changed"])
def test_an_engine_without_its_golden_pair_is_not_loaded(built: Path, which: int, missing: bool) -> None:
    engine = find_engine(None, built)
    path = golden_paths(engine.path)[which]
    path.unlink() if missing else path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ModelFileError, match="missing or damaged"):
        load_session(engine)


def test_an_unmeasured_engine_never_takes_the_place_of_a_measured_one(
    edgeseg: Any, stock: Path, tmp_path: Path
) -> None:
    words = ("--fp32", *IMAGENET, *QUICK, "-o", tmp_path)
    assert edgeseg("build", stock / "net.onnx", *words, "--frames", stock / "frames").report["verdict"] == "pass"
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    ran = edgeseg("build", stock / "net.onnx", *words)
    assert (ran.code, ran.report["engine"]) == (7, "")
    assert "was measured, and the new engine of that name can't be" in ran.err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_damaged_pick_does_not_stop_a_build(edgeseg: Any, stock: Path, built: Path) -> None:
    (built / "current.json").write_text("{")
    ran = edgeseg("build", stock / "net.onnx", "--fp32", *IMAGENET, *QUICK, "-o", built)
    assert (ran.code, ran.report["verdict"]) == (0, "unmeasured"), ran.err
    assert find_engine(None, built).path == Path(ran.report["engine"])


def test_frames_that_ranges_from_a_file_were_measured_on_are_left_out(
    edgeseg: Any, stock: Path, tmp_path: Path
) -> None:
    shutil.copy(stock / "net.onnx", tmp_path / "net.onnx")
    some = tmp_path / "some.txt"
    some.write_text("".join(f"{stock}/data/images/{index:03}.png\n" for index in range(5)))
    edgeseg("calibrate", tmp_path / "net.onnx", some, *IMAGENET, "-o", tmp_path / "net.ranges.npz")
    for words in (("--frames", stock / "data/images"), ("--data", stock / "data")):
        ran = edgeseg("build", tmp_path / "net.onnx", "--int8", *IMAGENET, *QUICK, *words, "-o", tmp_path / "engines")
        assert ran.report["gate"]["frames"] == 15
        assert any("5 of the 20 frames were calibrated on" in warning for warning in ran.report["warnings"])


@pytest.mark.parametrize("pixel_format", ["rgb", "bgrx"])
def test_ranges_serve_every_pixel_format(edgeseg: Any, stock: Path, tmp_path: Path, pixel_format: str) -> None:
    shutil.copy(stock / "net.onnx", tmp_path / "net.onnx")
    edgeseg("calibrate", tmp_path / "net.onnx", stock / "frames", *IMAGENET, "-o", tmp_path / "net.ranges.npz")
    words = (*IMAGENET, *QUICK, "--frames", stock / "data/images", "--pixel-format", pixel_format)
    ran = edgeseg("build", tmp_path / "net.onnx", "--int8", *words, "-o", tmp_path / "engines")
    assert (ran.code, ran.report["verdict"]) == (0, "pass"), ran.err
    with load_session(find_engine(None, tmp_path / "engines")) as session:
        assert session.input_buffer().shape[-1] == len(pixel_format)


def test_every_engine_is_compared_with_float32_on_onnx_runtime(edgeseg: Any, stock: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    words = ("--fp32", *IMAGENET, "--frames", stock / "frames", "--duration", "0.05", "--json", "-o", tmp_path)
    first = edgeseg("build", stock / "net.onnx", *words).report["candidates"][0]
    assert (first["backend"], first["precision"], first["dialect"]) == ("onnxruntime", "fp32", "float")
    assert (first["gate"]["agreement"], first["speed"]["ratio"]) == (1.0, 1.0)


def test_an_engine_need_not_be_an_onnx_file(edgeseg: Any, stock: Path, tmp_path: Path) -> None:
    words = ("--fp32", *IMAGENET, "--backend", "fake", "--duration", "0.05", "--json", "-o", tmp_path)
    ran = edgeseg("build", stock / "net.onnx", *words)
    assert (ran.code, ran.report["backend"]) == (0, "fake"), ran.err


#: Root may write everywhere, unless it gives that up.
WITHOUT_PRIVILEGES = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
BUILD = "import sys; from edgeseg.cli import main; raise SystemExit(main(sys.argv[1:]))"


def command(stock: Path, out: Path, code: str = BUILD) -> list[str]:
    """A build that gives another engine of the same name."""
    words = ["build", stock / "net.onnx", "--int8", *IMAGENET, "--calib", stock / "frames", *QUICK, "-o", out]
    words += ["--upsample", "full"]
    return [sys.executable, "-c", code, *map(str, words)]


def engine_files(folder: Path) -> set[tuple[str, str]]:
    """The engine's own bytes and its class map; the card tells times, which differ."""
    engine = find_engine(None, folder).path
    return {(path.name, sha256_file(path)) for path in (engine, golden_paths(engine)[1])}


def start(stock: Path, out: Path, code: str = BUILD) -> subprocess.Popen[str]:
    return subprocess.Popen(command(stock, out, code), stderr=subprocess.PIPE, text=True)


def test_a_full_disk_leaves_the_old_engine(stock: Path, built: Path) -> None:
    before = {path.name: path.read_bytes() for path in built.iterdir()}
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); import signal; "
    with start(stock, built, limited + "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); " + BUILD) as process:
        _, said = process.communicate()
    assert process.returncode == 1
    assert "File too large" in said
    assert "Traceback" not in said
    assert {path.name: path.read_bytes() for path in built.iterdir()} == before


@pytest.mark.parametrize("share", [0.6, 0.95, *(pytest.param(one, marks=pytest.mark.slow) for one in (0.3, 0.8))])
def test_a_build_that_is_killed_leaves_the_old_engine_or_the_new_one(stock: Path, built: Path, share: float) -> None:
    other = built.with_name("other")
    begin = time.monotonic()
    with start(stock, other) as process:
        process.communicate()
    whole = time.monotonic() - begin
    before, after = engine_files(built), engine_files(other)
    assert before != after
    with start(stock, built) as process:
        time.sleep(share * whole)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert len(np.unique(answers(built))) > 1
    assert engine_files(built) in (before, after)


def test_interrupted_it_says_so_and_cleans_up(stock: Path, tmp_path: Path) -> None:
    with start(stock, tmp_path) as process:
        while not list(tmp_path.glob(".building-*")) and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == 130
    assert "Interrupted" in said
    assert [path.name for path in tmp_path.iterdir()] in ([".lock"], [])


@pytest.mark.skipif(
    bool(WITHOUT_PRIVILEGES) and shutil.which("setpriv") is None, reason="root may write everywhere, without setpriv"
)
def test_a_read_only_folder_is_named_and_keeps_its_engine(stock: Path, built: Path) -> None:
    before = {path.name: path.read_bytes() for path in built.iterdir()}
    built.chmod(0o500)
    process = subprocess.run([*WITHOUT_PRIVILEGES, *command(stock, built)], capture_output=True, text=True)
    built.chmod(0o700)
    assert process.returncode == 1
    assert "Permission denied" in process.stderr and str(built) in process.stderr
    assert "Traceback" not in process.stderr
    assert {path.name: path.read_bytes() for path in built.iterdir()} == before


@pytest.mark.parametrize(
    ("mean", "std", "more"),
    [
        pytest.param("0.5,0.4,0.3", "0.2,0.25,0.3", {}, id="for pixels of 0 to 1"),
        pytest.param("127.5,102,76.5", "51,63.75,76.5", {}, id="for pixels of 0 to 255"),
        pytest.param("127.5,102,76.5", "51,63.75,76.5", {"input_range": 255}, id="for 0 to 255, said so"),
    ],
)
def test_mean_and_deviation_come_in_either_unit(mean: str, std: str, more: dict[str, Any]) -> None:
    preprocess = preprocess_of(BuildRecipe(mean=triple(mean), std=triple(std), **more))
    assert preprocess.mean == pytest.approx((127.5, 102, 76.5))
    assert preprocess.std == pytest.approx((51, 63.75, 76.5))


def test_agreement_has_an_interval_and_limits_of_its_own(edgeseg: Any, stock: Path, tmp_path: Path) -> None:
    words = ("--frames", stock / "data/images")
    gate = build(edgeseg, stock, tmp_path, *words).report["gate"]
    low, high = gate["agreement_ci95"]
    assert low <= gate["agreement"] <= high
    ran = build(edgeseg, stock, tmp_path, *words, "--min-agreement", "100", "--min-class-iou", "100", "--no-repair")
    assert ran.code == 7
    assert "100 % are needed" in ran.err or "100 is needed" in ran.err


def test_few_frames_to_judge_on_are_named(edgeseg: Any, stock: Path, tmp_path: Path) -> None:
    ran = build(edgeseg, stock, tmp_path, "--data", stock / "data", "--gate-frames", "3")
    assert any("Only 3 frames are judged on" in warning for warning in ran.report["warnings"])


def test_rendered_frames_prove_nothing_of_new_ranges(edgeseg: Any, stock: Path, tmp_path: Path) -> None:
    """The shipped model with ranges of four frames, too few to hold any out."""
    some = tmp_path / "some.txt"
    some.write_text("".join(f"{stock}/data/images/{index:03}.png\n" for index in range(4)))
    ran = edgeseg("build", "--int8", "--calib", some, *QUICK, "-o", tmp_path / "e")
    assert (ran.report["gate"]["kind"], ran.report["verdict"]) == ("none", "unmeasured")
