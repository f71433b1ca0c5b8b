"""The fake backend's classes are bands of the green channel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx_ir")

from edgeseg.backends import EngineOptions, open_backend
from tests.backends.frame_graphs import SIZE, write_frame_graph


def test_every_class_is_a_quarter_of_the_brightness(tmp_path: Path) -> None:
    backend = open_backend("fake")
    engine = backend.build(write_frame_graph(tmp_path / "graph.onnx"), tmp_path / "engine.fake", EngineOptions())
    frame = np.zeros((1, *SIZE, 3), np.uint8)
    frame[..., 1] = np.resize(np.arange(256), SIZE)
    with backend.load(engine) as session:
        np.testing.assert_array_equal(session.infer(frame), frame[..., 1] // 64)
