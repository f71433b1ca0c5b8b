"""Files of real boards, as their owners published them; each with the page that they were taken from."""

from __future__ import annotations

from typing import NamedTuple


class Board(NamedTuple):
    """One board. `files` are those that the page shows; `recipe` is the build recipe that fits it."""

    name: str
    page: str
    files: dict[str, str]
    l4t: str
    jetpack: str
    soc: str
    recipe: str


BOARDS = (
    Board(
        name="Jetson AGX Thor, JetPack 7.0",
        page="https://github.com/rbonghi/jetson_stats/issues/711",
        files={
            "etc/nv_tegra_release": (
                "# R38 (release), REVISION: 2.0, GCID: 41844464, BOARD: generic, EABI: aarch64, "
                "DATE: Fri Aug 22 00:55:42 UTC 2025\n"
            ),
            "proc/device-tree/model": "NVIDIA Jetson AGX Thor Developer Kit\0",
            "proc/device-tree/compatible": "nvidia,p4071-0000+p3834-0008\0nvidia,p3834-0008\0nvidia,tegra264\0",
        },
        l4t="38.2.0",
        jetpack="7.0",
        soc="tegra264",
        recipe="jetson-thor",
    ),
    Board(
        name="Jetson AGX Orin, JetPack 7.2",
        page="https://github.com/rbonghi/jetson_stats/issues/864",
        files={
            "etc/nv_tegra_release": (
                "# R39 (release), REVISION: 2.0, GCID: 45755727, BOARD: generic, EABI: aarch64, "
                "DATE: Mon Jun  1 09:28:48 PM UTC 2026\n"
            ),
            "proc/device-tree/model": "NVIDIA Jetson AGX Orin Developer Kit\0",
        },
        l4t="39.2.0",
        jetpack="7.2",
        soc="",
        recipe="jetson-agx-orin",
    ),
    Board(
        name="Jetson Orin Nano, JetPack 5.1.1",
        page="https://github.com/rbonghi/jetson_stats/issues/400",
        files={
            "etc/nv_tegra_release": (
                "# R35 (release), REVISION: 3.1, GCID: 32827747, BOARD: t186ref, EABI: aarch64, "
                "DATE: Sun Mar 19 15:19:21 UTC 2023\n"
            ),
            "proc/device-tree/model": "NVIDIA Orin Nano Developer Kit\0",
            "proc/device-tree/compatible": (
                "nvidia,p3768-0000+p3767-0003\0nvidia,p3768-0000+p3767-0005\0nvidia,p3767-0003\0nvidia,p3767-0005\0"
                "nvidia,tegra234\0nvidia,tegra23x\0"
            ),
        },
        l4t="35.3.1",
        jetpack="5.1",
        soc="tegra234",
        recipe="jetson-orin-nano",
    ),
    Board(
        name="Jetson Orin NX, JetPack 6.2",
        page="https://github.com/rbonghi/jetson_stats/issues/603",
        files={"proc/device-tree/model": "NVIDIA Jetson Orin NX Engineering Reference Developer Kit\0"},
        l4t="",
        jetpack="",
        soc="",
        recipe="jetson-orin-nx",
    ),
    Board(
        name="Jetson AGX Orin, JetPack 5.1.1",
        page="https://github.com/rbonghi/jetson_stats/issues/617",
        files={"proc/device-tree/model": "Jetson AGX Orin\0"},
        l4t="",
        jetpack="",
        soc="",
        recipe="jetson-agx-orin",
    ),
)
#: Thermal zones of a Jetson Nano by number. https://github.com/MartinMatta/Jetson-Nano-temperature/issues/2
NANO_ZONES = ("AO-therm", "CPU-therm", "GPU-therm", "PLL-therm", "PMIC-Die", "thermal-fan-est")
#: The zones of an AGX Orin by number, as jtop found them (it leaves "-therm" out).
#: https://github.com/rbonghi/jetson_stats/issues/381
ORIN_ZONES = {0: "CPU", 1: "GPU", 3: "CV1", 4: "CV2", 5: "SOC0", 6: "SOC1", 7: "SOC2", 8: "tj", 9: "Tdiode"}
#: Number, kind and thousandths of a degree of the GPU's zone on an AGX Orin 64 GB with JetPack 6.
#: https://github.com/laminair/jetson_stats_node_exporter/issues/29
ORIN_GPU_ZONE = (1, "gpu-thermal", "43000")
#: The number of the mode MAXN SUPER on an Orin Nano and an Orin NX with JetPack 6.2.
#: https://github.com/ARK-Electronics/ark_jetson_kernel/pull/20
MAXN_SUPER = {"Orin Nano": 2, "Orin NX": 0}
#: Lowest and highest clock of an AGX Orin's processor, kHz, before `jetson_clocks`.
#: https://github.com/rbonghi/jetson_stats/issues/381
ORIN_CLOCKS = ("115200", "2201600")
#: Folder of the clock of a Jetson Nano's GPU. https://github.com/Qengineering/Jetson-Nano-Ubuntu-20-image/issues/108
NANO_GPU_CLOCK = "57000000.gpu"
