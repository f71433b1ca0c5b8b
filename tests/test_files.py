"""Files are replaced whole or not at all, and model files that reach outside are refused."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgeseg import files
from edgeseg.errors import ModelFileError
from edgeseg.files import atomic_path, refuse_outside_data, sha256_bytes, sha256_file, write_bytes

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper

from tests.graphs import tiny_prepared


class TestAtomicPath:
    def test_new_content_replaces_the_old(self, tmp_path: Path) -> None:
        write_bytes(tmp_path / "deep" / "engine.onnx", b"old")
        write_bytes(tmp_path / "deep" / "engine.onnx", b"new")
        assert os.listdir(tmp_path / "deep") == ["engine.onnx"]
        assert (tmp_path / "deep" / "engine.onnx").read_bytes() == b"new"

    @pytest.mark.parametrize(
        ("durable", "expected"),
        [
            pytest.param(True, ["fsync", "replace", "fsync"], id="a file is on disk before it takes its place"),
            pytest.param(False, ["replace"], id="a file of many takes its place at once"),
        ],
    )
    def test_the_disk_is_waited_for_where_it_matters(
        self, durable: bool, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls: list[str] = []
        for name in ("fsync", "replace"):
            call = getattr(os, name)
            monkeypatch.setattr(os, name, lambda *args, call=call, name=name: (calls.append(name), call(*args))[1])
        write_bytes(tmp_path / "map.png", b"content", durable=durable)
        assert calls == expected and os.listdir(tmp_path) == ["map.png"]
        assert (tmp_path / "map.png").read_bytes() == b"content"

    def test_the_old_content_stays_after_an_exception(self, tmp_path: Path) -> None:
        write_bytes(tmp_path / "engine.onnx", b"old")
        with pytest.raises(RuntimeError), atomic_path(tmp_path / "engine.onnx") as part:
            part.write_bytes(b"half of the n")
            assert part.suffix == ".onnx", "libraries go by the suffix"
            raise RuntimeError
        assert os.listdir(tmp_path) == ["engine.onnx"]
        assert (tmp_path / "engine.onnx").read_bytes() == b"old"

    @pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)], ids=["for all", "private"])
    def test_permissions_follow_the_umask(self, tmp_path: Path, umask: int, mode: int) -> None:
        before = os.umask(umask)
        try:
            write_bytes(tmp_path / "card.json", b"{}")
        finally:
            os.umask(before)
        assert (tmp_path / "card.json").stat().st_mode & 0o777 == mode

    def test_the_old_content_stays_when_the_disk_takes_no_more(self, tmp_path: Path) -> None:
        (tmp_path / "engine.onnx").write_bytes(b"old")
        number = _errno_of_write(tmp_path, "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))")
        assert number == errno.EFBIG
        assert os.listdir(tmp_path) == ["engine.onnx"]
        assert (tmp_path / "engine.onnx").read_bytes() == b"old"

    def test_the_old_content_stays_in_a_read_only_folder(self, tmp_path: Path) -> None:
        (tmp_path / "engine.onnx").write_bytes(b"old")
        tmp_path.chmod(0o555)
        number = _errno_of_write(tmp_path, "import os; os.getuid() or os.setuid(65534)")
        tmp_path.chmod(0o755)
        assert number == errno.EACCES
        assert os.listdir(tmp_path) == ["engine.onnx"]

    @pytest.mark.parametrize("durable", [True, False])
    def test_the_old_content_stays_when_the_process_is_killed(self, durable: bool, tmp_path: Path) -> None:
        (tmp_path / "engine.onnx").write_bytes(b"old")
        code = (
            "import os, signal; from pathlib import Path; from edgeseg.files import atomic_path\n"
            f"with atomic_path(Path('engine.onnx'), durable={durable}) as part:\n"
            "    part.write_bytes(b'new'); os.kill(os.getpid(), signal.SIGKILL)"
        )
        assert _python(tmp_path, code).returncode == -9
        assert (tmp_path / "engine.onnx").read_bytes() == b"old"


def _errno_of_write(folder: Path, limit: str) -> int:
    """Error number of writing 100 kB to `engine.onnx` in a process of its own with less rights."""
    code = (
        "from pathlib import Path; from edgeseg.files import write_bytes\n"
        f"{limit}\n"
        "try: write_bytes(Path('engine.onnx'), bytes(100_000))\n"
        "except OSError as error: print(error.errno)"
    )
    return int(_python(folder, code).stdout or "0")


def _python(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)


def test_hashes_agree(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "file").write_bytes(content)
    assert sha256_file(tmp_path / "file") == sha256_bytes(content)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """Weights that lie outside the model's folder."""
    path = tmp_path / "secret.bin"
    path.write_bytes(bytes(1 << 16))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    path.mkdir()
    return path


Place = Callable[[Path, Path], str]


def _symlink(folder: Path, secret: Path) -> str:
    (folder / "data.bin").symlink_to(secret)
    return "data.bin"


def _linked_folder(folder: Path, secret: Path) -> str:
    (folder / "sub").symlink_to(secret.parent)
    return "sub/secret.bin"


def _hard_link(folder: Path, secret: Path) -> str:
    (folder / "data.bin").hardlink_to(secret)
    return "data.bin"


def _plain(folder: Path, secret: Path) -> str:
    (folder / "data.bin").write_bytes(secret.read_bytes())
    return "data.bin"


OUTSIDE = {
    "an absolute path": (lambda _, secret: str(secret), "absolute"),
    "a path of another system": (lambda *_: r"C:\secret.bin", "absolute"),
    "a path upwards": (lambda *_: "../secret.bin", "upwards"),
    "a path upwards in between": (lambda *_: "./x/../../secret.bin", "upwards"),
    "a path upwards with backslashes": (lambda *_: r"..\secret.bin", "upwards"),
    "a symbolic link": (_symlink, "symbolic link"),
    "a linked folder": (_linked_folder, "out of the model's folder"),
    "a hard link": (_hard_link, "hard link"),
    "a missing file": (lambda *_: "nowhere.bin", "no such file"),
    "an address in memory": (lambda *_: "*/_ORT_MEM_ADDR_/*", "no such file"),
    "no location": (lambda *_: "", "no such file"),
}


class TestRefuseOutsideData:
    @pytest.mark.parametrize(("place", "reason"), OUTSIDE.values(), ids=OUTSIDE)
    def test_refuses(self, folder: Path, secret: Path, place: Place, reason: str) -> None:
        model = tiny_prepared()
        _point(model.graph.initializer[0], place(folder, secret))
        with pytest.raises(ModelFileError, match=reason):
            refuse_outside_data(_write(model, folder))

    def test_takes_data_beside_the_model_unless_it_must_be_embedded(self, folder: Path, secret: Path) -> None:
        model = tiny_prepared()
        _point(model.graph.initializer[0], _plain(folder, secret))
        path = _write(model, folder)
        refuse_outside_data(path)
        with pytest.raises(ModelFileError, match="holds all its weights itself"):
            refuse_outside_data(path, embedded=True)

    @pytest.mark.parametrize("where", ["attribute", "subgraph", "sparse weight", "function"])
    def test_overlooks_no_tensor(self, folder: Path, where: str) -> None:
        model = tiny_prepared()
        tensor = numpy_helper.from_array(np.ones(1, np.float32), "hidden")
        _point(tensor, "../secret.bin")
        constant = helper.make_node("Constant", [], ["hidden"], value=tensor)
        if where == "attribute":
            model.graph.node.append(constant)
        elif where == "subgraph":
            inner = helper.make_graph(
                [constant], "inner", [], [helper.make_tensor_value_info("hidden", TensorProto.FLOAT, [1])]
            )
            model.graph.node.append(helper.make_node("If", ["yes"], ["y"], then_branch=inner, else_branch=inner))
        elif where == "sparse weight":
            sparse = helper.make_sparse_tensor(tensor, numpy_helper.from_array(np.zeros(1, np.int64), "places"), [4])
            model.graph.sparse_initializer.append(sparse)
        else:
            opset = [helper.make_opsetid("", 17)]
            model.functions.append(helper.make_function("acme", "F", [], ["hidden"], [constant], opset))
        with pytest.raises(ModelFileError, match=r"weight 'hidden' lies in '\.\./secret\.bin'"):
            refuse_outside_data(_write(model, folder))

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"", "it is empty"),
            (b"\x00\xff" * 40, r"80 bytes"),
            (tiny_prepared().SerializeToString()[:-1], "corrupt|pars"),
            (onnx.ModelProto(ir_version=8).SerializeToString(), "no graph"),
        ],
        ids=["an empty file", "no protobuf", "a file cut short", "a model without graph"],
    )
    def test_damaged_files_are_named(self, folder: Path, content: bytes, reason: str) -> None:
        (folder / "model.onnx").write_bytes(content)
        with pytest.raises(ModelFileError, match=reason) as caught:
            refuse_outside_data(folder / "model.onnx")
        assert "model.onnx" in caught.value.message

    def test_a_missing_file_is_named(self, folder: Path) -> None:
        with pytest.raises(ModelFileError, match=r"no model file at .*none\.onnx"):
            refuse_outside_data(folder / "none.onnx")


def _point(tensor: onnx.TensorProto, location: str) -> None:
    """Move a tensor's content to an external file, as a hostile exporter would write it."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)


def _write(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("chosen", "cloned", "expected"),
    [
        pytest.param("elsewhere", True, "elsewhere", id="the environment says where"),
        pytest.param("", True, "clone/engines/build", id="a clone keeps them inside"),
        pytest.param("", False, "cache/edgeseg/engines", id="an install puts them into the user's cache"),
    ],
)
def test_engines_have_a_folder(
    chosen: str, cloned: bool, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGESEG_ENGINES", str(tmp_path / chosen) if chosen else "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    module = tmp_path / "clone/edgeseg/files.py"
    module.parent.mkdir(parents=True)
    if cloned:
        (tmp_path / "clone/setup.cfg").touch()
    monkeypatch.setattr(files, "__file__", str(module))
    assert files.engines_folder() == tmp_path / expected
