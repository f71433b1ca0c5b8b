"""Files of ranges: whole, bound to their weights, and refused when damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

import onnx_ir as ir

from edgeseg.errors import ModelFileError
from edgeseg.quantize import ranges as module
from edgeseg.quantize.ranges import check_ranges, load_ranges, save_ranges
from tests.graphs import tiny_prepared
from tests.quantize.tiny import SIZE_HW, prepared, ranges

Arrays = dict[str, np.ndarray]


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    save_ranges(ranges(), tmp_path / "tiny.ranges.npz")
    loaded = load_ranges(tmp_path / "tiny.ranges.npz")
    assert loaded.sha256() == ranges().sha256()
    assert (list(loaded.tensors), dict(loaded.tools)) == (list(ranges().tensors), dict(ranges().tools))
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.ranges.npz"]


def test_the_same_ranges_give_the_same_file(tmp_path: Path) -> None:
    for name in ("a.ranges.npz", "b.ranges.npz"):
        save_ranges(ranges(), tmp_path / name)
    assert (tmp_path / "a.ranges.npz").read_bytes() == (tmp_path / "b.ranges.npz").read_bytes()


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tiny.ranges.npz"
    save_ranges(ranges(), path)
    before = path.read_bytes()

    def full(file: object, **arrays: np.ndarray) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="No space"):
        save_ranges(ranges(), path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["tiny.ranges.npz"]


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes(byte ^ 0xFF for byte in content[middle : middle + 64]) + content[middle + 64 :]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(_cut, id="a file cut in half"),
        pytest.param(_flip, id="a file with flipped bytes"),
        pytest.param(lambda _: b"", id="an empty file"),
        pytest.param(lambda _: b"\x93NUMPY garbage", id="a file that only begins as an array"),
        pytest.param(lambda _: b"PK\x03\x04" + bytes(100), id="a file that only begins as an archive"),
    ],
)
def test_a_damaged_file_is_refused(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "tiny.ranges.npz"
    save_ranges(ranges(), path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ModelFileError, match="can't be read") as caught:
        load_ranges(path)
    assert "edgeseg calibrate" in caught.value.hint


def _header(**changes: object) -> Callable[[Arrays], None]:
    def change(arrays: Arrays) -> None:
        header = {**json.loads(arrays["header"].tobytes()), **changes}
        arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)

    return change


def _negative(arrays: Arrays) -> None:
    arrays["counts"][0, 0] = -1


def _upside_down(arrays: Arrays) -> None:
    arrays["limits"] = arrays["limits"][:, ::-1]


def _pickled(arrays: Arrays) -> None:
    arrays["limits"] = np.array([object()], object)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda a: a.pop("counts"), "counts", id="without the histograms"),
        pytest.param(lambda a: a.update(counts=a["counts"][:, 1:]), "counts is int64", id="with too few bins"),
        pytest.param(lambda a: a.update(limits=a["limits"].astype(np.float64)), "limits is float64", id="in float64"),
        pytest.param(_negative, "impossible", id="with a negative count"),
        pytest.param(_upside_down, "impossible", id="with maxima below minima"),
        pytest.param(_pickled, "allow_pickle=False", id="with pickled objects"),
        pytest.param(_header(schema="edgeseg.ranges/9"), "schema is edgeseg.ranges/9", id="of a later version"),
        pytest.param(_header(surprise=1), "surprise", id="with an unknown key"),
        pytest.param(_header(frames="many"), "frames", id="with a key of the wrong type"),
        pytest.param(_header(tensors=["only one"]), "expected", id="with too few names"),
    ],
)
def test_a_file_that_does_not_fit_together_is_refused(
    change: Callable[[Arrays], None], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "tiny.ranges.npz"
    save_ranges(ranges(), path)
    with np.load(path) as loaded:
        arrays = {name: loaded[name].copy() for name in loaded.files}
    change(arrays)
    np.savez_compressed(path, **arrays)
    with pytest.raises(ModelFileError, match=message):
        load_ranges(path)


def test_a_file_that_unpacks_to_far_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_ranges(ranges(), tmp_path / "tiny.ranges.npz")
    monkeypatch.setattr(module, "LARGEST", 1000)
    with pytest.raises(ModelFileError, match="more than a gigabyte"):
        load_ranges(tmp_path / "tiny.ranges.npz")


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no file of ranges") as caught:
        load_ranges(tmp_path / "none.ranges.npz")
    assert "edgeseg calibrate" in caught.value.hint


def test_ranges_fit_the_weights_they_were_measured_on() -> None:
    assert check_ranges(ranges(), prepared()) == ""


def test_ranges_of_other_weights_are_refused() -> None:
    other = ir.from_proto(tiny_prepared(*SIZE_HW, seed=3))
    with pytest.raises(ModelFileError, match="ranges of other weights") as caught:
        check_ranges(ranges(), other)
    assert caught.value.exit_code == 4


def test_ranges_of_another_size_are_warned_of() -> None:
    larger = ir.from_proto(tiny_prepared(64, 48))
    assert check_ranges(ranges(), larger) == (
        "The ranges were measured at 32x48, the model is 64x48; INT8 may lose more accuracy."
    )


def test_a_graph_without_a_fixed_size_is_not_prepared() -> None:
    model = prepared()
    model.graph.inputs[0].shape = ir.Shape([1, 3, "height", "width"])
    with pytest.raises(ModelFileError, match="static shape"):
        check_ranges(ranges(), model)
