"""What a strip shows, and where."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")
pytest.importorskip("PIL")

from edgeseg.bench.explain import Answered, changes, frame_figures
from edgeseg.bench.strips import BOTH_WRONG, GAINED, GAP, GROUND, LOST, WIDTH, Layout, draw_strip
from edgeseg.labels import CAMVID, VOID, LabelSet, voc_palette

ENGINES = ("onnxruntime fp32", "onnxruntime int8 u8-asym")
SIZES = [(48, 64), (360, 480), (720, 1280), (2160, 3840), (1920, 1080), (512, 2048), (3000, 100), (16, 16), (7000, 20)]


def scene(size_hw: tuple[int, int] = (48, 64), *, labelled: bool = True, name: str = "frames/one.png") -> Answered:
    """Quarters of the picture: lost, gained, both wrong, and equal, below a void edge of the label."""
    height, width = size_hw
    label, a, b = (np.full(size_hw, 3, np.uint8) for _ in range(3))
    label[: height // 8] = VOID
    b[: height // 2, : width // 2] = 5
    a[: height // 2, width // 2 :] = 5
    a[height // 2 :, : width // 2], b[height // 2 :, : width // 2] = 1, 9
    frame = np.full((*size_hw, 3), (40, 120, 200), np.uint8)
    return Answered(name, frame, label if labelled else None, a, b)


def drawn(shown: Answered, labels: LabelSet = CAMVID) -> np.ndarray:
    """The strip in RGB."""
    return draw_strip(shown, frame_figures(shown.label, shown.a, shown.b), labels, ENGINES)[..., ::-1]


def layout(shown: Answered) -> Layout:
    return Layout.of(shown.frame.shape[:2], 5 if shown.label is not None else 4)


def grown(picture: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    return cv2.resize(picture, size_hw[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


@pytest.mark.parametrize("columns", [4, 5])
@pytest.mark.parametrize("size_hw", SIZES, ids=str)
def test_panels_stand_apart_inside_the_strip(size_hw: tuple[int, int], columns: int) -> None:
    found = Layout.of(size_hw, columns)
    panels = [found.panel(index) for index in range(columns)]
    assert found.width <= WIDTH
    assert panels[0].left > 0 and panels[-1].left + panels[-1].width < found.width
    for one, other in pairwise(panels):
        assert other.left >= one.left + one.width + GAP
    assert panels[0].top + panels[0].height < found.below


@pytest.mark.parametrize(
    ("size_hw", "scale"),
    [
        pytest.param((360, 480), 1, id="as it is"),
        pytest.param((480, 480), 1, id="a square"),
        pytest.param((48, 64), 5, id="a small frame is magnified by a whole number"),
        pytest.param((1440, 1920), 1 / 4, id="a large frame is made smaller"),
        pytest.param((2400, 300), 1 / 2, id="a high frame too"),
    ],
)
def test_panels_keep_the_shape_of_the_frame(size_hw: tuple[int, int], scale: float) -> None:
    assert Layout.of(size_hw, 5).panel_hw == tuple(side * scale for side in size_hw)


@pytest.mark.parametrize("size_hw", [(48, 64), (360, 480), (720, 960)], ids=str)
def test_a_labelled_strip_shows_frame_label_a_b_and_difference(size_hw: tuple[int, int]) -> None:
    shown = scene(size_hw)
    strip, place = drawn(shown), layout(shown)
    frame, label, a, b, difference = (place.panel(index).of(strip) for index in range(5))
    assert (frame == (200, 120, 40)).all()
    for panel, class_map in ((label, shown.label), (a, shown.a), (b, shown.b)):
        assert np.array_equal(panel, grown(CAMVID.colours()[class_map], place.panel_hw))
    assert (label[0] == 0).all(), "void is black"
    height, width = place.panel_hw
    grey = int(difference[0, 0, 0])
    colours = (LOST, GAINED, BOTH_WRONG, (grey,) * 3)
    for (row, column), colour in zip(((1, 1), (1, 3), (3, 1), (3, 3)), colours, strict=True):
        assert tuple(difference[row * height // 4, column * width // 4]) == colour
    assert 0 < grey < 80, "what is equal or void is the frame in dark grey"


def test_an_unlabelled_strip_shows_the_class_of_b_where_it_differs() -> None:
    shown = scene(labelled=False)
    strip, place = drawn(shown), layout(shown)
    assert strip.shape[1] == place.width
    frame, a, b, difference = (place.panel(index).of(strip) for index in range(4))
    assert (frame == (200, 120, 40)).all()
    assert np.array_equal(a, grown(CAMVID.colours()[shown.a], place.panel_hw))
    assert np.array_equal(b, grown(CAMVID.colours()[shown.b], place.panel_hw))
    differs = grown((shown.a != shown.b).astype(np.uint8), place.panel_hw) == 1
    assert np.array_equal(difference[differs], b[differs])
    assert difference[~differs].max() < 80


def test_pixels_that_an_engine_never_saw_are_no_difference() -> None:
    shown = scene(labelled=False)
    shown.b[:] = VOID
    assert len(np.unique(layout(shown).panel(3).of(drawn(shown)))) == 1


def test_where_a_large_frame_is_made_smaller_a_thin_difference_stays_visible() -> None:
    shown = scene((720, 1920))
    shown.a[:], shown.b[:], shown.label[:] = 3, 3, 3
    shown.b[:, 1000] = 5
    difference = layout(shown).panel(4).of(drawn(shown))
    columns = np.flatnonzero((difference != difference[0, 0]).any((0, 2)))
    assert columns.tolist() == [1000 // 4]


@pytest.mark.parametrize("labelled", [True, False], ids=["with a label", "without"])
@pytest.mark.parametrize("size_hw", [(16, 16), (48, 64), (480, 640), (640, 360), (2000, 60)], ids=str)
def test_nothing_is_written_beyond_the_edges_or_between_the_columns(size_hw: tuple[int, int], labelled: bool) -> None:
    shown = scene(size_hw, labelled=labelled, name="a/" + "a long name of a frame " * 9 + ".png")
    strip, place = drawn(shown), layout(shown)
    for edge in (strip[: GAP // 2], strip[-GAP // 2 :], strip[:, : GAP // 2], strip[:, -GAP // 2 :]):
        assert (edge == GROUND).all()
    for index in range(1, place.columns):
        gap = strip[: place.below, place.left(index) - GAP : place.left(index)]
        assert (gap == GROUND).all()


def test_every_panel_has_its_caption() -> None:
    shown = scene((360, 480))
    strip, place = drawn(shown), layout(shown)
    for index in range(5):
        above = strip[: place.panel(0).top, place.left(index) : place.left(index) + place.column]
        for line in (above[: GAP + place.line], above[GAP + place.line :]):
            assert (line.max(2) > 160).sum() > 100


def test_captions_tell_frames_and_engines_apart() -> None:
    shown = scene((360, 480))
    place = layout(shown)
    strips = [drawn(shown), drawn(shown._replace(name="frames/two.png"))]
    differs = (strips[0] != strips[1]).any((0, 2))
    assert differs[place.left(0) : place.left(1)].any() and not differs[place.left(1) :].any()
    captions = [drawn(shown)[: place.line, place.left(index) :][:, : place.column] for index in (2, 3)]
    assert not np.array_equal(*captions)


def test_the_legend_below_names_the_kinds_of_difference_and_the_classes_that_occur() -> None:
    shown = scene((360, 480))
    strip, place = drawn(shown), layout(shown)
    below = strip[place.below :]

    def rows(colour: tuple[int, int, int], part: np.ndarray) -> list[int]:
        return np.flatnonzero((part == colour).all(2).sum(1) > place.line // 2).tolist()

    kinds, classes = below[:, place.left(4) :], below[:, : place.left(4)]
    tops = [rows(colour, kinds)[0] for colour in (LOST, GAINED, BOTH_WRONG)]
    assert tops == [tops[0], tops[0] + place.line, tops[0] + 2 * place.line]
    for index, colour in enumerate(CAMVID.palette):
        assert bool(rows(colour, classes)) == (index in (1, 3, 5, 9))
    assert bool(rows((0, 0, 0), classes)), "void is named where it occurs"


def test_many_classes_are_named_in_several_rows_that_all_fit() -> None:
    labels = LabelSet(tuple(f"class number {i}" for i in range(150)), voc_palette(151)[1:])
    shown = scene((300, 450), labelled=False)
    shown.a[:] = np.arange(450) // 3
    strip, place = drawn(shown, labels), layout(shown)
    assert strip.shape[0] > place.below + 10 * place.line
    assert (strip[place.below :, place.left(3) - GAP : place.left(3)] == GROUND).all()


def luminance(colour: tuple[int, int, int]) -> float:
    """Relative luminance of sRGB as WCAG defines it, which colour-blind eyes see about alike."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (value / 255 for value in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_kinds_of_difference_differ_in_brightness_too() -> None:
    for one, other in combinations((LOST, GAINED, BOTH_WRONG), 2):
        dark, bright = sorted((luminance(one), luminance(other)))
        assert (bright + 0.05) / (dark + 0.05) > 1.5


def test_the_difference_has_as_many_pixels_of_a_kind_as_the_figures_say() -> None:
    rng = np.random.default_rng(1)
    label, a, b = rng.integers(0, 4, (3, 60, 80)).astype(np.uint8)
    shown = Answered("one.png", rng.integers(0, 256, (60, 80, 3)).astype(np.uint8), label, a, b)
    difference = layout(shown).panel(4).of(drawn(shown))
    figures, found = frame_figures(label, a, b), changes(label, a, b)
    for colour, share, mask in (
        (LOST, figures.lost, found.lost),
        (GAINED, figures.gained, found.gained),
        (BOTH_WRONG, figures.both_wrong, found.both_wrong),
    ):
        painted = (difference == colour).all(2)
        assert painted.mean() == share
        assert np.array_equal(painted, grown(mask.astype(np.uint8), painted.shape) == 1)
