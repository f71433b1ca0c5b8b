"""edgeseg by its own command and API, measured as the others are.

- `int8`: what `edgeseg build --int8` keeps for this machine.
- `int8-full`: the same with the best class picked at full size, as the peers do it.
- `float`: the float32 engine that a build keeps.

Any other variant is an engine's path.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from edgeseg import find_engine, load_session
from edgeseg.bench.stages import LATENCY, FramePath

OPTIONS = {"int8": ["--int8"], "int8-full": ["--int8", "--upsample", "full"], "float": ["--fp32"]}


def prepare(variant: str, given: Path, made: Path) -> None:
    """Build the engine, judged on the rendered frames that are shipped with the model: it sees none of CamVid's."""
    if variant in OPTIONS:
        command = [sys.executable, "-m", "edgeseg", "build", *OPTIONS[variant]]
        report = subprocess.run([*command, "-o", made / variant, "--json"], check=True, stdout=subprocess.PIPE).stdout
        (made / f"{variant}.json").write_bytes(report)


class Edgeseg:
    """A session, and the path of a frame through it."""

    def __init__(self, engine: Path) -> None:
        found = find_engine(str(engine))
        session = load_session(found)
        self._path = FramePath(session)
        card = found.card
        self.settings = {
            "precision": card.precision,
            "engine": found.path.name,
            "backend": card.backend,
            "dialect": card.dialect,
            "best class picked at": card.upsample,
            "execution": session.execution,
        }
        if card.made_from.get("ranges") and engine.name in OPTIONS:
            self.settings |= {
                "calibration": "the ranges that are shipped with the model, of 100 frames of CamVid's train split",
                "gate": "agreement with float on the rendered frames that are shipped with the model",
            }

    def infer(self, frame: Any, stages: Any) -> Any:
        times = self._path.run(frame)
        times.pop(LATENCY)
        stages.ns |= times
        return self._path.class_map


def open_peer(variant: str, given: Path, made: Path, threads: int) -> Edgeseg:
    """One of the variants."""
    return Edgeseg(made / variant if variant in OPTIONS else Path(variant))
