"""The processor, as the kernel tells it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from edgeseg.device import cpu
from edgeseg.errors import UsageError

X86 = """\
processor\t: 0
model name\t: Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz
flags\t\t: fpu avx2 avx512f avx512_vnni amx_int8
processor\t: 1
model name\t: Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz
flags\t\t: fpu avx2 avx512f avx512_vnni amx_int8
"""
#: A board with two kinds of cores, of which the smaller have no dot product.
ARM = """\
processor\t: 0
Features\t: fp asimd aes crc32
CPU implementer\t: 0x41
CPU part\t: 0xd03

processor\t: 1
Features\t: fp asimd aes crc32 asimddp
CPU implementer\t: 0x41
CPU part\t: 0xd0b
"""


@pytest.mark.parametrize(
    ("text", "features", "model"),
    [
        (X86, {"fpu", "avx2", "avx512f", "avx512_vnni", "amx_int8"}, "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz"),
        (ARM, {"fp", "asimd", "aes", "crc32"}, f"{platform.machine()} 0x41/0xd0b"),
        ("", set(), platform.machine()),
    ],
    ids=["a Xeon", "cores that differ have what all have", "nothing to read"],
)
def test_cpuinfo_is_understood(tmp_path: Path, text: str, features: set[str], model: str) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert cpu.cpu_features(tmp_path / "cpuinfo") == features
    assert cpu.cpu_model(tmp_path / "cpuinfo") == model


def test_a_missing_cpuinfo_gives_no_features(tmp_path: Path) -> None:
    assert cpu.cpu_features(tmp_path / "none") == frozenset()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names of x86")
def test_this_machine_has_what_every_x86_64_has() -> None:
    assert {"sse2", "fpu"} <= cpu.cpu_features()


@pytest.mark.parametrize(
    ("machine", "features", "saturates"),
    [
        ("x86_64", {"avx2"}, True),
        ("x86_64", {"avx2", "avx_vnni"}, False),
        ("x86_64", {"avx512_vnni"}, False),
        ("aarch64", {"asimd"}, False),
    ],
)
def test_only_x86_without_vnni_saturates(
    monkeypatch: pytest.MonkeyPatch, machine: str, features: set[str], saturates: bool
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(cpu, "cpu_features", lambda: frozenset(features))
    assert cpu.int8_saturates() is saturates


def test_a_process_bound_to_one_core_uses_one() -> None:
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from edgeseg.device.cpu import usable_cores; print(usable_cores())"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "1"


def test_threads_of_one_core_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    monkeypatch.setattr(cpu, "CGROUPS", Path("/nowhere"))
    monkeypatch.setattr(cpu, "_siblings", lambda logical: {0: "0,2", 2: "0,2", 1: "1,3", 3: "1,3"}[logical])
    assert cpu.usable_cores() == 2


@pytest.mark.parametrize(
    ("limit", "cores"),
    [("150000 100000", 2), ("50000 100000", 1), ("max 100000", 8)],
    ids=["one and a half", "half a core", "no limit"],
)
def test_a_container_s_quota_limits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limit: str, cores: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(cpu, "_siblings", str)
    monkeypatch.setattr(cpu, "CGROUPS", tmp_path)
    (tmp_path / "cpu.max").write_text(limit + "\n")
    assert cpu.usable_cores() == cores


def test_threads_may_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGESEG_THREADS", "3")
    assert cpu.inference_threads() == 3
    monkeypatch.setenv("EDGESEG_THREADS", "")
    assert cpu.inference_threads() == cpu.usable_cores()


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
def test_a_wrong_number_of_threads_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("EDGESEG_THREADS", text)
    with pytest.raises(UsageError, match="EDGESEG_THREADS"):
        cpu.inference_threads()
