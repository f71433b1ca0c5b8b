"""Imports point down the floors, and importing edgeseg loads nothing heavy."""

from __future__ import annotations

import ast
import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "edgeseg"

#: The rooms of edgeseg from the ground up. A room may import rooms of lower floors, not its neighbours.
FLOORS = (
    {"errors"},
    {"children", "files", "labels", "timing", "windows"},
    {"card", "catalog", "recipes"},
    {"device"},
    {"models", "data", "graph", "backends"},
    {"evaluate"},
    {"quantize"},
    {"build", "doctor", "train", "stream"},
    {"bench", "service", "web"},
    {"cli"},
)
#: The package itself holds the version alone, so that any room may read it; `__main__` only calls the command line.
DOORS = {"__init__", "__main__"}
HEAVY = {
    "aiohttp",
    "av",
    "jinja2",
    "psutil",
    "gi",
    "prometheus_client",
    "torch",
    "onnx",
    "onnx_ir",
    "onnxscript",
    "onnxruntime",
    "openvino",
    "tensorrt",
    "cv2",
    "PIL",
    "scipy",
    "rich",
}


def floor_of(room: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def room_of(path: Path) -> str:
    """`edgeseg/graph/passes/x.py` is in the room `graph`, `edgeseg/card.py` is the room `card`."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(source: str) -> set[str]:
    """Rooms that a module imports, inside functions too, and through strings such as 'edgeseg.cli.run:run'."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "Imports are absolute."
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and ":" in node.value:
            names.add(node.value.partition(":")[0])
    inside = {name.split(".")[1] for name in names if name.startswith("edgeseg.")}
    return {room for room in inside if not room.startswith("__")}


def forbidden(room: str, others: set[str]) -> list[str]:
    """What of `others` the room must not import."""
    return sorted(other for other in others - {room} if floor_of(other) >= floor_of(room))


MODULES = sorted(path for path in PACKAGE.rglob("*.py") if room_of(path) not in DOORS)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_what_is_below_it(path: Path) -> None:
    rooms = imported_rooms(path.read_text())
    assert forbidden(room_of(path), rooms) == []


def test_every_room_has_a_floor_and_every_floor_is_built() -> None:
    rooms = {room_of(path) for path in MODULES}
    assert rooms - set().union(*FLOORS) == set()
    assert set().union(*FLOORS) - rooms == set()


@pytest.mark.parametrize(
    ("room", "source", "expected"),
    [
        pytest.param("graph", "from edgeseg.card import Card", [], id="a lower floor is allowed"),
        pytest.param("graph", "from edgeseg.data.images import read_frame", ["data"], id="a neighbour is not"),
        pytest.param("graph", "def f():\n    import edgeseg.build", ["build"], id="a higher floor inside a function"),
        pytest.param("backends", "TABLE = {'x': 'edgeseg.quantize.ranges:Ranges'}", ["quantize"], id="a string table"),
        pytest.param("graph", "from edgeseg.graph.io import load_graph", [], id="its own room"),
        pytest.param("device", "from edgeseg import __version__", [], id="the version is no room"),
        pytest.param("errors", "from edgeseg import files", ["files"], id="a room imported from the package"),
    ],
)
def test_the_rule_catches_what_it_should(room: str, source: str, expected: list[str]) -> None:
    assert forbidden(room, imported_rooms(source)) == expected


def loaded_by(statement: str) -> set[str]:
    """Top-level packages in `sys.modules` of a fresh interpreter after `statement`."""
    code = (
        f"import json, sys\n{statement}\nprint(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("statement", "more"),
    [
        pytest.param("import edgeseg", {"numpy", "click", "msgspec"}, id="the package"),
        pytest.param("import edgeseg.cli", {"numpy"}, id="the command line"),
        pytest.param("import edgeseg.backends.table, edgeseg.catalog, edgeseg.files", set(), id="the tables"),
    ],
)
def test_importing_loads_nothing_heavy(statement: str, more: set[str]) -> None:
    assert loaded_by(statement) & (HEAVY | more) == set()


def test_heavy_packages_are_seen_when_they_are_loaded() -> None:
    assert "rich" in loaded_by("import rich")


def test_contributing_shows_the_same_floors() -> None:
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text()
    table = itertools.takewhile(lambda line: line.startswith("|"), text[text.index("| floor |") :].splitlines())
    rows = [line.split("|")[2] for line in table][2:]
    assert [set(row.replace("`", "").split()) for row in rows] == list(FLOORS)


def test_running_an_engine_imports_nothing_of_what_builds_one() -> None:
    code = (
        "import sys; from edgeseg.build import find_engine, load_session; import edgeseg.stream, edgeseg.evaluate; "
        "print(*{'torch', 'onnxscript', 'onnx_ir', 'onnxruntime.quantization'} & set(sys.modules))"
    )
    pytest.importorskip("cv2")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
