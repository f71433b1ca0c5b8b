"""Frames chosen for how much they differ."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from edgeseg.build.calibration_set import SelectReport, select_frames
from edgeseg.build.stages import calibrate_file
from edgeseg.data.calibration import open_frames
from edgeseg.errors import UsageError
from edgeseg.quantize.ranges import load_ranges
from tests.build.painted import BLACK, CLASSES, colour_network, painted, recipe_for, write_frames

#: Of red there is plenty, of the others a frame or two; two are black, and four are copies of the first.
REDS = [painted("red", seed) for seed in range(30)]
DRIVE = [*REDS, painted("green", 0), painted("green", 1), BLACK, painted("blue", 0), BLACK, *REDS[:1] * 4]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return colour_network(tmp_path_factory.mktemp("network") / "colours.onnx")


def select(network: Path, source: Path | str, count: int, out: Path, **options: int) -> SelectReport:
    return select_frames(recipe_for(network, source), count, out, **options)  # type: ignore[arg-type]


def _sources(folder: Path) -> dict[str, str]:
    """The drive in every form."""
    write_frames(folder / "frames", DRIVE)
    (folder / "list.txt").write_text("".join(f"frames/{index:03}.png\n" for index in range(len(DRIVE))))
    (folder / "whole.toml").write_text("source = 'list.txt'\n")
    writer = cv2.VideoWriter(str(folder / "v.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 25, DRIVE[0].shape[1::-1])
    for frame in DRIVE:
        writer.write(frame)
    writer.release()
    return {"folder": "frames", "list": "list.txt", "set": "whole.toml", "video": "v.avi"}


@pytest.mark.parametrize("form", ["folder", "list", "set", "video"])
def test_the_choice_is_varied_and_taken_wherever_frames_are(network: Path, tmp_path: Path, form: str) -> None:
    source = tmp_path / _sources(tmp_path)[form]
    report = select(network, source, 4, tmp_path / "sets" / "s.toml")
    assert report.selected.classes == CLASSES and {33} < set(report.numbers) and {30, 31} & set(report.numbers)
    assert not {32, 34} & set(report.numbers), "black frames are left out"
    assert not {35, 36, 37, 38} & set(report.numbers), "so are copies"
    assert (report.candidates, report.empty, report.duplicates, report.frames) == (39, 2, 4, 4)
    frames = open_frames(tmp_path / "sets" / "s.toml")
    assert (frames.numbers, frames.sha256) == (report.numbers, report.calibration_sha256)
    assert set(frames.keys) <= set(open_frames(source).keys), "so a gate knows them again"
    ranges = tmp_path / "r.ranges.npz"
    calibrate_file(recipe_for(network, tmp_path / "sets" / "s.toml"), ranges)
    assert load_ranges(ranges).frame_keys == tuple(sorted(frames.keys))


def test_the_choice_is_compared_with_an_even_one(network: Path, tmp_path: Path) -> None:
    _sources(tmp_path)
    report = select(network, tmp_path / "frames", 4, tmp_path / "s.toml")
    assert 0 < report.selected.distance < report.even.distance
    assert report.selected.distance < report.selected.farthest < report.even.farthest
    assert report.even.classes == ("red",), "the other colours lie between the frames that are evenly spaced"
    whole = select(network, tmp_path / "frames", 33, tmp_path / "s.toml")
    assert whole.selected.distance == pytest.approx(0, abs=1e-6) and len(whole.numbers) == 33


def test_the_same_input_gives_the_same_bytes(network: Path, tmp_path: Path) -> None:
    _sources(tmp_path)
    for out in (tmp_path / "s.toml", tmp_path / "other.toml"):
        cv2.setRNGSeed(int(np.random.default_rng().integers(1 << 30)))
        select(network, tmp_path / "frames", 12, out)
    assert (tmp_path / "s.toml").read_bytes() == (tmp_path / "other.toml").read_bytes()
    assert (tmp_path / "s.png").read_bytes() == (tmp_path / "other.png").read_bytes()


def test_a_set_moves_with_its_frames(network: Path, tmp_path: Path) -> None:
    _sources(tmp_path / "here")
    report = select(network, tmp_path / "here" / "list.txt", 3, tmp_path / "here" / "s.toml")
    first, _, rest = (tmp_path / "here" / "s.toml").read_text().partition("\n")
    assert first.startswith("# 3 of 39 frames of") and "edgeseg calibrate --select 3" in first
    assert 'source = "list.txt"' in rest
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert open_frames(tmp_path / "there" / "s.toml").sha256 == report.calibration_sha256
    cv2.imwrite(str(tmp_path / "there" / "frames" / f"{report.numbers[0]:03}.png"), BLACK)
    with pytest.raises(UsageError, match="made of other frames"):
        open_frames(tmp_path / "there" / "s.toml")


def test_the_sheet_shows_the_chosen_frames(network: Path, tmp_path: Path) -> None:
    frames = [np.full((48, 64, 3), 20, np.uint8) for _ in range(2)]
    for frame, colour in zip(frames, [(0, 0, 210), (210, 90, 0)], strict=True):
        frame[8:40, 8:56] = colour
    select(network, write_frames(tmp_path / "frames", [*frames, *frames]), 2, tmp_path / "s.toml")
    picture = cv2.imread(str(tmp_path / "s.png"))
    assert picture is not None
    areas = [int((picture == frame[20, 20]).all(2).sum()) for frame in frames]
    assert areas[0] == areas[1] > 5000


@pytest.mark.parametrize(
    ("frames", "count", "chosen", "said"),
    [
        pytest.param(REDS[:1], 5, 1, ["only 1 differ", "1 is few"], id="one frame"),
        pytest.param(DRIVE, 100, 33, ["only 33 differ"], id="fewer that differ than asked for"),
        pytest.param(DRIVE, 33, 33, [], id="as many as there are"),
        pytest.param(DRIVE, 6, 6, ["6 is few"], id="few"),
    ],
)
def test_too_few_frames_are_all_taken_with_a_warning(
    network: Path, tmp_path: Path, frames: list[np.ndarray], count: int, chosen: int, said: list[str]
) -> None:
    report = select(network, write_frames(tmp_path / "frames", frames), count, tmp_path / "s.toml")
    assert report.frames == len(open_frames(tmp_path / "s.toml")) == chosen
    assert len(report.warnings) == len(said)
    assert all(words in warning for words, warning in zip(said, report.warnings, strict=True))


@pytest.mark.parametrize(
    ("source", "candidates"),
    [
        pytest.param("synthetic://?width=64&height=48&frames=297", range(16, 297, 33), id="evenly spaced"),
        pytest.param("synthetic://?width=64&height=48", range(60), id="the first ones of a source without end"),
    ],
)
def test_only_so_many_candidates_are_looked_at(network: Path, tmp_path: Path, source: str, candidates: range) -> None:
    report = select(network, source, 3, tmp_path / "s.toml", candidates=len(candidates))
    assert report.candidates == len(candidates) and len(report.numbers) == 3
    assert set(report.numbers) <= set(candidates)
    assert open_frames(tmp_path / "s.toml").numbers == report.numbers
    assert f'source = "{source}"' in (tmp_path / "s.toml").read_text()


@pytest.mark.parametrize(
    ("frames", "out", "message"),
    [
        pytest.param([BLACK, BLACK + 255, BLACK + 99], "s.toml", "Not one of 3 frames", id="frames that show nothing"),
        pytest.param(REDS[:2], "s.ranges.npz", "is a .toml file", id="no name of a set"),
        pytest.param(REDS[:2], "frames/s.toml", "would lie among the frames", id="in the folder of the frames"),
    ],
)
def test_what_can_not_be_chosen_is_refused(
    network: Path, tmp_path: Path, frames: list[np.ndarray], out: str, message: str
) -> None:
    source = write_frames(tmp_path / "frames", frames)
    with pytest.raises(UsageError, match=message):
        select(network, source, 2, tmp_path / out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["frames"] and len(open_frames(source)) == len(frames)


def test_the_sheet_replaces_no_picture_of_the_source(network: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "s.png"), REDS[0])
    before = (tmp_path / "s.png").read_bytes()
    (tmp_path / "list.txt").write_text("s.png\n")
    for source in ("s.png", "list.txt"):
        with pytest.raises(UsageError, match="would lie among the frames"):
            select(network, tmp_path / source, 1, tmp_path / "s.toml")
    assert (tmp_path / "s.png").read_bytes() == before
