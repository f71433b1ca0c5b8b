"""What all commands have in common: names, help, errors, exit codes, JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgeseg.cli import COMMANDS, main

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"torch", "onnx", "onnx_ir", "onnxruntime", "openvino", "cv2", "PIL", "scipy"}


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMMANDS, "probe", "tests.cli.probes:probe")


def one_json_object(text: str) -> dict[str, Any]:
    """The object that is all of `text`; what is no JSON, such as NaN, is refused."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    found = json.loads(text, parse_constant=refuse)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"Usage: edgeseg {command} ")
    assert f"Examples:\n    edgeseg {command}" in printed


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]], ids=["nothing", "--help", "-h"])
def test_the_whole_is_explained_with_every_command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "Examples:" in printed
    assert all(f"\n  {command} " in printed for command in COMMANDS)


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    from edgeseg import __version__

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"edgeseg, version {__version__}\n"


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_loads_nothing_heavy(command: str) -> None:
    code = (
        "import sys; from edgeseg.cli import main; "
        f"assert main({[word for word in (command, '--help') if word]}) == 0; print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert {name.partition(".")[0] for name in done.stderr.split()} & HEAVY == set()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param(["biuld"], "There is no command 'biuld'. Did you mean 'build'?", id="a misspelt command"),
        pytest.param(["xyzzy"], "Possible: bench, build", id="a command like none"),
        pytest.param(["build", "--imgszie", "360x480"], "--imgsz", id="a misspelt option"),
        pytest.param(["models", "surplus"], "surplus", id="an argument too many"),
    ],
)
def test_what_is_misspelt_is_answered_with_the_nearest(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert expected in printed.err and "--help" in printed.err


#: Commands that report figures; the others make files and say where they lie.
REPORTING = (
    "models", "calibrate", "quantize", "sensitivity", "build", "inspect", "compare", "eval", "run", "bench", "doctor",
)  # fmt: skip


@pytest.mark.parametrize("command", REPORTING)
def test_a_usage_error_with_json_is_one_object_on_stdout(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--json", "--no-such-option"]) == 2
    report = one_json_object(capsys.readouterr().out)
    assert report["schema"] == f"edgeseg.{command}/1"
    assert report["error"]["exit_code"] == 2 and "--no-such-option" in report["error"]["message"]


EXIT_CODES = [
    ("failed", 1), ("usage", 2), ("missing", 3), ("model", 4), ("engine", 5), ("source", 6), ("gate", 7),
    ("interrupted", 130), ("aborted", 130), ("disk full", 1), ("read-only", 1), ("memory", 1),
    ("package", 3),
]  # fmt: skip


@pytest.mark.usefixtures("probe")
@pytest.mark.parametrize(("end", "code"), EXIT_CODES, ids=[end for end, _ in EXIT_CODES])
def test_every_end_has_its_exit_code_and_its_json(end: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probe", end]) == code
    plain = capsys.readouterr()
    assert plain.out == "" and plain.err.lstrip().startswith("error: ")
    assert main(["probe", end, "--json"]) == code
    report = one_json_object(capsys.readouterr().out)
    assert report["schema"] == "edgeseg.probe/1"
    assert report["error"]["exit_code"] == code and report["error"]["message"] in plain.err


@pytest.mark.usefixtures("probe")
def test_a_command_may_report_and_end_with_a_code_of_its_own() -> None:
    assert main(["probe", "exit 130"]) == 130


@pytest.mark.usefixtures("probe")
def test_what_was_found_out_before_a_failure_is_in_its_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probe", "gate", "--json"]) == 7
    report = one_json_object(capsys.readouterr().out)
    assert (report["verdict"], report["gate"]) == ("fail", {"drop": None})


@pytest.mark.usefixtures("probe")
@pytest.mark.parametrize(
    ("end", "hint"),
    [("disk full", "Free some space"), ("read-only", "-o DIR"), ("memory", "smaller --imgsz")],
    ids=["disk full", "read-only folder", "out of memory"],
)
def test_what_the_system_refuses_says_what_to_do(end: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["probe", end])
    assert hint.replace(" DIR", "") in capsys.readouterr().err


@pytest.mark.usefixtures("probe")
def test_success_with_json_is_one_object_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probe", "--json"]) == 0
    assert one_json_object(capsys.readouterr().out) == {"schema": "edgeseg.probe/1", "frames": 3}


@pytest.mark.parametrize("module", ["edgeseg", "edgeseg.cli"])
def test_it_runs_as_a_module(module: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("edgeseg, version ")


def test_a_reader_that_leaves_early_is_no_crash() -> None:
    shell = f"{sys.executable} -m edgeseg models --json | true"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, cwd=ROOT)
    assert "Traceback" not in done.stderr
