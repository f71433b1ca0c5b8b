"""Which point of a measured front is built, what is said of it, and what is searched at all."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("cv2")
pytest.importorskip("onnx_ir")

from edgeseg.backends.tensorrt.options import TensorRtOptions
from edgeseg.bench.budget import Budget, Front
from edgeseg.bench.budget.anchor import Anchor
from edgeseg.bench.budget.chart import front_svg
from edgeseg.bench.budget.choice import allowed_ms, explain, most_accurate, possible_fps, ranked
from edgeseg.bench.budget.command import SEARCHED, command
from edgeseg.bench.budget.refusal import none_holds, too_inaccurate, too_slow
from edgeseg.bench.budget.report import Accuracy, Attempt, Design, FrontPoint, NotMeasured
from edgeseg.bench.budget.space import (
    Network,
    by_cards,
    check_cards,
    designs,
    is_dearer,
    not_near,
    not_worth,
    shipped_miou,
    sizes_about,
)
from edgeseg.bench.budget.words import accuracy_words
from edgeseg.build.candidates import Candidate
from edgeseg.build.recipe import BuildRecipe
from edgeseg.card import Card, Resize
from edgeseg.cli import main
from edgeseg.cli.budget import share
from edgeseg.errors import ModelFileError, UsageError
from tests.engines import TINY_CARD, installed

BUDGET, PLAIN = Budget(fps=50), BuildRecipe()


def point(model: str, p90_ms: float, accuracy: float, **fields: Any) -> FrontPoint:
    plain = {"size_hw": (32, 48), "upsample": "half", "precision": "int8", "dialect": "u8-asym", "backend": "openvino"}
    told = {"macs": 1, "samples": 100, "p50_ms": 0.9 * p90_ms, **plain, **fields}
    return FrontPoint(model=model, p90_ms=p90_ms, accuracy=accuracy, **told)


def front(*points: FrontPoint, budget: Budget = BUDGET, **fields: Any) -> Front:
    return Front(
        created="",
        device="a board",
        versions={},
        budget=budget,
        budget_ms=budget.ms,
        frame_hw=(480, 640),
        accuracy=Accuracy(kind="labels", frames=9, source="street"),
        points=ranked(points, budget.ms),
        **fields,
    )


FAST, GOOD, BEST = point("fast", 10, 0.60), point("good", 19, 0.70), point("best", 25, 0.80)


@pytest.mark.parametrize(
    ("points", "allowed", "least", "without", "expected"),
    [
        pytest.param([FAST, GOOD, BEST], 20.0, None, (), "good", id="the most accurate within the budget"),
        pytest.param([FAST, GOOD, BEST], 100.0, None, (), "best", id="all keep it: the most accurate of all"),
        pytest.param([FAST, GOOD, BEST], 5.0, None, (), None, id="none keeps it"),
        pytest.param([FAST, GOOD, BEST], 19.0, None, (), "good", id="the budget itself is kept"),
        pytest.param([FAST, GOOD, BEST], 20.0, 0.70, (), "good", id="the least accuracy itself is enough"),
        pytest.param([FAST, GOOD, BEST], 20.0, 0.75, (), None, id="the least accuracy is beyond the budget"),
        pytest.param([FAST, GOOD, BEST], 20.0, None, [GOOD.name], "fast", id="one that failed is out"),
        pytest.param([FAST, GOOD, BEST], 12.0, None, [GOOD.name], "fast", id="a machine that became slower"),
        pytest.param([GOOD, point("alike", 15, 0.70)], 20.0, None, (), "alike", id="of equals the fastest"),
        pytest.param([], 20.0, None, (), None, id="nothing was measured"),
    ],
)
def test_the_choice(
    points: list[FrontPoint], allowed: float, least: float | None, without: Any, expected: str | None
) -> None:
    pick = most_accurate(points, allowed, least, without)
    assert (pick.model if pick is not None else None) == expected


def test_points_are_ranked_by_speed_and_know_the_front() -> None:
    beaten = point("beaten", 21, 0.65)
    found = ranked([BEST, beaten, GOOD, FAST], BUDGET.ms)
    assert [(one.model, one.on_front, one.keeps) for one in found] == [
        ("fast", True, True),
        ("good", True, True),
        ("beaten", False, False),
        ("best", True, False),
    ]


@pytest.mark.parametrize(
    ("p90_ms", "fps"), [(33.4, 29.0), (20.0, 50.0), (99.9, 10.0), (105.0, 9.5), (2100.0, 0.4), (30_000.0, 0.0333)]
)
def test_frames_per_second_that_are_possible_are_kept(p90_ms: float, fps: float) -> None:
    assert possible_fps(p90_ms) == fps
    assert 1e3 / fps >= p90_ms


def test_why_it_was_picked_says_what_more_would_cost() -> None:
    attempts = (
        Attempt(design="odd", failure="it has mIoU 1.00"),
        Attempt(design=GOOD.name, p90_ms=18.5, built="openvino int8 u8-asym"),
    )
    told = explain(front(FAST, GOOD, BEST, attempts=attempts), GOOD)
    assert "most accurate that was left of the 2 engines that keep 20.0 ms (50 FPS), of 3 measured: mIoU 70.00" in told
    assert "Built with its gate as openvino int8 u8-asym, it takes 18.5 ms." in told
    assert "odd: it has mIoU 1.00." in told and "slower by then" not in told
    assert "The next more accurate, best 32x48 half int8 (80.00), takes 25.0 ms: 40 FPS." in told


def test_a_machine_that_became_slower_is_told_and_leaves_room() -> None:
    slow = Attempt(design=GOOD.name, p90_ms=38.0, built=GOOD.kind, failure="it took 38.0 ms when it was timed again")
    found = front(FAST, GOOD, attempts=(slow, Attempt(design=FAST.name, p90_ms=19.0, built=FAST.kind)))
    assert allowed_ms(front(FAST, GOOD)) == 20.0
    assert allowed_ms(found) == pytest.approx(10.0), "it took twice as long as before"
    assert "slower by then: what had taken more than 10.0 ms was not tried" in explain(found, FAST)


def test_another_engine_than_was_timed_tells_nothing_of_the_machine() -> None:
    other = Attempt(design=GOOD.name, p90_ms=38.0, built="openvino fp32 float", failure="it took 38.0 ms")
    assert allowed_ms(front(FAST, GOOD, attempts=(other,))) == 20.0


def test_races_are_compared_by_the_anchor_where_it_took_part() -> None:
    one = Anchor(design=FAST, took_ms=[1.0, None, 1.3, 1.0])
    assert [one.slowness(number) for number in range(4)] == [1.0, 1.0, 1.3, 1.0]
    assert f"moved by 30% while engines were timed: their times are scaled by what {FAST.name}" in one.warnings()[0]
    assert Anchor(design=FAST, took_ms=[1.0, 1.09]).warnings() == Anchor().warnings() == (), "as any machine does"


def test_too_slow_tells_what_is_possible_and_how() -> None:
    recipe = BuildRecipe(data="street", imgsz=(32, 48))
    error = too_slow(front(FAST, GOOD, budget=Budget(fps=200, fixed=frozenset({"imgsz"}))), recipe)
    assert error.exit_code == 7
    assert "No engine keeps 200 FPS (5.0 ms) here: the fastest found, fast" in error.message
    assert "takes 10.0 ms" in error.message
    assert error.hint == (
        "100 FPS is possible, with mIoU 60.00 on 9 labelled frames: edgeseg build --fps 100 --imgsz 32x48 --data street"
    )
    assert error.message.endswith("No engine was replaced.")


@pytest.mark.parametrize(
    ("least", "expected"),
    [
        pytest.param(0.9, "--fps 100 -o", id="more than the fastest has is not asked for again"),
        pytest.param(0.6, "--fps 100 --min-miou 0.6 -o", id="what it has is"),
    ],
)
def test_what_is_possible_can_be_built(least: float, expected: str) -> None:
    error = too_slow(front(FAST, GOOD, budget=Budget(fps=200, min_miou=least)), PLAIN, Path("out"))
    assert expected in error.hint


def test_too_inaccurate_tells_the_best_within_and_the_cheapest_beyond() -> None:
    budget = Budget(fps=50, min_miou=0.75)
    found, recipe = front(FAST, GOOD, BEST, budget=budget), BuildRecipe(data="street")
    error = too_inaccurate(found, recipe, BEST)
    assert "has mIoU 75.00: the best, good 32x48 half int8, has mIoU 70.00" in error.message
    assert "takes 25.0 ms: edgeseg build --fps 40 --min-miou 0.75 --data street" in error.hint
    assert "With --min-miou 0.7 that one is built." in error.hint
    assert "None that was tried beyond" in too_inaccurate(found, recipe, None).hint


@pytest.mark.parametrize("accuracy", [0.714955, 0.57, 0.2857, 0.5699999999999999, 0.0002])
def test_the_least_accuracy_that_is_told_is_within_reach(accuracy: float) -> None:
    error = too_inaccurate(front(point("net", 10, accuracy), budget=Budget(fps=50, min_miou=0.9)), PLAIN, None)
    (told,) = re.findall(r"With --min-miou (\S+) that one is built", error.hint)
    assert accuracy - 1e-4 < share(told) <= accuracy


def test_where_nothing_is_right_no_accuracy_is_told() -> None:
    error = too_inaccurate(front(point("net", 10, 0.0), budget=Budget(fps=50, min_miou=0.9)), PLAIN, None)
    assert "Without --min-miou that one is built." in error.hint


def test_where_nothing_holds_every_attempt_is_told() -> None:
    attempts = (
        Attempt(design="a", p90_ms=10.0, failure="its gate"),
        Attempt(design="b", p90_ms=40.0, failure="it took 40.0 ms"),
    )
    error = none_holds(front(GOOD, attempts=attempts), BuildRecipe())
    assert "a: its gate; b: it took 40.0 ms" in error.message
    assert "edgeseg build --fps 25" in error.hint, "the first was fast enough"


#: A value for each field of a recipe, none of them the default.
GIVEN: dict[str, Any] = {
    "model": "my net.onnx",
    "network": "liteseg",
    "precision": "fp32",
    "backend": "openvino",
    "imgsz": (96, 128),
    "upsample": "full",
    "pixel_format": "bgrx",
    "calib": "drive 1.mp4",
    "calib_frames": 12,
    "calibrator": "percentile:99.9",
    "per_tensor": True,
    "keep_float": ("a node", "/b"),
    "data": "street",
    "frames": "a b.mp4",
    "gate_frames": 7,
    "max_drop": 0.0,
    "max_class_drop": 3.25,
    "min_agreement": 95.123456789,
    "min_class_iou": 70.0,
    "min_class_share": 0.0,
    "repair": False,
    "prefer": "speed",
    "even_if_slower": True,
    "duration": 1.5,
    "mean": (-0.5, 0.456, 1 / 3),
    "std": (0.229, 0.224, 1e-7),
    "input_range": 1,
    "channels": "bgr",
    "classes": "road,my car",
    "output": "logits:0",
    "threshold": 0.0,
    "resize": Resize("letterbox"),
    "tensorrt": TensorRtOptions(
        workspace_mib=1234567,
        optimization_level=0,
        hardware="ampere-plus",
        any_version=True,
        batch=(1, 4, 8),
        sparse=True,
        timeout_s=0.5,
        memory="copied",
        cuda_graph=False,
        spin=True,
    ),
}


def typed(line: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Budget, BuildRecipe, Path | None]:
    """What the command line makes of a command."""
    asked: list[Any] = []
    monkeypatch.setattr("edgeseg.cli.build.build_for_budget", lambda *words, as_json: asked.extend(words))
    edgeseg, *words = shlex.split(line)
    assert (edgeseg, main(words)) == ("edgeseg", 0)
    fps, least, recipe, given, out = asked
    return Budget(fps=fps, min_miou=least, fixed=frozenset(given).intersection(SEARCHED)), recipe, out


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(GIVEN, id="all that there is"),
        pytest.param({"tensorrt": TensorRtOptions(dla_core=0)}, id="what does not go with that"),
        pytest.param({}, id="nothing"),
    ],
)
def test_the_command_asks_for_the_same_recipe(given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = BuildRecipe(**given)
    budget = Budget(fps=30, min_miou=0.6123456789, fixed=frozenset(given).intersection(SEARCHED))
    for out in (Path("a folder/engines"), None):
        found = typed(command(budget, recipe, 12.5, out), monkeypatch)
        assert found == (msgspec.structs.replace(budget, fps=12.5), recipe, out)


def test_no_field_of_a_recipe_is_forgotten() -> None:
    assert set(GIVEN) == set(BuildRecipe.__struct_fields__)
    assert all(GIVEN[name] != getattr(PLAIN, name) for name in GIVEN)
    tensorrt = GIVEN["tensorrt"]
    plain = [name for name in tensorrt.__struct_fields__ if getattr(tensorrt, name) == getattr(PLAIN.tensorrt, name)]
    assert plain == ["dla_core"], "it takes one frame at a time"


def test_the_command_names_what_is_not_searched_and_nothing_else() -> None:
    recipe = BuildRecipe(model="my net.onnx", precision="fp32", upsample="full", imgsz=(96, 128))
    assert command(Budget(fps=30), recipe, 12.0) == "edgeseg build --fps 12"
    assert command(Budget(fps=30, fixed=frozenset({"precision"})), PLAIN, 12.0) == "edgeseg build --fps 12 --int8"
    fixed = Budget(fps=30, fixed=frozenset(SEARCHED))
    assert command(fixed, recipe, 12.0) == (
        "edgeseg build 'my net.onnx' --fps 12 --fp32 --imgsz 96x128 --upsample full"
    )


@pytest.mark.parametrize(
    ("kind", "precisions", "expected"),
    [
        pytest.param("shipped", ("fp32", "int8"), "on other frames it is another.", id="cards tell of both"),
        pytest.param("shipped", ("bf16", "int8"), "another. bf16 is told as float32.", id="no card tells of bf16"),
        pytest.param("shipped", ("bf16", "fp16"), "another. bf16 and fp16 are told as float32.", id="nor of fp16"),
        pytest.param("labels", ("bf16", "int8"), "at their own resolution.", id="it was measured"),
    ],
)
def test_a_precision_with_the_figure_of_another_is_told(kind: Any, precisions: Any, expected: str) -> None:
    points = (point("net", 10, 0.6, precision=one) for one in precisions)
    accuracy = Accuracy(kind=kind, frames=9, source="street")
    assert accuracy_words(msgspec.structs.replace(front(*points), accuracy=accuracy)).endswith(expected)


def test_the_picture_names_models_by_what_sets_them_apart() -> None:
    several = front(point("seg-nano-street", 10, 0.6), point("seg-lite-b0-street", 20, 0.7))
    assert {">nano<", ">lite-b0<"} <= set(re.findall(r">[\w-]+<", front_svg(several)))
    assert ">seg-nano-street<" not in front_svg(front(FAST)) and ">32x48 half int8<" in front_svg(front(FAST))


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        pytest.param((360, 480), ((192, 256), (240, 320), (288, 384), (360, 480), (480, 640)), id="4:3"),
        pytest.param((352, 640), ((176, 320), (264, 480), (352, 640), (440, 800)), id="of 88x160 each"),
        pytest.param((512, 512), ((256, 256), (344, 344), (424, 424), (512, 512), (680, 680)), id="a square"),
        pytest.param((375, 1242), ((184, 624), (248, 832), (312, 1032), (375, 1242), (496, 1656)), id="an odd one"),
        pytest.param((40, 40), ((32, 32), (40, 40), (56, 56)), id="a tiny one"),
    ],
)
def test_sizes_keep_the_aspect_and_have_the_own_one(
    own: tuple[int, int], expected: tuple[tuple[int, int], ...]
) -> None:
    found = sizes_about(own)
    assert found == expected
    assert all(size == own or (size[0] % 8, size[1] % 8) == (0, 0) for size in found)
    assert all(abs(h / w - own[0] / own[1]) < 0.03 * own[0] / own[1] for h, w in found)


def network(model: str = "net", macs: int = 1000, **card: Any) -> Network:
    told = msgspec.structs.replace(TINY_CARD, model=model, **{"size_hw": (96, 128), **card})
    return Network(model, told, (48, 64), macs, any_size=True)


def searched(budget: Budget, recipe: BuildRecipe = PLAIN, **card: Any) -> list[Design]:
    backend = installed("onnxruntime")
    libraries = {
        "fp32": Candidate(backend, "fp32", "float", "candidate"),
        "int8": Candidate(backend, "int8", "u8-asym", "candidate"),
    }
    big = network("big", 9000, measured=card.get("measured", {}))
    return designs([network(**card), big], libraries, budget, recipe)  # type: ignore[arg-type]


def test_the_cheapest_come_first_and_equal_tails_are_searched_once() -> None:
    found = searched(BUDGET)
    assert [one.macs for one in found] == sorted(one.macs for one in found)
    assert {one.upsample for one in found} == {"half", "full"}, "the logits lie at half of the size already"
    assert len(found) == len({one.name for one in found}) == 2 * 4 * 2 * 2
    own = next(one for one in found if (one.model, one.size_hw) == ("net", (96, 128)))
    assert own.macs == 1000


@pytest.mark.parametrize(
    ("budget", "recipe", "expected"),
    [
        pytest.param(Budget(fps=1, fixed=frozenset({"imgsz"})), BuildRecipe(), {(96, 128)}, id="a size"),
        pytest.param(Budget(fps=1, fixed=frozenset({"upsample"})), BuildRecipe(upsample="none"), {"none"}, id="a tail"),
    ],
)
def test_what_is_given_is_not_searched(budget: Budget, recipe: BuildRecipe, expected: set[Any]) -> None:
    found = searched(budget, recipe)
    assert expected in ({one.size_hw for one in found}, {one.upsample for one in found})


SIZES = {
    "sizes": {
        "data": "a street",
        "frames": 9,
        "how": "with care",
        "rows": [
            {"size_hw": [96, 128], "upsample": "half", "miou": {"float": 0.7, "u8-asym": 0.6}},
            {"size_hw": [48, 64], "upsample": "half", "miou": {"float": 0.5}},
            {"size_hw": [120, 160], "upsample": "half", "miou": {"float": 0.7}},
        ],
    }
}


@pytest.mark.parametrize("least", [None, 0.5], ids=["the most accurate is asked for", "an mIoU is asked for"])
def test_without_labels_what_cards_tell_is_searched_but_for_what_a_cheaper_one_beats(least: float | None) -> None:
    found = searched(Budget(fps=1, min_miou=least), measured=SIZES)
    card: Card = network(measured=SIZES).card
    assert {(one.size_hw, one.upsample, one.dialect): shipped_miou(card, one) for one in found} == {
        ((96, 128), "half", "float"): 0.7,
        ((96, 128), "half", "u8-asym"): 0.6,
        ((48, 64), "half", "float"): 0.5,
    }


def test_with_labels_or_a_card_that_tells_nothing_all_is_searched() -> None:
    told, untold = network(measured=SIZES), network()
    assert by_cards([told], BUDGET, PLAIN)
    assert not by_cards([told], BUDGET, BuildRecipe(data="street"))
    assert not by_cards([told, untold], BUDGET, PLAIN)
    assert len({one.size_hw for one in searched(Budget(fps=1), BuildRecipe(data="street"), measured=SIZES)}) > 2


def test_a_card_whose_figures_are_damaged_is_told() -> None:
    with pytest.raises(ModelFileError, match=r"card of net tells mIoU by size .* `rows`"):
        by_cards([network(measured={"sizes": {"data": "x", "frames": 9, "how": ""}})], BUDGET, PLAIN)


UNTOLD = [
    pytest.param({}, {}, id="no card tells anything"),
    pytest.param({"imgsz"}, {"size_hw": (72, 96)}, id="of another size"),
    pytest.param({"upsample"}, {}, id="of another tail"),
]


@pytest.mark.parametrize(("fixed", "card"), UNTOLD)
def test_an_miou_that_no_card_tells_needs_labels(fixed: Any, card: dict[str, Any]) -> None:
    budget = Budget(fps=1, min_miou=0.5, fixed=frozenset(fixed))
    recipe = BuildRecipe(upsample="full" if "upsample" in fixed else "half")
    known = network(measured=SIZES if fixed else {}, **card)
    with pytest.raises(UsageError, match="never measured") as caught:
        check_cards([known], budget, recipe)
    assert "--data" in caught.value.hint and ("known at 96x128, 48x64, 120x160." in caught.value.hint) is bool(fixed)
    check_cards([known], budget, msgspec.structs.replace(recipe, data="street"))
    check_cards([network(measured=SIZES)], Budget(fps=1, min_miou=0.5), BuildRecipe())


def left(**fields: Any) -> NotMeasured:
    plain = {"model": "net", "size_hw": (96, 128), "upsample": "half", "precision": "int8", "macs": 1}
    return NotMeasured(**{"dialect": "u8-asym", "backend": "x", "reason": "", "least_ms": 50.0, **plain, **fields})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({"size_hw": (120, 160)}, True, id="larger"),
        pytest.param({"upsample": "full"}, True, id="a dearer tail"),
        pytest.param({"size_hw": (72, 96), "upsample": "full"}, False, id="smaller"),
        pytest.param({"size_hw": (120, 160), "upsample": "none"}, False, id="larger with a cheaper tail"),
        pytest.param({"precision": "fp32"}, False, id="another precision"),
        pytest.param({"model": "other"}, False, id="another network"),
    ],
)
def test_what_computes_more_than_a_hopeless_one_is_not_built(fields: dict[str, Any], expected: bool) -> None:
    assert is_dearer(left(**fields), left()) is expected
    assert bool(not_worth(left(**fields), [left()])) is expected
    assert not not_worth(left(**fields), [left(least_ms=None)]), "that was no matter of time"


def test_another_tail_is_tried_near_the_front_alone() -> None:
    good, far = point("good", 10, 0.70), point("far", 12, 0.60)
    for model, told in (("good", ""), ("far", "with --upsample half it is 10.0 points below the front"), ("new", "")):
        assert not_near(point(model, 0, 0, upsample="full"), [good, far]) == told
