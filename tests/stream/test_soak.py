"""A stream that runs for ten minutes, with a camera that dies all the time, keeps neither memory nor anything else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

for package in ("aiohttp", "av", "onnxruntime", "onnx_ir", "prometheus_client"):
    pytest.importorskip(package)

ROOT = Path(__file__).resolve().parents[2]
#: What a fit through ten minutes of samples may rise by, as MB in ten minutes; a leak of one frame a second is 2.2 MB.
MOST_MB = 1.0


@pytest.mark.slow
def test_ten_minutes_leave_nothing_behind(tmp_path: Path) -> None:
    seconds = os.environ.get("EDGESEG_SOAK_SECONDS", "600")
    done = subprocess.run(
        [sys.executable, "-m", "tests.stream.soak", seconds],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert found["after"] == found["before"], found
    assert found["exact"] and not found["failed"] and found["reconnects"] >= float(seconds) // 30, found
    assert found["mb_per_10_minutes"] < MOST_MB, found
