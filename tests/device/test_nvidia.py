from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edgeseg.device.nvidia import (
    CLOCK_SM,
    IDLE,
    SLOWDOWNS,
    TEMPERATURE_GPU,
    Gpu,
    card_celsius,
    card_clock_mhz,
    card_slowdowns,
    list_gpus,
)
from edgeseg.device.state import throttled_now
from tests.device.cards import card


def tool(folder: Path, script: str) -> str:
    """A program that stands in for nvidia-smi, which comes with the driver alone."""
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        pytest.param(
            "echo 'NVIDIA GeForce RTX 4070 Laptop GPU, 570.86.10, 8188, 8.9'",
            (Gpu("NVIDIA GeForce RTX 4070 Laptop GPU", "570.86.10", 8188 << 20, "8.9"),),
            id="one GPU",
        ),
        pytest.param(
            "printf 'NVIDIA L4, 550.54, 23034, 8.9\\nNVIDIA T4, 550.54, 15360, 7.5\\n'",
            (Gpu("NVIDIA L4", "550.54", 23034 << 20, "8.9"), Gpu("NVIDIA T4", "550.54", 15360 << 20, "7.5")),
            id="two GPUs",
        ),
        pytest.param(
            "echo 'NVIDIA GB10, 580.95, [N/A], 12.1'", (Gpu("NVIDIA GB10", "580.95", 0, "12.1"),), id="shared memory"
        ),
        pytest.param("echo 'No devices were found'", (), id="a driver without a GPU"),
        pytest.param("echo 'NVIDIA-SMI has failed because it could not communicate'; exit 9", (), id="a broken driver"),
        pytest.param("exec sleep 5", (), id="a driver that hangs"),
    ],
)
def test_gpus_are_those_that_the_driver_lists(script: str, expected: tuple[Gpu, ...], tmp_path: Path) -> None:
    assert list_gpus(tool(tmp_path, script), timeout_s=0.5) == expected


def test_without_a_driver_there_is_no_gpu(tmp_path: Path) -> None:
    assert list_gpus(str(tmp_path / "nvidia-smi")) == ()


@pytest.mark.gpu
@pytest.mark.skipif(shutil.which("nvidia-smi") is None, reason="there is no NVIDIA driver on this machine")
def test_the_driver_of_this_machine_is_understood() -> None:
    assert all(gpu.name and gpu.driver and "." in gpu.compute_capability for gpu in list_gpus())


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        pytest.param(0x0, (), id="nothing"),
        pytest.param(0x4, ("SW Power Cap",), id="too little power"),
        pytest.param(0x48, ("HW Slowdown", "HW Thermal Slowdown"), id="heat"),
        pytest.param(0xA0, ("SW Thermal Slowdown", "HW Power Brake Slowdown"), id="heat and the supply"),
        pytest.param(0x2, (), id="clocks that the user has set"),
        pytest.param(0x5, (), id="a card that has nothing to do"),
    ],
)
@pytest.mark.parametrize(
    "function", ["nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"]
)
def test_what_holds_a_card_down_is_told_by_new_drivers_and_old(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, function: str, bits: int, expected: tuple[str, ...]
) -> None:
    found = card(**{function: bits})
    monkeypatch.setattr("edgeseg.device.nvidia.open_card", lambda: found)
    assert {name for name, holds in card_slowdowns().items() if holds} == set(expected)
    assert throttled_now(tmp_path) == tuple(f"{name} (NVML) now" for name in expected)


@pytest.mark.parametrize("function", ["nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature"])
def test_a_cards_heat_is_told_by_new_drivers_and_old(monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    found = card(**{function: 61})
    monkeypatch.setattr("edgeseg.device.nvidia.open_card", lambda: found)
    assert (card_celsius(), card_clock_mhz()) == (61, None)


def test_a_card_that_tells_nothing_is_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    found = card()
    monkeypatch.setattr("edgeseg.device.nvidia.open_card", lambda: found)
    assert (card_celsius(), card_clock_mhz(), card_slowdowns()) == (None, None, {})


def test_nvml_is_asked_by_its_own_numbers() -> None:
    pynvml = pytest.importorskip("pynvml")
    assert (CLOCK_SM, TEMPERATURE_GPU) == (pynvml.NVML_CLOCK_SM, pynvml.NVML_TEMPERATURE_GPU)
    assert pynvml.nvmlClocksEventReasonGpuIdle == IDLE
    names = {name: f"nvmlClocksEventReason{name.title().replace(' ', '')}" for name in SLOWDOWNS}
    assert {name: getattr(pynvml, constant) for name, constant in names.items()} == SLOWDOWNS
