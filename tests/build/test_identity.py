"""Engines of native code: this machine's own alone are opened, damaged and strange ones refused, and built anew."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytest.importorskip("cv2")

from onnx import TensorProto

from edgeseg.backends import Engine
from edgeseg.backends.tensorrt.backend import TensorRt
from edgeseg.backends.tensorrt.options import TensorRtOptions
from edgeseg.build import build_engine, find_engine, load_session
from edgeseg.build.identity import machine_key, sign
from edgeseg.build.inspection import inspect_artefact
from edgeseg.build.rebuild import PREVIOUS, fits, rebuild
from edgeseg.build.store import cache_beside
from edgeseg.card import card_path, read_card, write_card
from edgeseg.cli import main
from edgeseg.errors import EdgesegError, EngineMismatch, ModelFileError, UsageError
from edgeseg.files import sha256_file
from tests.build.painted import CLASSES, colour_network, painted, recipe_for, write_frames
from tests.engines import host_gpu


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with an INT8 engine of TensorRT's, built and gated on a GPU that is none."""
    folder = tmp_path_factory.mktemp("built")
    network = colour_network(folder / "colours.onnx")
    calib = write_frames(folder / "calib", [painted(colour, seed) for colour in CLASSES for seed in range(4)])
    frames = write_frames(folder / "frames", [painted(colour, seed) for colour in CLASSES for seed in (7, 8, 9)])
    with pytest.MonkeyPatch.context() as patch, host_gpu():
        patch.setenv("XDG_DATA_HOME", str(folder / "data"))
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        recipe = recipe_for(
            network, calib, frames=str(frames), backend="tensorrt", duration=0.2, even_if_slower=True, repair=False
        )
        report = build_engine(recipe, folder / "engines")
        assert (report.verdict, report.backend, report.precision) == ("pass", "tensorrt", "int8")
        tried = {(row.precision, row.own_tail) for row in report.candidates if row.backend == "tensorrt"}
        assert {("fp16", False), ("fp32", False), ("int8", False), ("int8", True)} < tried
        assert tried & {("fp16", True), ("fp32", True)}, "the best float engine is given the tail too"
        yield folder


@pytest.fixture
def engine(built: Path, tmp_path: Path) -> Path:
    """A copy of the engine and its files, in a folder of its own."""
    shutil.copytree(built / "engines", tmp_path / "engines")
    return find_engine(folder=tmp_path / "engines").path


def frame() -> np.ndarray:
    return painted("green", 3)[None, :32, :48]


def test_the_engine_this_machine_built_is_opened(engine: Path) -> None:
    with load_session(Engine.open(engine)) as session:
        assert (session.infer(np.ascontiguousarray(frame())) == 1).mean() > 0.9


def test_the_card_says_what_it_was_built_by_and_for(engine: Path) -> None:
    card = read_card(engine)
    assert card.identity is not None
    assert (card.identity.version, card.identity.gpu, card.identity.compute_capability) == ("10.3.0", "Host GPU", "8.7")
    assert {"recipe", "engine_graph", "engine_graph_file", "ranges"} <= set(card.made_from)
    assert len(card.signature) == 64


def test_the_key_is_made_once_and_is_nobody_elses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    key = machine_key()
    path = tmp_path / "edgeseg" / "machine.key"
    assert machine_key() == key == path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    with pytest.raises(EdgesegError, match="Others can read the key") as caught:
        machine_key()
    assert caught.value.hint == f"Type: chmod 600 {path}"


@pytest.mark.parametrize("content", [b"", b"short"], ids=["empty", "cut"])
def test_a_damaged_key_signs_nothing(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    machine_key()
    (tmp_path / "edgeseg" / "machine.key").write_bytes(content)
    with pytest.raises(EdgesegError, match=f"is damaged: it has {len(content)} bytes, not 32"):
        machine_key()


def test_a_key_that_cannot_be_had_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "edgeseg").write_text("a file in the place of the folder")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with pytest.raises(EdgesegError, match="can't be had") as caught:
        machine_key()
    assert "XDG_DATA_HOME" in caught.value.hint


def cut(share: float) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])

    return change


def flip_one_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def edit(**changes: Any) -> Callable[[Path], None]:
    return lambda path: write_card(path, msgspec.structs.replace(read_card(path), **changes))


def by_version(path: Path) -> None:
    identity = read_card(path).identity
    assert identity is not None
    edit(identity=msgspec.structs.replace(identity, version="10.7.0"))(path)


def by_gpu(path: Path) -> None:
    identity = read_card(path).identity
    assert identity is not None
    edit(identity=msgspec.structs.replace(identity, gpu="Orin", compute_capability="8.6"))(path)


def change_graph(path: Path) -> None:
    flip_one_bit(path.with_name(path.name + ".onnx"))


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        pytest.param(cut(0.01), 4, "is damaged", id="cut at 1 %"),
        pytest.param(cut(0.5), 4, "is damaged", id="cut at 50 %"),
        pytest.param(cut(0.99), 4, "is damaged", id="cut at 99 %"),
        pytest.param(flip_one_bit, 4, "is damaged", id="one bit flipped"),
        pytest.param(lambda path: card_path(path).unlink(), 4, "has no card", id="no card"),
        pytest.param(edit(classes=("a", "b", "c")), 4, "its card was changed", id="an edited card"),
        pytest.param(edit(signature="é" * 64), 4, "its card was changed", id="a signature in other letters"),
        pytest.param(edit(signature=""), 4, "nobody signed its card", id="no signature"),
        pytest.param(by_version, 5, "built by tensorrt 10.7.0; here is 10.3.0", id="another version"),
        pytest.param(
            by_gpu,
            5,
            r"built for Orin \(compute capability 8.6, 8 multi.*; this machine has Host GPU",
            id="another GPU",
        ),
        pytest.param(change_graph, 5, "was built from another graph", id="another graph beside it"),
    ],
)
def test_an_engine_that_is_not_as_it_was_is_refused(
    change: Callable[[Path], None], code: int, said: str, engine: Path
) -> None:
    change(engine)
    kind = {4: ModelFileError, 5: EngineMismatch}[code]
    with pytest.raises(kind, match=said) as caught:
        load_session(Engine.open(engine))
    assert caught.value.exit_code == code
    assert caught.value.hint


def test_an_engine_that_computes_something_else_fails_its_self_test(engine: Path) -> None:
    card = read_card(engine)
    content = engine.read_bytes()
    library: Any = importlib.import_module("tensorrt")
    import onnx

    model = onnx.load_model_from_string(content[len(library.MAGIC) :])
    argmax = next(node for node in model.graph.node if node.op_type == "ArgMax")
    argmax.op_type = "ArgMin"
    engine.write_bytes(library.MAGIC + model.SerializeToString())
    write_card(engine, sign(msgspec.structs.replace(card, sha256=sha256_file(engine))))
    with pytest.raises(EngineMismatch, match="does not compute what was measured when it was built") as caught:
        load_session(Engine.open(engine))
    assert caught.value.exit_code == 5


@pytest.fixture(scope="module")
def unmeasured(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an engine that was built where no GPU was found."""
    folder = tmp_path_factory.mktemp("unmeasured")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TensorRt, "obstacle", lambda backend: "there is no GPU")
        recipe = recipe_for(
            built / "colours.onnx", built / "calib", frames=str(built / "frames"), backend="tensorrt", duration=0.2
        )
        report = build_engine(recipe, folder)
    assert (report.verdict, report.speed, report.precision) == ("unmeasured", None, "int8")
    assert "there is no GPU" in " ".join(report.warnings)
    return folder


def test_an_engine_that_could_not_be_run_is_compared_with_float_at_its_first_load(unmeasured: Path) -> None:
    engine = find_engine(folder=unmeasured)
    assert engine.card.measured["golden_by"] == "float"
    with load_session(engine) as session:
        assert (session.infer(np.ascontiguousarray(frame())) == 1).mean() > 0.9


def test_an_engine_that_could_not_be_run_and_is_wrong_is_refused(unmeasured: Path, tmp_path: Path) -> None:
    import onnx

    shutil.copytree(unmeasured, tmp_path / "engines")
    path, library = find_engine(folder=tmp_path / "engines").path, importlib.import_module("tensorrt")
    model = onnx.load_model_from_string(path.read_bytes()[len(library.MAGIC) :])
    next(node for node in model.graph.node if node.op_type == "ArgMax").op_type = "ArgMin"
    path.write_bytes(library.MAGIC + model.SerializeToString())
    write_card(path, sign(msgspec.structs.replace(read_card(path), sha256=sha256_file(path))))
    with pytest.raises(EngineMismatch, match="could not be run where it was built, agrees with float on"):
        load_session(Engine.open(path))


def test_what_another_machine_signed_is_opened_once_it_is_trusted(
    engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "another machine"))
    command = ["run", "synthetic://?width=48&height=32&frames=2", "null://", "--engine", str(engine), "--json"]
    assert main(command) == 4
    assert "--trust-engine" in capsys.readouterr().err
    assert main([*command, "--trust-engine"]) == 0
    assert main(command) == 0


def test_an_engine_of_another_version_is_built_anew_and_the_old_one_kept(
    engine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = engine.read_bytes()
    with host_gpu("10.13.0.35"):
        command = ["run", "synthetic://?width=48&height=32&frames=2", "null://", "--engine", str(engine), "--json"]
        assert main(command) == 5
        assert "--rebuild" in capsys.readouterr().err
        assert main([*command, "--rebuild"]) == 0
        card = read_card(engine)
        assert card.identity is not None
        assert card.identity.version == "10.13.0.35"
        told = card.measured["rebuilt_from"]
        assert (told["version"], told["verdict"], told["gate"]["kind"]) == ("10.3.0", "pass", "agreement")
        assert not {"gate", "speed"} & set(card.measured)
        assert card.measured["verdict"] == "unmeasured"
        assert (engine.parent / PREVIOUS / engine.name).read_bytes() == before
        changed = engine.stat().st_mtime_ns
        assert main([*command, "--rebuild"]) == 0
        assert engine.stat().st_mtime_ns == changed, "it fits now"
    with load_session(Engine.open(engine.parent / PREVIOUS / engine.name)) as session:
        assert session.infer(np.ascontiguousarray(frame())).shape == (1, 32, 48)


@pytest.mark.parametrize("change", [cut(0.5), flip_one_bit], ids=["cut", "one bit flipped"])
def test_a_damaged_engine_is_built_anew(change: Callable[[Path], None], engine: Path) -> None:
    change(engine)
    with load_session(rebuild(engine)) as session:
        assert session.infer(np.ascontiguousarray(frame())).shape == (1, 32, 48)


def test_figures_that_nobody_signed_are_not_carried_over(engine: Path) -> None:
    measured = read_card(engine).measured
    edit(measured={**measured, "gate": {**measured["gate"], "frames": 1000}})(engine)
    card = rebuild(engine).card
    assert "gate" not in card.measured["rebuilt_from"]
    assert card.measured["verdict"] == "unmeasured"


def test_what_is_damaged_does_not_take_the_place_of_what_was_whole(engine: Path) -> None:
    before = engine.read_bytes()
    with host_gpu("10.13.0.35"):
        rebuild(engine)
        flip_one_bit(engine)
        rebuild(engine)
    assert (engine.parent / PREVIOUS / engine.name).read_bytes() == before


def test_engines_of_one_folder_keep_a_copy_each(engine: Path) -> None:
    other = engine.with_name("other.engine")
    for path in engine.parent.glob(f"{engine.name}*"):
        shutil.copyfile(path, path.with_name(path.name.replace(engine.name, other.name)))
    with host_gpu("10.13.0.35"):
        rebuild(engine)
        rebuild(other)
    kept = {path.name for path in (engine.parent / PREVIOUS).glob("*.engine")}
    assert kept == {engine.name, other.name}


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_an_engine_of_weak_types_is_typed_for_a_version_that_has_none(
    precision: str, built: Path, tmp_path: Path
) -> None:
    recipe = recipe_for(
        built / "colours.onnx", built / "calib", backend="tensorrt", precision=precision, duration=0.1, repair=False,
        frames=str(built / "frames"), even_if_slower=True,
    )  # fmt: skip
    if precision == "int8" and tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 24):
        pytest.skip("ONNX Runtime 1.23, the last for Python 3.10, rounds otherwise where it quantizes half precision")
    with host_gpu("8.6.1"):
        path = Path(build_engine(recipe, tmp_path).engine)
        if read_card(path).float_precision != "fp16":
            pytest.skip("float32 was faster")
    with host_gpu("10.3.0"):
        rebuild(path)
        model = onnx.load(path.with_name(path.name + ".onnx"))
        floats = {one.data_type for one in model.graph.initializer} & {TensorProto.FLOAT, TensorProto.FLOAT16}
        assert TensorProto.FLOAT16 in floats
        with load_session(find_engine(folder=tmp_path)) as session:
            assert session.infer(np.ascontiguousarray(frame())).shape == (1, 32, 48)
    with host_gpu("8.6.1"), pytest.raises(ModelFileError, match="wants another graph than that beside") as caught:
        rebuild(path)
    assert "edgeseg build colours" in caught.value.hint


def test_without_its_graph_it_cannot_be_built_anew(engine: Path) -> None:
    flip_one_bit(engine)
    engine.with_name(engine.name + ".onnx").unlink()
    with pytest.raises(ModelFileError, match=r"from which .* could be built anew, is not beside it") as caught:
        rebuild(engine)
    assert "edgeseg build colours --backend tensorrt" in caught.value.hint


def test_a_graph_that_computes_something_else_does_not_take_its_place(engine: Path) -> None:
    beside = engine.with_name(engine.name + ".onnx")
    model = onnx.load(beside)
    next(node for node in model.graph.node if node.op_type == "ArgMax").op_type = "ArgMin"
    onnx.save(model, beside)
    before = engine.read_bytes()
    with pytest.raises(EngineMismatch, match="computes something else than before"):
        rebuild(engine)
    assert engine.read_bytes() == before
    assert not (engine.parent / PREVIOUS).exists()


def test_of_two_processes_one_builds_anew_and_the_other_takes_it(engine: Path) -> None:
    flip_one_bit(engine)
    code = (
        "import sys; from pathlib import Path; from edgeseg.build.rebuild import rebuild; "
        "import edgeseg.backends.tensorrt.backend as room; build = room.build_plan\n"
        "def told(*given): print('built', flush=True); return build(*given)\n"
        "room.build_plan = told; rebuild(Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", code, str(engine)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(said) == ["", "built\n"]


def test_of_two_equal_builds_one_builds_and_the_other_waits(built: Path, tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "edgeseg", "build", str(built / "colours.onnx"), "--int8", "--backend", "tensorrt"),
        *("--calib", str(built / "calib"), "--frames", str(built / "frames"), "--mean", "0", "--std", "1"),
        *("--input-range", "255", "--classes", ",".join(CLASSES), "--duration", "0.2", "--even-if-slower"),
        *("-o", str(tmp_path), "--json"),
    ]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [json.loads(process.communicate(timeout=240)[0]) for process in both]
    assert said[0] == said[1], "the very same report, seconds and all"


@contextmanager
def not_mine(folder: Path) -> Iterator[Path]:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    folder.mkdir(mode=0o500)
    yield folder


@contextmanager
def full(folder: Path) -> Iterator[Path]:
    """A file system of one page, which another file has."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("nothing can be mounted here")
    try:
        (folder / "other").write_bytes(bytes(4096))
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def a_file(folder: Path) -> Iterator[Path]:
    folder.write_text("no folder")
    yield folder


@contextmanager
def read_only(folder: Path) -> Iterator[Path]:
    yield Path("/proc/edgeseg")


@pytest.mark.parametrize("cache", [full, read_only, not_mine, a_file])
def test_a_cache_that_cannot_be_written_costs_time_alone(
    cache: Callable[[Path], Any], engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flip_one_bit(engine)
    with cache(tmp_path / "cache") as folder:
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
        rebuild(engine)
    assert fits(engine)


def test_an_accelerator_that_takes_a_cache_gets_one(built: Path, tmp_path: Path) -> None:
    recipe = recipe_for(
        built / "colours.onnx",
        built / "calib",
        frames=str(built / "frames"),
        backend="tensorrt",
        duration=0.2,
        even_if_slower=True,
        repair=False,
        tensorrt=TensorRtOptions(dla_core=0),
    )
    with host_gpu(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOST_DLA_CORES", "1")
        report = build_engine(recipe, tmp_path)
        found = find_engine(folder=tmp_path)
        assert (report.verdict, report.precision, report.int8_convs) == ("pass", "int8", report.total_convs)
        assert "1 layers run on the GPU" in " ".join(report.warnings)
        cache = cache_beside(found.path).read_text().splitlines()
        assert cache[0] == "TRT-100300-EntropyCalibration2"
        assert "edgeseg.head.subtract.value: 3f800000" in cache
        assert found.card.measured["execution"]["typed"] is False
        assert f"--calib={cache_beside(found.path)}" in inspect_artefact(str(found.path)).command
        flip_one_bit(found.path)
        with load_session(rebuild(found.path)) as session:
            assert session.infer(np.ascontiguousarray(frame())).shape == (1, 32, 48)
        assert cache_beside(found.path).is_file()
    for version in ("10.13.0.35", "11.4.0.106"):
        with host_gpu(version), pytest.MonkeyPatch.context() as patch:
            patch.setenv("HOST_DLA_CORES", "1")
            said = "has no INT8 on a DLA" if version.startswith("10") else "wants another graph than that beside"
            with pytest.raises((UsageError, ModelFileError), match=said):
                rebuild(found.path)
