from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgeseg.cli import main

ROOT = Path(__file__).resolve().parents[2]


def doctor(*arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the doctor as a user does; modules in `path` come before those that are installed."""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(map(str, filter(None, (path, ROOT)))))
    command = [sys.executable, "-m", "edgeseg", "doctor", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)


@pytest.fixture
def without_backends(tmp_path: Path) -> Path:
    """A folder of modules that make the engine libraries look as if they were not installed."""
    for name in ("openvino", "onnxruntime"):
        (tmp_path / f"{name}.py").write_text(
            f"raise ModuleNotFoundError(\"No module named '{name}'\", name='{name}')\n"
        )
    return tmp_path


def by_name(report: dict[str, Any]) -> dict[str, dict[str, str]]:
    return {check["name"]: check for check in report["checks"]}


def test_a_working_machine_ends_with_0_and_one_json_object(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capfd.readouterr().out)
    assert report["schema"] == "edgeseg.doctor/1"
    assert "onnxruntime" in report["backends"]
    assert report["device"]["cores"] >= 1
    assert by_name(report)["backend onnxruntime"]["status"] == "ok"


def test_the_table_names_every_check(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    assert main(["doctor"]) == 0
    printed = capfd.readouterr().out
    assert "backend onnxruntime" in printed and "engines folder" in printed


def test_without_any_backend_it_ends_with_3_and_the_commands_that_install_them(without_backends: Path) -> None:
    done = doctor("--json", path=without_backends)
    assert done.returncode == 3
    report = json.loads(done.stdout)
    assert report["backends"] == [] and report["error"]["exit_code"] == 3
    for name in ("openvino", "onnxruntime"):
        check = by_name(report)[f"backend {name}"]
        assert check["status"] == "missing" and f"pip install 'edgeseg[{name}]'" in check["fix"]


def test_without_any_backend_the_table_is_still_shown(without_backends: Path) -> None:
    done = doctor(path=without_backends)
    assert done.returncode == 3
    assert "backend openvino" in done.stdout and "pip install 'edgeseg[onnxruntime]'" in done.stdout
    assert done.stderr.endswith(
        "error: No backend works on this machine.\nStart with: pip install 'edgeseg[onnxruntime,openvino,vision]'\n"
    )
