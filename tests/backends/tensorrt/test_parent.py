"""What becomes of a build whose process crashes, hangs, is killed or interrupted: an error, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeseg.backends.tensorrt.options import TensorRtOptions
from edgeseg.backends.tensorrt.parent import build_plan
from edgeseg.backends.tensorrt.request import Answer, Request
from edgeseg.errors import EdgesegError, MissingDependency, ModelFileError, UsageError

ROOT = Path(__file__).resolve().parents[3]
#: Bindings that do `work` where the engine is built.
BINDINGS = """
import os, signal, sys, time
from tests.backends.tensorrt.stand_in import stand_in

def build(network, config):
    config.progress_monitor.phase_start("Building", None, 2)
    time.sleep(0.3)
    config.progress_monitor.step_complete("Building", 0)
    {work}
    return b"plan"

module = stand_in("10.13.0.35", {{
    "OnnxParser.parse_from_file": True, "Builder.num_DLA_cores": 0, "Runtime.deserialize_cuda_engine": None,
    "IBuilderConfig.set_timing_cache": True, "ITimingCache.serialize": b"times",
    "INetworkDefinition.num_layers": 0,
    "Builder.build_serialized_network": build,
}})
globals().update({{name: value for name, value in vars(module).items() if name != "__name__"}})
"""


@pytest.fixture
def bindings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def install(work: str) -> None:
        home = tmp_path / "path" / "tensorrt"
        home.mkdir(parents=True)
        home.joinpath("__init__.py").write_text(BINDINGS.format(work=work))
        monkeypatch.setenv("PYTHONPATH", f"{home.parent}{os.pathsep}{ROOT}")

    return install


def request(folder: Path, **options: object) -> Request:
    paths = {name: str(folder / name) for name in ("graph", "plan", "log", "timing_cache")}
    return Request(library="tensorrt", **paths, options=TensorRtOptions(**options))  # type: ignore[arg-type]


def test_the_answer_and_the_progress_arrive(bindings: Callable[[str], None], tmp_path: Path) -> None:
    bindings("print('the library writes to stdout'); os.write(1, b'and its C++ too')")
    told: list[tuple[float, str]] = []
    answer = build_plan(request(tmp_path), lambda share, phase: told.append((share, phase)))
    assert isinstance(answer, Answer)
    assert (answer.version, told) == ("10.13.0.35", [(0.5, "Building")])
    assert (tmp_path / "plan").read_bytes() == b"plan"


@pytest.mark.parametrize(
    ("work", "kind", "said"),
    [
        pytest.param("os.kill(os.getpid(), signal.SIGSEGV)", ModelFileError, r"crashed \(SIGSEGV\)", id="it crashes"),
        pytest.param("os._exit(3)", ModelFileError, "ended with 3 while it built", id="it ends by itself"),
        pytest.param("1 / 0", ModelFileError, "It said last: .*ZeroDivisionError", id="it raises what nobody expects"),
        pytest.param(
            "os.kill(os.getpid(), signal.SIGKILL)", EdgesegError, "run out of memory", id="the system kills it"
        ),
        pytest.param("return None", ModelFileError, "could not build the engine", id="it gives no plan"),
    ],
)
def test_a_build_that_ends_badly_is_an_error(
    bindings: Callable[[str], None], tmp_path: Path, work: str, kind: type[EdgesegError], said: str
) -> None:
    bindings(work)
    with pytest.raises(kind, match=said) as caught:
        build_plan(request(tmp_path))
    assert caught.value.hint
    assert not (tmp_path / "plan").exists()


def test_a_gpu_without_memory_is_told_with_what_helps(bindings: Callable[[str], None], tmp_path: Path) -> None:
    said = "[virtualMemoryBuffer.cpp::resizePhysical::154] Error Code 2: OutOfMemory (Requested size was 2147483648)"
    bindings(f"next(given[0] for name, given in module.asked if name == 'Builder').log("
             f"module.ILogger.Severity.ERROR, {said!r}); return None")  # fmt: skip
    with pytest.raises(ModelFileError, match="OutOfMemory") as caught:
        build_plan(request(tmp_path))
    assert "--workspace MIB" in caught.value.hint


def test_a_build_that_takes_too_long_is_given_up(bindings: Callable[[str], None], tmp_path: Path) -> None:
    bindings("time.sleep(600)")
    with pytest.raises(EdgesegError, match=r"tensorrt took longer than 1\.5 s to build") as caught:
        build_plan(request(tmp_path, timeout_s=1.5))
    assert "timeout_s" in caught.value.hint


def test_a_full_disk_is_told_as_such(bindings: Callable[[str], None], tmp_path: Path) -> None:
    bindings("raise OSError(28, 'No space left on device')")
    with pytest.raises(EdgesegError, match="could not keep what it built: No space left on device") as caught:
        build_plan(request(tmp_path))
    assert "Free some space" in caught.value.hint


def test_files_of_the_current_folder_are_not_imported(
    bindings: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bindings("")
    (tmp_path / "msgspec.py").write_text("raise SystemExit('a stranger')")
    monkeypatch.chdir(tmp_path)
    assert build_plan(request(tmp_path)).version == "10.13.0.35"


def test_options_that_do_not_fit_are_told_as_such(bindings: Callable[[str], None], tmp_path: Path) -> None:
    bindings("")
    with pytest.raises(UsageError, match="finds no DLA cores here"):
        build_plan(request(tmp_path, dla_core=0))


def test_a_library_that_is_not_there_is_told_with_the_way_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "path" / "tensorrt"
    home.mkdir(parents=True)
    monkeypatch.setenv("PYTHONPATH", f"{home.parent}{os.pathsep}{ROOT}")
    with pytest.raises(MissingDependency, match="tensorrt is not installed") as caught:
        build_plan(request(tmp_path))
    assert "python3-libnvinfer" in caught.value.hint


def writes_its_pid(path: Path) -> str:
    return f"open({str(path)!r}, 'w').write(str(os.getpid())); time.sleep(600)"


def pid_in(path: Path) -> int:
    deadline = time.monotonic() + 60
    while not (path.exists() and path.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return int(path.read_text())


def ends(pid: int) -> bool:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_ctrl_c_ends_the_build_too(bindings: Callable[[str], None], tmp_path: Path) -> None:
    bindings(writes_its_pid(tmp_path / "pid"))

    def interrupt(*_: object) -> None:
        pid_in(tmp_path / "pid")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_plan(request(tmp_path), interrupt)
    assert ends(pid_in(tmp_path / "pid"))


def test_a_build_does_not_outlive_who_asked_for_it(bindings: Callable[[str], None], tmp_path: Path) -> None:
    bindings(writes_its_pid(tmp_path / "pid"))
    code = (
        "from pathlib import Path; from tests.backends.tensorrt.test_parent import request; "
        "from edgeseg.backends.tensorrt.parent import build_plan; "
        f"build_plan(request(Path({str(tmp_path)!r})))"
    )
    asking = subprocess.Popen([sys.executable, "-c", code])
    building = pid_in(tmp_path / "pid")
    asking.send_signal(signal.SIGKILL)
    asking.wait()
    assert ends(building)
