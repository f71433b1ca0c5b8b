"""Scripts in `benchmarks` that start other processes: what becomes of these."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

pytest.importorskip("cv2")
pytest.importorskip("onnx_ir")

from benchmarks import regression
from benchmarks.memory import peak_mb

#: What writes more to stderr than a pipe holds, and ends by a signal where nobody reads that.
TALKS = "import signal, sys; signal.alarm(10); sys.stderr.write('x' * 300_000 + 'the end'); sys.exit(int(sys.argv[1]))"


def test_a_command_that_says_much_is_measured_to_its_end(tmp_path: Path) -> None:
    assert peak_mb([sys.executable, "-S", "-c", TALKS, "0"], tmp_path) >= 0
    with pytest.raises(SystemExit, match=r"ended with 3: x+the end$"):
        peak_mb([sys.executable, "-S", "-c", TALKS, "3"], tmp_path)


def test_who_disturbs_ends_with_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regression, "WORKS_S", 0.01)
    monkeypatch.setattr(regression, "RESTS_S", 0.01)
    benchmark = subprocess.Popen(["sleep", "60"])
    thread = threading.Thread(target=regression.disturb, args=(psutil.Process(benchmark.pid),), daemon=True)
    thread.start()
    thread.join(0.1)
    assert thread.is_alive()
    benchmark.terminate()  # What is left of it stays a zombie until somebody waits for it.
    thread.join(10)
    ended = not thread.is_alive()
    benchmark.wait()
    assert ended


DISTURBED = """
import time
from benchmarks.regression import disturbed
with disturbed() as pid:
    print(pid, flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
def test_a_benchmark_that_is_terminated_leaves_nobody_who_disturbs() -> None:
    with subprocess.Popen([sys.executable, "-c", DISTURBED], stdout=subprocess.PIPE, text=True) as benchmark:
        assert benchmark.stdout is not None
        disturber = psutil.Process(int(benchmark.stdout.readline()))
        assert "--disturb" in disturber.cmdline() and disturber.ppid() != benchmark.pid
        benchmark.send_signal(signal.SIGTERM)
    until = time.monotonic() + 2 * (regression.WORKS_S + regression.RESTS_S)
    while not (ended := regression.has_ended(disturber)) and time.monotonic() < until:
        time.sleep(0.1)
    with contextlib.suppress(psutil.NoSuchProcess):
        disturber.kill()
    assert ended
