"""What is in the wheel, what it asks for, and that an install of it finds its files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from edgeseg import __version__

ROOT = Path(__file__).resolve().parents[1]
SHARED = ("calibration", "engines", "recipes")
DIST_INFO = f"edgeseg-{__version__}.dist-info"


def pip(*arguments: str, python: Path | None = None) -> None:
    command = [sys.executable, "-m", "pip", *(["--python", str(python)] if python else []), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the sources, so that no older build folder slips in."""
    setuptools = pytest.importorskip("setuptools")
    if int(setuptools.__version__.partition(".")[0]) < 77:
        pytest.skip("setuptools 77 or later is needed to build the wheel")
    folder = tmp_path_factory.mktemp("sources")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "edgeseg", folder / "edgeseg", ignore=shutil.ignore_patterns("__pycache__"))
    for path in (path for kind in SHARED for path in (ROOT / kind).glob("*.toml")):
        (folder / path.parent.name).mkdir(exist_ok=True)
        shutil.copy(path, folder / path.parent.name)
    pip("wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder / "dist"), str(folder))
    return next((folder / "dist").glob("*.whl"))


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        return Parser().parsestr(archive.read(f"{DIST_INFO}/METADATA").decode())


def expected_files() -> Iterator[str]:
    package = ROOT / "edgeseg"
    for pattern in (
        "*.py",
        "py.typed",
        "networks.json",
        "zoo/*.onnx",
        "zoo/*.npz",
        "backends/tensorrt/*.cu",
        "web/*.html",
        "bench/page/*.html",
    ):
        yield from (str(path.relative_to(ROOT)) for path in package.rglob(pattern))
    for kind in SHARED:
        folder = f"edgeseg-{__version__}.data/data/share/edgeseg/{kind}"
        yield from (f"{folder}/{path.name}" for path in (ROOT / kind).glob("*.toml"))
    for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "top_level.txt", "licenses/LICENSE"):
        yield f"{DIST_INFO}/{name}"


def test_the_wheel_holds_the_package_its_data_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        assert sorted(archive.namelist()) == sorted(expected_files())


def test_the_wheel_is_for_every_machine(wheel: Path) -> None:
    assert wheel.name == f"edgeseg-{__version__}-py3-none-any.whl"


def test_the_metadata_name_version_python_and_licence(metadata: Message) -> None:
    assert (metadata["Name"], metadata["Version"]) == ("edgeseg", __version__)
    assert (metadata["Requires-Python"], metadata["License-Expression"]) == (">=3.10", "Apache-2.0")


def requirements(metadata: Message, extra: str = "") -> set[str]:
    """Names that the core, or one extra, asks for."""
    names = set()
    for line in metadata.get_all("Requires-Dist", []):
        requirement, _, marker = line.partition(";")
        if (f'extra == "{extra}"' in marker) if extra else ("extra ==" not in marker):
            names.add(requirement.partition(">")[0].strip())
    return names


def test_the_core_asks_for_small_packages_alone(metadata: Message) -> None:
    small = {"click", "filelock", "msgspec", "numpy", "platformdirs", "rich", "tomli"}
    assert requirements(metadata) == small


#: Extras that any machine can have.
EVERYWHERE = {"onnxruntime", "openvino", "vision", "video", "web", "report", "demo"}


def test_only_training_asks_for_torch(metadata: Message) -> None:
    extras = metadata.get_all("Provides-Extra", [])
    assert set(extras) == {*EVERYWHERE, "tensorrt", "tensorrt-rtx", "pycuda", "train", "dev", "all"}
    assert [extra for extra in extras if "torch" in requirements(metadata, extra)] == ["train"]


def test_every_extra_of_all_is_one_of_the_extras(metadata: Message) -> None:
    (everything,) = requirements(metadata, "all")
    named = everything.removeprefix("edgeseg[").removesuffix("]").split(",")
    assert set(named) == EVERYWHERE


def test_an_install_has_the_command_and_finds_what_it_ships(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin/python"
    pip("install", "-q", "--no-deps", str(wheel), python=python)
    code = (
        "import json, edgeseg; from edgeseg.files import engines_folder, shared_folder;"
        "print(json.dumps([edgeseg.__file__, str(engines_folder()), *map(str, shared_folder('recipes').iterdir())]))"
    )
    # The dependencies come from the environment that the tests run in; edgeseg itself from the new one.
    installed = str(Path(pytest.__file__).parents[1])
    path = os.pathsep.join([str(next((environment / "lib").glob("python*/site-packages"))), installed])
    variables = dict(os.environ, PYTHONPATH=path, XDG_CACHE_HOME=str(tmp_path / "cache"))
    run = {"capture_output": True, "text": True, "check": True, "env": variables, "cwd": tmp_path}
    found = json.loads(subprocess.run([python, "-c", code], **run).stdout)
    assert found[0].startswith(str(environment))
    assert found[1] == str(tmp_path / "cache/edgeseg/engines")
    recipes = {path.name for path in (ROOT / "recipes").glob("*.toml")}
    assert {Path(path).name for path in found[2:]} == recipes and recipes
    assert all(path.startswith(str(environment)) for path in found[2:])
    command = subprocess.run([environment / "bin/edgeseg", "--version"], **run)
    assert command.stdout == f"edgeseg, version {__version__}\n"
