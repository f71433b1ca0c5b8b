"""edgeseg from a program: the examples of the documentation, run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx_ir")

import edgeseg
from edgeseg.build.store import EngineStore
from tests.engines import NAMES, tiny_engine

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = re.findall(r"^## (.+?)$|^```python\n(.*?)^```", (ROOT / "docs/api.md").read_text(), re.MULTILINE | re.DOTALL)


def examples() -> list[tuple[str, str]]:
    found, title = [], ""
    for heading, code in EXAMPLES:
        title = heading or title
        if code:
            found.append((f"{title}, {sum(name.startswith(title) for name, _ in found) + 1}", code))
    return found


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engines")
    EngineStore(folder).keep({}, tiny_engine(folder, classes=("road", "pedestrian", *NAMES[2:])).path.name)
    return folder


def test_there_are_examples() -> None:
    assert len(examples()) == 4


@pytest.mark.parametrize("code", [pytest.param(code, id=title) for title, code in examples()])
def test_an_example_runs_as_a_script_without_a_guard(code: str, engines: Path, tmp_path: Path) -> None:
    (tmp_path / "example.py").write_text(code)
    environment = os.environ | {"EDGESEG_ENGINES": str(engines), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "example.py"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_there_and_no_other() -> None:
    for name in edgeseg.__all__:
        assert getattr(edgeseg, name) is not None
    assert set(edgeseg.__all__) <= set(dir(edgeseg))
    with pytest.raises(AttributeError, match="no attribute 'open_camera'"):
        edgeseg.open_camera  # noqa: B018
