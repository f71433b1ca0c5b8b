from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeseg.device.jetson import jetpack_version, l4t_version, power_mode


@pytest.mark.parametrize(
    ("line", "l4t", "jetpack"),
    [
        pytest.param(
            "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8 2025",
            "36.4.3",
            "6.2",
            id="JetPack 6.2 on an Orin",
        ),
        pytest.param("# R36 (release), REVISION: 4.0, GCID: 37537400", "36.4.0", "6.1", id="JetPack 6.1"),
        pytest.param("# R36 (release), REVISION: 3.0, GCID: 36923193", "36.3.0", "6.0", id="JetPack 6.0"),
        pytest.param("# R35 (release), REVISION: 3.1, GCID: 32827747", "35.3.1", "5.1", id="JetPack 5.1.1"),
        pytest.param("# R35 (release), REVISION: 1.0, GCID: 1", "35.1.0", "5.0", id="JetPack 5.0.2"),
        pytest.param("# R32 (release), REVISION: 7.1, GCID: 29689809", "32.7.1", "4.6", id="JetPack 4.6 on a Nano"),
        pytest.param("# R38 (release), REVISION: 2.0", "38.2.0", "7.0", id="JetPack 7.0 on a Thor"),
        pytest.param("# R39 (release), REVISION: 2.0, GCID: 45755727", "39.2.0", "7.2", id="JetPack 7.2"),
        pytest.param("# R41 (release), REVISION: 1.0", "41.1.0", "", id="a release that is not known yet"),
        pytest.param("# R28 (release), REVISION: 2.1", "28.2.1", "", id="a release that is too old"),
        pytest.param("something else", "", "", id="no release line"),
    ],
)
def test_the_release_file_gives_linux_and_jetpack(line: str, l4t: str, jetpack: str, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nv_tegra_release").write_text(f"{line}\n# KERNEL_VARIANT: oot\n")
    assert l4t_version(tmp_path) == l4t
    assert jetpack_version(l4t) == jetpack


def test_other_machines_have_no_release_file(tmp_path: Path) -> None:
    assert (l4t_version(tmp_path), jetpack_version(""), power_mode(tmp_path)) == ("", "", "")


@given(st.binary(max_size=80))
def test_any_bytes_in_the_release_file_are_survived(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    root = tmp_path_factory.mktemp("root")
    (root / "etc").mkdir()
    (root / "etc/nv_tegra_release").write_bytes(content)
    assert isinstance(jetpack_version(l4t_version(root)), str)


@given(st.text("0123456789.", max_size=12))
def test_any_version_gives_a_jetpack_or_nothing(l4t: str) -> None:
    assert jetpack_version(l4t) in ("", "4.6", "5.0", "5.1", "6.0", "6.1", "6.2", "7.0", "7.1", "7.2", "7.2.1")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        pytest.param("pmode:0002 fmode:fan_mode_quiet\n", "MAXN_SUPER", id="a named mode"),
        pytest.param("pmode:0000", "15W", id="the first mode"),
        pytest.param("pmode:0009", "mode 9", id="a mode without a name"),
        pytest.param("fmode:cool", "", id="no mode"),
    ],
)
def test_the_power_mode_is_the_one_that_was_set_last(status: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "var/lib/nvpmodel").mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    (tmp_path / "var/lib/nvpmodel/status").write_text(status)
    (tmp_path / "etc/nvpmodel.conf").write_text(
        "< POWER_MODEL ID=0 NAME=15W >\nCPU_ONLINE CORE_0 1\n< POWER_MODEL ID=1 NAME=25W >\n"
        "< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n< PM_CONFIG DEFAULT=1 >\n"
    )
    assert power_mode(tmp_path) == expected
