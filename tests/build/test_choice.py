"""Which engine is kept: by preference, by verdict, and only if INT8 pays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnxruntime")

from edgeseg.backends import Engine
from edgeseg.build.candidates import Built, Candidate
from edgeseg.build.choice import by_speed, pick_best
from edgeseg.build.graph_facts import Quantization
from edgeseg.build.recipe import PREFERENCES, BuildRecipe
from edgeseg.build.report import Gate, Speed, Verdict
from edgeseg.build.trial import Trial
from edgeseg.card import Card, Int8Recipe
from tests.quantize.tiny import ranges

CARD = Card(kind="engine", model="m", classes=("a", "b"), palette=((0, 0, 0), (9, 9, 9)))
BASELINE_MS = 10.0


class Backend:
    """All that the choice asks of a backend."""

    def __init__(self, name: str) -> None:
        self.name = name


def trial(name: str, ms: float, drop: float = 0.0, verdict: Verdict = "pass", *, asked: bool = True) -> Trial:
    """An engine `backend precision`, with its milliseconds and its drop in points."""
    backend, precision = name.split()
    int8 = precision == "int8"
    candidate = Candidate(
        Backend(backend),  # type: ignore[arg-type]
        precision,  # type: ignore[arg-type]
        "u8-asym" if int8 else "float",
        "candidate" if asked else "reference",
    )
    quantization = Quantization(Int8Recipe(), ranges()) if int8 else None
    built = Built(candidate, Engine(Path(name), CARD), quantization, "", 0, 0, ())
    gate = Gate(kind="labels", frames=1, drop=drop / 100)
    speed = Speed(p50_ms=ms, p99_ms=ms, fps=1000 / ms, float_p50_ms=BASELINE_MS, ratio=BASELINE_MS / ms)
    session: Any = None
    return Trial(built, gate, verdict, "", session, speed)


def reference(name: str, ms: float, drop: float = 0.0) -> Trial:
    return trial(name, ms, drop, asked=False)


BASELINE = reference("onnxruntime fp32", BASELINE_MS)
INT8 = BuildRecipe(precision="int8")


@pytest.mark.parametrize(
    ("trials", "recipe", "expected"),
    [
        pytest.param([BASELINE, trial("a int8", 5, 0.3)], INT8, "a int8", id="INT8 that is twice as fast as float"),
        pytest.param(
            [BASELINE, reference("a bf16", 4.9), trial("a int8", 5)], INT8, "a bf16", id="a faster float engine instead"
        ),
        pytest.param(
            [BASELINE, reference("a bf16", 5.1), trial("a int8", 5)],
            INT8,
            "a bf16",
            id="float where INT8 is 2 % faster: that does not pay",
        ),
        pytest.param(
            [BASELINE, reference("a bf16", 5.1), trial("a int8", 5)],
            BuildRecipe(precision="int8", prefer="speed"),
            "a int8",
            id="INT8 where it is 2 % faster and speed is preferred",
        ),
        pytest.param(
            [BASELINE, reference("a bf16", 4.9), trial("a int8", 5)],
            BuildRecipe(precision="int8", even_if_slower=True),
            "a int8",
            id="slower INT8 where that is asked for",
        ),
        pytest.param(
            [BASELINE, reference("a bf16", 6, -0.1), trial("a int8", 5, 0.3)],
            BuildRecipe(precision="int8", prefer="accuracy"),
            "a bf16",
            id="the one that loses least where accuracy is preferred",
        ),
        pytest.param(
            [BASELINE, reference("a bf16", 11, -0.1), trial("a int8", 5, 0.3), trial("b int8", 6, 0.1)],
            BuildRecipe(precision="int8", prefer="accuracy"),
            "b int8",
            id="but none that is slower than float32 on ONNX Runtime",
        ),
        pytest.param(
            [BASELINE, trial("a int8", 5, 9, "fail"), trial("b int8", 7, 0.1)],
            INT8,
            "b int8",
            id="the slower one that passes before the faster one that fails",
        ),
        pytest.param(
            [BASELINE, trial("a int8", 5, 9, "fail"), trial("b int8", 7, 3, "fail")],
            INT8,
            "b int8",
            id="where all fail the one that fails by least, and no float engine",
        ),
        pytest.param(
            [BASELINE, trial("a int8", 5, 0, "unmeasured"), trial("b int8", 4, 9, "fail")],
            INT8,
            "a int8",
            id="an unmeasured one before one that fails",
        ),
        pytest.param(
            [BASELINE, trial("a int8", 5), trial("b int8", 4.9)],
            INT8,
            "a int8",
            id="the likelier of two that are as good as equal",
        ),
        pytest.param(
            [trial("onnxruntime fp32", 10), trial("a fp32", 8), reference("a bf16", 5)],
            BuildRecipe(precision="fp32"),
            "a fp32",
            id="of float engines only the precision that was asked for",
        ),
    ],
)
def test_the_pick(trials: list[Trial], recipe: BuildRecipe, expected: str) -> None:
    assert str(pick_best(trials, recipe).built.engine.path) == expected


def test_every_preference_is_explained_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    from edgeseg.cli import main

    main(["build", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    for name, what in PREFERENCES.items():
        assert f"{name}: {what}." in told


@pytest.mark.parametrize(
    ("times", "order"),
    [
        pytest.param([6.3, 6.2], [6.3, 6.2], id="about as fast, so that chance decides nothing"),
        pytest.param([6.3, 5.2], [5.2, 6.3], id="clearly faster"),
        pytest.param([9.0, 6.3, 6.2, 4.0], [4.0, 6.3, 6.2, 9.0], id="several"),
        pytest.param([], [], id="none"),
    ],
)
def test_the_fastest_come_first(times: list[float], order: list[float]) -> None:
    assert [one.speed.p50_ms for one in by_speed([trial("openvino int8", ms) for ms in times])] == order
