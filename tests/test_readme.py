"""What the README says is so: its commands run, its tables are complete, its links lead somewhere."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.tables import fill_tables
from edgeseg import errors
from edgeseg.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()

#: Commands that no test runs, and why.
NOT_RUN = {
    "make build": "it is the whole road on a fresh machine, with an environment of its own",
    "make test": "it is what runs this test",
    "pip install -e '.[onnxruntime,vision,tensorrt-rtx]'": "the environment of the tests has it",
}
#: How commands begin that `make test-slow` runs, and why they take long.
SLOW = {
    "edgeseg build --int8 --frames demo://bikes": "engines are timed in turns for most of a minute",
    "edgeseg train": "it trains, as tests of training do with less",
    "edgeseg build runs/street": "it needs what was trained before",
    "edgeseg eval engines/street": "it needs what was built before",
    "edgeseg run demo://bikes overlay.mp4": "it needs the engine that was built before, and decodes a whole video",
    "edgeseg build liteseg-nano-camvid --int8 --backend tensorrt-rtx": "tests of TensorRT-RTX build the same",
    "edgeseg inspect rtx": "it needs what was built before",
    "edgeseg pack": "it quantizes and judges, as tests of bundles do with less",
    "edgeseg calibrate": "it measures ranges on a whole video",
    "edgeseg quantize": "it needs the ranges that were measured before",
    "edgeseg run 'synthetic://": "it needs the engine that was built before",
    "edgeseg bench": "it needs the engine that was built before, and measures for a while",
    "edgeseg report": "it needs what was measured before",
}


def is_slow(command: str) -> bool:
    return command.startswith(tuple(SLOW))


def commands(text: str) -> list[str]:
    """The command lines of all `sh` blocks, in order, without comments."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.join(words) for words in (shlex.split(line, comments=True) for line in lines) if words]


def table(text: str, heading: str) -> list[str]:
    """The first column of the table whose first heading that is, without its backquotes."""
    lines = iter(text.splitlines())
    next(line for line in lines if line.startswith(f"| {heading} |"))
    next(lines)
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append(line.split("|")[1].strip().strip("`"))
    return rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands run one after another, as a reader types them; with a reader's own data in `street/`."""
    folder = tmp_path_factory.mktemp("readme")
    if find_spec("cv2") is not None:
        from tests.train.scenes import write_data_set

        write_data_set(folder / "street", training=8, validation=4, size_hw=(96, 128))
    return folder


def run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    places = {"EDGESEG_ENGINES": "engines", "XDG_CACHE_HOME": "cache", "XDG_DATA_HOME": "data"}
    environment = dict(
        os.environ, PYTHONPATH=str(ROOT), **{name: str(folder / place) for name, place in places.items()}
    )
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, marks=[pytest.mark.slow] if is_slow(command) else [])
        for command in commands(README)
        if command not in NOT_RUN
    ],
)
def test_a_command_of_the_readme_runs(command: str, folder: Path) -> None:
    for package in ("cv2", "onnxruntime", "openvino", "skvideo"):
        if find_spec(package) is None:
            pytest.skip(f"the README's commands need '{package}'")
    if "street" in command and find_spec("torch") is None:
        pytest.skip("training needs 'torch'")
    if "rtx" in command and find_spec("tensorrt_rtx_bindings") is None:
        pytest.skip("TensorRT-RTX needs 'tensorrt_rtx_bindings'")
    words = shlex.split(command)
    assert words[0] == "edgeseg", "Other programs belong into NOT_RUN, with a reason."
    if "runs/street/best.safetensors" in words:
        words += ["--even-if-slower", "--duration", "1"]  # A busy machine may find that INT8 does not pay.
    done = run(words, folder)
    assert done.returncode == 0, done.stderr


def test_ones_own_data_came_to_a_gated_engine(folder: Path) -> None:
    if not (folder / "engines" / "street").is_dir():
        pytest.skip("training needs 'torch'")
    done = run(["edgeseg", "eval", "engines/street", "--data", "street/val", "--json"], folder)
    report = json.loads(done.stdout)
    assert set(report["class_iou"]) == {"road", "car", "sky"}
    assert report["miou"] > 0.6
    cards = [json.loads(path.read_text()) for path in (folder / "engines" / "street").glob("best-*.json")]
    int8 = [card["measured"]["gate"] for card in cards if card["precision"] == "int8"]
    assert int8
    assert all(gate["kind"] == "labels" and gate["drop"] <= 0.005 for gate in int8)


def test_no_exception_is_stale() -> None:
    every = commands(README)
    assert set(NOT_RUN) <= set(every)
    assert all(any(command.startswith(begin) for command in every) for begin in SLOW)


def test_the_table_of_commands_is_that_of_the_command_line() -> None:
    assert table(README, "command") == [f"edgeseg {name}" for name in COMMANDS]


def test_the_table_of_exit_codes_is_that_of_the_errors() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.EdgesegError)]
    codes = {0, 130} | {kind.exit_code for kind in kinds}
    assert [int(code) for code in table(README, "exit code")] == sorted(codes)


def test_the_table_of_extras_is_that_of_the_package() -> None:
    configuration = configparser.ConfigParser()
    configuration.read(ROOT / "setup.cfg")
    assert {*table(README, "extra"), "dev"} == set(configuration["options.extras_require"])


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_measured_tables_are_those_of_the_records(name: str) -> None:
    page = (ROOT / name).read_text()
    assert page.count("<!-- table: ") == page.count("<!-- end -->") > 0
    assert fill_tables(page) == page, "python benchmarks/tables.py writes them"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_to_files_lead_to_files(name: str) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", (ROOT / name).read_text())
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_files_that_are_named_are_there(name: str) -> None:
    paths = re.findall(r"`((?:edgeseg|tests|recipes|calibration|benchmarks)/[\w./-]+)`", (ROOT / name).read_text())
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("```sh\na b\n\n# why\nc 'd e'  # more\n```\n", ["a b", "c 'd e'"], id="lines and comments"),
        pytest.param("```sh\na \\\n  b\n```\n", ["a b"], id="a line that goes on"),
        pytest.param("```python\nimport x\n```\n`y`\n", [], id="other blocks"),
    ],
)
def test_command_lines_are_found(text: str, expected: list[str]) -> None:
    assert commands(text) == expected
