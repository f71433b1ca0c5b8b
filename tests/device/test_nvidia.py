from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edgeseg.device.nvidia import Gpu, list_gpus


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
