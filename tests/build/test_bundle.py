"""`edgeseg pack` and what a board does with it: one file, from which engines are built without onnx."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
cv2 = pytest.importorskip("cv2")

from edgeseg.build import build_engine
from edgeseg.build.bundle import MANIFEST, Bundle
from edgeseg.build.pack import PackReport, pack_model
from edgeseg.build.recipe import BuildRecipe
from edgeseg.card import Int8Recipe, Resize
from edgeseg.cli import main
from edgeseg.data.resize import shown_window
from edgeseg.data.scene import Scene
from edgeseg.errors import GateFailed, ModelFileError, UsageError
from edgeseg.files import sha256_bytes
from edgeseg.graph.io import save_graph
from edgeseg.labels import VOID
from tests.build.fragile import fragile
from tests.build.painted import CLASSES, colour_network, painted, recipe_for, write_frames
from tests.engines import host_gpu, installed

BARE_BOARD = Path(__file__).parents[1] / "bare_board.py"


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network, frames to calibrate on and frames to judge on."""
    folder = tmp_path_factory.mktemp("stock")
    colour_network(folder / "colours.onnx")
    write_frames(folder / "calib", [painted(colour, seed) for colour in CLASSES for seed in range(4)])
    write_frames(folder / "frames", [painted(colour, seed) for colour in CLASSES for seed in (7, 8, 9)])
    return folder


def recipe(stock: Path, **changes: Any) -> BuildRecipe:
    fields = {"frames": str(stock / "frames"), "backend": "tensorrt", **changes}
    return recipe_for(stock / "colours.onnx", stock / "calib", **fields)


@pytest.fixture(scope="module")
def packed(stock: Path) -> tuple[Path, PackReport]:
    path = stock / "colours.bundle"
    return path, pack_model(recipe(stock), path)


@pytest.fixture(scope="module")
def bundle(packed: tuple[Path, PackReport]) -> Path:
    return packed[0]


Board = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def board(tmp_path: Path) -> Board:
    """Runs a command line where edgeseg finds neither onnx nor ONNX Runtime nor Pillow."""

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        homes = {"XDG_DATA_HOME": str(tmp_path / "data"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
        command = [sys.executable, str(BARE_BOARD), *map(str, words)]
        path = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(BARE_BOARD.parents[1]))))
        environment = {**os.environ, "PYTHONPATH": path, **homes}
        return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)

    return run


def test_it_tells_what_was_packed_and_how_good_it_is(packed: tuple[Path, PackReport]) -> None:
    path, report = packed
    assert (report.bundle, report.size_bytes) == (str(path), path.stat().st_size)
    assert (report.backends, report.gate, report.frames) == ({"tensorrt": "int8"}, "agreement", 9)
    assert set(report.int8) == {"s8-sym"}
    assert report.int8["s8-sym"].verdict == "pass"
    assert report.int8["s8-sym"].gate.frames == 9


def test_a_bundle_is_an_archive_that_other_tools_open(bundle: Path) -> None:
    with zipfile.ZipFile(bundle) as file:
        assert file.testzip() is None
        names = set(file.namelist())
    graphs = {name for name in names if name.startswith("graphs/")}
    assert {MANIFEST, "prepared.onnx", "golden.png", "gate/00008.frame.png", "gate/00008.map.png"} <= names
    # Float and INT8, each for TensorRT 8.6 and typed for 10, with the class map's tail and without.
    assert len(graphs) == 8
    assert names == {MANIFEST, *Bundle(bundle).manifest.files}


def test_the_same_model_packs_to_the_same_bytes(packed: tuple[Path, PackReport], stock: Path) -> None:
    again = pack_model(recipe(stock), stock / "again.bundle")
    assert again.sha256 == packed[1].sha256


def test_a_board_builds_it_without_what_makes_graphs(board: Board, bundle: Path, tmp_path: Path) -> None:
    with host_gpu("10.3.0", integrated=True):
        words = ("--backend", "tensorrt", "--duration", "0.2", "--even-if-slower", "-o", tmp_path / "engines", "--json")
        done = board("build", bundle, *words)
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        assert (report["backend"], report["precision"], report["verdict"]) == ("tensorrt", "int8", "pass")
        assert (report["gate"]["kind"], report["gate"]["frames"]) == ("agreement", 9)
        assert (report["baseline"], report["candidates"][0]["precision"]) == ("tensorrt", "fp32")
        assert any(row["own_tail"] for row in report["candidates"])
        assert report["speed"]["ratio"] == pytest.approx(report["speed"]["float_p50_ms"] / report["speed"]["p50_ms"])
        engine = report["engine"]
        told = board("inspect", engine)
        assert (told.returncode, "trtexec --onnx=" in told.stdout) == (0, True), told.stderr
        ran = board("run", "synthetic://?frames=3&width=96&height=64", "null://", "--engine", engine, "--json")
        assert (ran.returncode, json.loads(ran.stdout)["inferred"]) == (0, 3), ran.stderr
        for sink in ("out.mp4", "maps"):
            drawn = board("run", "synthetic://?frames=3&width=96&height=64", sink, "--engine", engine)
            assert drawn.returncode == 0, drawn.stderr
        assert cv2.imread(str(tmp_path / "maps/synthetic-000000.png"), cv2.IMREAD_UNCHANGED).max() < len(CLASSES)
        assert "backend tensorrt     │ ok" in board("doctor").stdout
        quick = ("--duration", "0.2", "--iterations", "20", "--warm-up", "0")
        timed = board("bench", engine, *quick, "-o", tmp_path / "bench", "--json")
        assert timed.returncode == 0, timed.stderr
    with host_gpu("10.13.0.35", integrated=True):
        moved = board("run", "synthetic://?frames=2&width=96&height=64", "null://", "--engine", engine)
        assert (moved.returncode, "was built by tensorrt 10.3.0" in moved.stderr) == (5, True), moved.stderr
        anew = board("run", "synthetic://?frames=2&width=96&height=64", "null://", "--engine", engine, "--rebuild")
        assert anew.returncode == 0, anew.stderr


@pytest.mark.parametrize("version", ["8.6.1", "11.4.0.106"])
def test_older_and_newer_libraries_find_their_graphs(version: str, board: Board, bundle: Path, tmp_path: Path) -> None:
    with host_gpu(version):
        words = ("--backend", "tensorrt", "--duration", "0.1", "--even-if-slower", "-o", tmp_path, "--json")
        done = board("build", bundle, *words)
    assert done.returncode == 0, done.stderr
    assert {row["verdict"] for row in json.loads(done.stdout)["candidates"]} == {"pass"}


def test_without_a_gpu_the_real_builder_gives_an_unmeasured_engine(board: Board, bundle: Path, tmp_path: Path) -> None:
    if not installed("tensorrt-rtx").obstacle():
        pytest.skip("there is a GPU")
    done = board("build", bundle, "--backend", "tensorrt-rtx", "-o", tmp_path / "engines", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["verdict"], report["speed"], report["int8_convs"]) == ("unmeasured", None, 1)


def test_a_machine_with_onnx_runtime_builds_it_too(stock: Path, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "cpu.bundle"
    pack_model(recipe(stock, backend="onnxruntime"), path)
    assert main(["build", str(path), "--duration", "0.05", "--even-if-slower", "-o", str(tmp_path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["backend"], report["precision"], report["verdict"]) == ("onnxruntime", "int8", "pass")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(("--imgsz", "64x64"), "--imgsz can't be changed any more", id="a size"),
        pytest.param(("--calib", "x", "--keep-float", "y"), "--calib, --keep-float can't be", id="calibration"),
        pytest.param(("--max-drop", "1"), "--max-drop need labels", id="a limit that its frames have no labels for"),
        pytest.param(("--fp32", "--backend", "openvino"), "holds no fp32 graphs for openvino", id="another library"),
    ],
)
def test_what_is_settled_is_not_asked_for_again(
    words: tuple[str, ...], said: str, bundle: Path, tmp_path: Path, capsys: Any
) -> None:
    if "openvino" in words:
        installed("openvino")
    assert main(["build", str(bundle), "-o", str(tmp_path / "engines"), *words]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "engines").exists() or not list((tmp_path / "engines").glob("*.json"))


def test_other_frames_can_be_judged_on(bundle: Path, stock: Path, tmp_path: Path, capsys: Any) -> None:
    others = write_frames(tmp_path / "others", [painted("red", seed) for seed in (0, 1, 50, 51)])
    words = ("--frames", str(others), "--backend", "tensorrt", "--duration", "0.1", "--even-if-slower")
    with host_gpu(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        assert main(["build", str(bundle), *words, "-o", str(tmp_path / "engines"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["gate"]["kind"], report["gate"]["frames"], report["verdict"]) == ("agreement", 2, "pass")
    assert "2 of the 4 frames were calibrated on and are left out of the gate." in report["warnings"]


def test_frames_that_anything_was_chosen_by_prove_nothing(bundle: Path, stock: Path, tmp_path: Path) -> None:
    with host_gpu(), pytest.raises(UsageError, match="All frames of --frames were calibrated on"):
        build_engine(BuildRecipe(model=str(bundle), backend="tensorrt", frames=str(stock / "calib")), tmp_path)


@pytest.mark.parametrize(
    ("packed", "words", "code"),
    [
        pytest.param({"min_agreement": 1.0, "min_class_iou": 0.0}, (), 0, id="the packed limits"),
        pytest.param(
            {"min_agreement": 1.0, "min_class_iou": 0.0}, ("--min-agreement", "96"), 7, id="the usual, asked for"
        ),
        pytest.param({"upsample": "full"}, ("--upsample", "full"), 0, id="what is settled, asked for as it is"),
        pytest.param({"upsample": "full"}, ("--upsample", "half"), 2, id="the usual, where another is settled"),
        pytest.param({"imgsz": (24, 32)}, ("--imgsz", "24x32"), 0, id="the packed size"),
    ],
)
def test_what_is_asked_for_wins_over_what_was_packed(
    packed: dict[str, Any], words: tuple[str, ...], code: int, fragile_recipe: BuildRecipe, tmp_path: Path, capsys: Any
) -> None:
    path = tmp_path / "x.bundle"
    fields = {"repair": False, "min_agreement": 1.0, "min_class_iou": 0.0, **packed, "backend": "onnxruntime"}
    pack_model(msgspec.structs.replace(fragile_recipe, **fields), path)
    quick = ("--duration", "0.05", "--even-if-slower", "-o", str(tmp_path / "engines"))
    assert main(["build", str(path), *quick, *words]) == code, capsys.readouterr().err


def test_a_bundle_of_float_graphs_is_built_as_such(board: Board, stock: Path, tmp_path: Path) -> None:
    path = tmp_path / "float.bundle"
    pack_model(recipe(stock, precision="fp32"), path)
    with host_gpu():
        words = ("--backend", "tensorrt", "--duration", "0.1", "-o", tmp_path / "engines", "--json")
        done = board("build", path, *words)
        assert (done.returncode, json.loads(done.stdout)["precision"]) == (0, "fp32"), done.stderr
        refused = board("build", path, *words, "--int8")
    assert (refused.returncode, "holds no int8 graphs for tensorrt" in refused.stderr) == (2, True)


def test_a_board_is_told_why_a_bundle_has_no_int8_for_it(
    board: Board, fragile_recipe: BuildRecipe, tmp_path: Path
) -> None:
    path = tmp_path / "half.bundle"
    changes = {"backend": "auto", "repair": False, "min_agreement": 90.0, "min_class_iou": 0.0}
    report = pack_model(msgspec.structs.replace(fragile_recipe, **changes), path)
    failed = [name for name, one in report.int8.items() if one.verdict == "fail"]
    if "s8-sym" not in failed or len(failed) == len(report.int8):
        pytest.skip("the dialects do not differ here")
    assert (report.backends["tensorrt"], report.backends["onnxruntime"]) == ("float", "int8")
    with host_gpu():
        done = board("build", path, "--backend", "tensorrt", "-o", tmp_path / "engines")
    assert (done.returncode, "s8-sym is left out: " in done.stderr, "--fp16" in done.stderr) == (2, True, True)


def test_fewer_frames_can_be_asked_for(bundle: Path, tmp_path: Path) -> None:
    with host_gpu(), pytest.MonkeyPatch.context() as patch:
        for name in ("DATA", "CACHE"):
            patch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
        asked = BuildRecipe(model=str(bundle), backend="tensorrt", gate_frames=4, duration=0.1, even_if_slower=True)
        assert build_engine(asked, tmp_path).gate.frames == 4


def rewritten(bundle: Path, out: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """A copy whose parts went through `change`; None leaves one out."""
    with zipfile.ZipFile(bundle) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            content = change(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
    return out


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_bundle_that_was_cut_is_refused(share: float, bundle: Path, tmp_path: Path) -> None:
    content = bundle.read_bytes()
    cut = tmp_path / "cut.bundle"
    cut.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelFileError, match="can't be read"):
        Bundle(cut)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(lambda name, old: None if name == MANIFEST else old, "no item named", id="no manifest"),
        pytest.param(lambda name, old: b"{}" if name == MANIFEST else old, "missing required field", id="an empty one"),
        pytest.param(
            lambda name, old: b'{"schema": "edgeseg.bundle/9", "more": 1}' if name == MANIFEST else old,
            "schema edgeseg.bundle/9, this edgeseg reads edgeseg.bundle/1",
            id="a later edgeseg's",
        ),
        pytest.param(
            lambda name, old: old.replace(b'"model":"colours"', b'"model":"../../x"') if name == MANIFEST else old,
            "Expected `str` matching regex",
            id="a name that leads out of its folder",
        ),
        pytest.param(
            lambda name, old: b" " * ((1 << 26) + 1) if name == MANIFEST else old, "is too large", id="one too large"
        ),
    ],
)
def test_a_bundle_without_a_manifest_that_is_known_is_refused(
    change: Callable[[str, bytes], bytes | None], said: str, bundle: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelFileError, match=said):
        Bundle(rewritten(bundle, tmp_path / "x.bundle", change))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_another_method_of_packing_is_refused(method: int, bundle: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(bundle) as old, zipfile.ZipFile(tmp_path / "x.bundle", "w", method) as new:
        new.writestr(MANIFEST, old.read(MANIFEST))
    with pytest.raises(ModelFileError, match="too large, encrypted, or packed by another method"):
        Bundle(tmp_path / "x.bundle")


def test_a_picture_of_another_size_is_refused(bundle: Path, tmp_path: Path) -> None:
    small = cv2.imencode(".png", np.zeros((4, 4), np.uint8))[1].tobytes()
    hashes = {name: sha256_bytes(small) for name in ("golden.png", "gate/00000.map.png")}

    def change(name: str, old: bytes) -> bytes:
        if name == MANIFEST:
            told = json.loads(old)
            return json.dumps({**told, "files": {**told["files"], **hashes}}).encode()
        return small if name in hashes else old

    found = Bundle(rewritten(bundle, tmp_path / "x.bundle", change))
    for name in hashes:
        with pytest.raises(ModelFileError, match="is no picture of its size and channels"):
            found.picture(name)


def test_a_graph_that_was_exchanged_is_refused(board: Board, bundle: Path, tmp_path: Path) -> None:
    def flip(name: str, old: bytes) -> bytes:
        return old[:200] + bytes([old[200] ^ 1]) + old[201:] if name.startswith("graphs/") else old

    path = rewritten(bundle, tmp_path / "x.bundle", flip)
    with host_gpu():
        done = board("build", path, "--backend", "tensorrt", "-o", tmp_path / "engines")
    assert (done.returncode, "is not what bundle.json says" in done.stderr) == (4, True), done.stderr


@pytest.fixture(scope="module")
def fragile_recipe(tmp_path_factory: pytest.TempPathFactory) -> BuildRecipe:
    """Of a network that INT8 harms, unless it is repaired."""
    folder = tmp_path_factory.mktemp("fragile")
    save_graph(fragile("relu", spread=10_000), folder / "fragile.onnx")
    scene = Scene((48, 64), seed=2)
    for name, shift in (("calib", 0), ("judged", 3)):
        write_frames(folder / name, [scene.render(6 * index + shift) for index in range(40)])
    return recipe_for(folder / "fragile.onnx", folder / "calib", frames=str(folder / "judged"), backend="tensorrt")


def test_a_graph_that_loses_too_much_is_repaired_before_it_is_packed(
    fragile_recipe: BuildRecipe, tmp_path: Path
) -> None:
    report = pack_model(fragile_recipe, tmp_path / "x.bundle")
    assert report.int8["s8-sym"].verdict == "pass"
    how = Bundle(tmp_path / "x.bundle").manifest.int8["s8-sym"]
    assert how.recipe != Int8Recipe()


def test_one_that_is_not_repaired_is_not_packed(fragile_recipe: BuildRecipe, tmp_path: Path) -> None:
    with pytest.raises(GateFailed, match="No INT8 graph passed the gate here") as caught:
        pack_model(msgspec.structs.replace(fragile_recipe, repair=False), tmp_path / "x.bundle")
    assert caught.value.report["int8"]["s8-sym"]["verdict"] == "fail"
    assert not list(tmp_path.iterdir())


def test_labels_are_scored_at_the_cameras_size_as_in_a_build_without_a_bundle(stock: Path, tmp_path: Path) -> None:
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for seed, colour in enumerate(CLASSES):
        frame, half = painted(colour, seed + 20), painted(CLASSES[seed - 1], seed + 20)
        frame[:, 32:] = half[:, 32:]
        cv2.imwrite(str(tmp_path / f"images/{seed}.png"), frame)
        cv2.imwrite(str(tmp_path / f"masks/{seed}.png"), 2 - frame.argmax(2).astype(np.uint8))
    asked = {"data": str(tmp_path), "frames": "", "backend": "onnxruntime", "duration": 0.05, "even_if_slower": True}
    pack_model(recipe(stock, **asked), tmp_path / "x.bundle")
    plain = build_engine(recipe(stock, **asked), tmp_path / "plain")
    packed = build_engine(
        BuildRecipe(model=str(tmp_path / "x.bundle"), duration=0.05, even_if_slower=True), tmp_path / "packed"
    )
    assert packed.gate == plain.gate
    assert (packed.gate.kind, packed.gate.frames, packed.verdict) == ("labels", 3, "pass")
    assert packed.graph_sha256 == plain.graph_sha256


@pytest.mark.parametrize(
    ("model", "out", "said"),
    [
        pytest.param("a.bundle", "b.bundle", "is packed already", id="a bundle"),
        pytest.param("a.onnx", "b.zip", "is a .bundle file", id="another suffix"),
        pytest.param("a.onnx", "b.bundle", "does not exist", id="no model"),
        pytest.param("a.onnx", ".", "is a folder", id="a folder"),
        pytest.param("a.onnx", "/proc/none/b.bundle", "can't be written to", id="a place that can't be written to"),
    ],
)
def test_what_can_not_be_packed_is_refused(model: str, out: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        pack_model(BuildRecipe(model=str(tmp_path / model), backend="tensorrt"), tmp_path / out)


def test_padding_is_not_judged(stock: Path, tmp_path: Path) -> None:
    path = tmp_path / "boxed.bundle"
    pack_model(recipe(stock, resize=Resize("letterbox")), path)
    found = Bundle(path)
    frame, answer, sure = (
        found.picture(f"gate/00000.{name}.png", channels=channels)
        for name, channels in (("frame", 3), ("map", 1), ("sure", 1))
    )
    assert (frame.shape[:2], answer.shape, sure.shape) == ((32, 48), (32, 48), (32, 48))
    seen = np.zeros((32, 48), np.bool_)
    source = cv2.imread(str(sorted((stock / "frames").iterdir())[0]))
    shown_window(source.shape[:2], (32, 48), Resize("letterbox")).of(seen)[...] = True
    assert not seen.all()
    assert (answer[~seen] == VOID).all() and not sure[~seen].any()
    assert (answer[seen] != VOID).all() and sure[seen].any()


def test_inspect_tells_what_is_inside(bundle: Path, capsys: Any) -> None:
    assert main(["inspect", str(bundle), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["kind"], told["bundle"]["gate"], told["bundle"]["frames"]) == ("bundle", "agreement", 9)
    assert told["bundle"]["int8"]["s8-sym"].startswith("pass")
    assert told["card"]["model"] == "colours"


def test_the_command_writes_where_it_is_told_and_says_what_comes_next(
    stock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(stock / "colours.onnx", "colours.onnx")
    words = ("--mean", "0", "--std", "1", "--input-range", "255", "--classes", ",".join(CLASSES), "--no-int8")
    assert main(["pack", "colours.onnx", "--backend", "tensorrt", *words]) == 0
    said = capsys.readouterr().err
    (path,) = tmp_path.glob("*.bundle")
    assert f"edgeseg build {path.name}" in said
    assert {graph.form.dialect for graph in Bundle(path).manifest.graphs} == {"float"}
