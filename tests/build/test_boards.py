"""A board's own recipe, picked by its name; and every shipped recipe, read as a build reads it."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from edgeseg.backends import BACKENDS
from edgeseg.build.boards import BOARDS, PC, board_recipe
from edgeseg.build.recipe import BuildRecipe
from edgeseg.catalog import zoo_models
from edgeseg.device import Device, describe_device
from edgeseg.device.nvidia import Gpu
from edgeseg.files import shared_folder
from edgeseg.recipes import decode_toml, find_toml

RECIPES = {path.stem: path for path in sorted(shared_folder("engines").glob("*.toml"))}


def machine(board: str = "", *gpus: Gpu) -> Device:
    return msgspec.structs.replace(describe_device(Path("/nonexistent"), nvidia_smi="none"), board=board, gpus=gpus)


@pytest.mark.parametrize(
    ("board", "recipe"),
    [
        ("NVIDIA Jetson Orin Nano Developer Kit", "jetson-orin-nano"),
        ("NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super", "jetson-orin-nano"),
        ("NVIDIA Jetson Orin NX Engineering Reference Developer Kit", "jetson-orin-nx"),
        ("NVIDIA Jetson AGX Orin Developer Kit", "jetson-agx-orin"),
        ("NVIDIA Jetson AGX Thor Developer Kit", "jetson-thor"),
        ("Raspberry Pi 5 Model B Rev 1.0", "raspberry-pi"),
        ("NVIDIA Jetson Nano Developer Kit", ""),
        ("Radxa ROCK 5B", ""),
        ("", ""),
    ],
)
def test_a_board_has_the_recipe_of_its_name(board: str, recipe: str) -> None:
    assert board_recipe(machine(board)) == recipe


@pytest.mark.parametrize(("module", "recipe"), PC)
def test_a_pc_with_a_gpu_has_that_of_its_library(
    module: str, recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeseg.build.boards.PC", ((module + "_of_the_test", recipe),))
    gpu = Gpu("NVIDIA GeForce RTX 4070", "570.00", 12 << 30, "8.9")
    assert board_recipe(machine("", gpu)) == ""
    (tmp_path / f"{module}_of_the_test").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert board_recipe(machine("", gpu)) == "", "a folder of types alone is no library"
    (tmp_path / f"{module}_of_the_test/__init__.py").touch()
    assert board_recipe(machine("", gpu)) == recipe
    assert board_recipe(machine()) == "", "without a GPU there is nothing to run it on"


@pytest.mark.parametrize("path", RECIPES.values(), ids=RECIPES)
def test_a_shipped_recipe_can_be_followed(path: Path) -> None:
    recipe = decode_toml(path, BuildRecipe)
    assert recipe.backend in {"auto", *BACKENDS}
    assert recipe.model in zoo_models()
    assert f"edgeseg build --recipe {path.stem}" in path.read_text()
    assert find_toml(path.stem, "engines") == path


def test_every_board_that_is_known_has_a_recipe() -> None:
    assert {recipe for _, recipe in (*BOARDS, *PC)} <= set(RECIPES)
    assert all(re.compile(pattern) for pattern, _ in BOARDS)
