"""A machine is described from its files; the trees below hold what two boards' files say."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edgeseg.build.boards import board_recipe
from edgeseg.device import Device, Gpu, describe_device
from tests.device.boards import BOARDS, Board

ORIN_NANO = {
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0",
    "proc/device-tree/compatible": (
        "nvidia,p3768-0000+p3767-0005-super\0nvidia,p3767-0005\0nvidia,tegra234\0nvidia,tegra23x\0"
    ),
    "proc/cpuinfo": "".join(
        f"processor\t: {core}\nBogoMIPS\t: 62.50\n"
        "Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop "
        "asimddp uscat ilrcpc flagm paca pacg\n"
        "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd42\nCPU revision\t: 1\n\n"
        for core in range(6)
    ),
    "proc/meminfo": "MemTotal:        7802848 kB\nMemFree:          512000 kB\nMemAvailable:    5242880 kB\n",
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n",
    "etc/os-release": 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 22.04.5 LTS"\nID=ubuntu\n',
    "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=1 NAME=25W >\n",
    "var/lib/nvpmodel/status": "pmode:0001",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil\n",
}
PI_5 = {
    "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
    "proc/device-tree/compatible": "raspberrypi,5-model-b\0brcm,bcm2712\0",
    "proc/cpuinfo": "".join(
        f"processor\t: {core}\nBogoMIPS\t: 108.00\n"
        "Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop "
        "asimddp\n"
        "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x4\nCPU part\t: 0xd0b\nCPU revision\t: 1\n\n"
        for core in range(4)
    )
    + "Revision\t: d04170\nModel\t\t: Raspberry Pi 5 Model B Rev 1.0\n",
    "proc/meminfo": "MemTotal:        8256144 kB\nMemAvailable:    7340032 kB\n",
    "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
}


def machine(root: Path, files: dict[str, str]) -> Device:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return describe_device(root, nvidia_smi=str(root / "nvidia-smi"))


def test_a_jetson_is_told_from_its_files(tmp_path: Path) -> None:
    device = machine(tmp_path, ORIN_NANO)
    assert device.board == "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super"
    assert (device.soc, device.l4t, device.jetpack) == ("tegra234", "36.4.3", "6.2")
    assert (device.governor, device.power_mode) == ("schedutil", "25W")
    assert device.cpu_features == ("asimd", "asimdhp", "asimddp")
    assert device.cpu.endswith("0x41/0xd42")
    assert (device.memory_bytes, device.memory_available_bytes) == (7802848 << 10, 5 << 30)
    assert device.gpus == (Gpu("tegra234 (Ampere, integrated)", "", 0, "8.7"),)
    assert device.os == "Ubuntu 22.04.5 LTS"


def test_a_raspberry_pi_is_told_from_its_files(tmp_path: Path) -> None:
    device = machine(tmp_path, PI_5)
    assert (device.board, device.soc) == ("Raspberry Pi 5 Model B Rev 1.0", "bcm2712")
    assert (device.jetpack, device.l4t, device.power_mode, device.gpus) == ("", "", "", ())
    assert (device.governor, device.os) == ("ondemand", "Debian GNU/Linux 12 (bookworm)")
    assert "asimddp" in device.cpu_features and "i8mm" not in device.cpu_features


@pytest.mark.parametrize("missing", sorted(ORIN_NANO))
def test_a_file_that_is_missing_leaves_only_its_own_words_empty(missing: str, tmp_path: Path) -> None:
    (whole, part) = (tmp_path / "whole", tmp_path / "part")
    full = msgspec.structs.asdict(machine(whole, ORIN_NANO))
    partial = msgspec.structs.asdict(machine(part, {k: v for k, v in ORIN_NANO.items() if k != missing}))
    changed = {key for key in full if full[key] != partial[key]}
    follow = {
        "proc/device-tree/model": {"board"},
        "proc/device-tree/compatible": {"soc", "gpus"},
        "proc/cpuinfo": {"cpu", "cpu_features"},
        "proc/meminfo": {"memory_bytes", "memory_available_bytes"},
        "etc/nv_tegra_release": {"l4t", "jetpack"},
        "etc/os-release": {"os"},
        "etc/nvpmodel.conf": {"power_mode"},
        "var/lib/nvpmodel/status": {"power_mode"},
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": {"governor"},
    }
    assert changed == follow[missing]


def test_this_machine_is_described_and_travels_as_json() -> None:
    device = describe_device()
    assert device.arch and device.cpu and device.cores >= 1
    assert 0 < device.memory_available_bytes <= device.memory_bytes
    assert msgspec.json.decode(msgspec.json.encode(device), type=Device) == device


@pytest.mark.parametrize("board", BOARDS, ids=[board.name for board in BOARDS])
def test_a_board_is_told_from_the_files_that_its_owner_published(board: Board, tmp_path: Path) -> None:
    device = machine(tmp_path, board.files)
    assert device.board == board.files["proc/device-tree/model"].rstrip("\0")
    assert (device.l4t, device.jetpack, device.soc) == (board.l4t, board.jetpack, board.soc)
    assert board_recipe(device) == board.recipe


def test_a_container_knows_its_board_by_what_is_mounted(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp/nv_jetson_model").write_text("NVIDIA Jetson Orin Nano Developer Kit\0")
    (tmp_path / "tmp/nv_jetson_compatible").write_text("nvidia,p3768-0000+p3767-0003\0nvidia,tegra234\0")
    device = describe_device(tmp_path)
    assert (device.board, device.soc) == ("NVIDIA Jetson Orin Nano Developer Kit", "tegra234")
