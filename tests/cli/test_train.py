"""`edgeseg train` from the command line, Ctrl-C included."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")

from edgeseg.cli import main
from tests.train.scenes import CLASSES, write_data_set

ROOT = Path(__file__).resolve().parents[2]
RECIPE = """
model = "liteseg-mobilenetv2"
classes = "{classes}"
data = "{data}"
backbone_weights = "none"
epochs = {epochs}
batch = 2
[options]
width = 0.25
[augment]
crop_hw = [32, 48]
"""


def write_recipe(folder: Path, *, epochs: int, **changes: str) -> Path:
    data = write_data_set(folder / "scenes")
    text = RECIPE.format(classes=CLASSES, data=data, epochs=epochs)
    for old, new in changes.items():
        text = text.replace(old, new)
    path = folder / "tiny.toml"
    path.write_text(text)
    return path


def test_a_recipe_gives_weights_and_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(write_recipe(tmp_path, epochs=3)), "--epochs", "1", "--seed", "4", "-o", str(tmp_path / "run")]
    assert main(["train", *arguments, "--device", "cpu", "--json"]) == 0
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert (report["schema"], report["epochs"], report["interrupted"]) == ("edgeseg.train/1", 1, False)
    assert (report["recipe"]["epochs"], report["recipe"]["seed"]) == (1, 4)
    assert set(report["best"]["class_iou"]) == set(CLASSES.split(","))
    assert Path(report["weights"]).is_file()
    assert "on cpu" in printed.err


def test_a_model_on_ones_own_folder_gives_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_data_set(tmp_path / "scenes", training=2)
    arguments = ["liteseg-mobilenetv2", "--data", str(data), "--classes", CLASSES, "--epochs", "1", "--batch", "2"]
    assert main(["train", *arguments, "-o", str(tmp_path / "run")]) == 0
    printed = capsys.readouterr()
    assert all(word in printed.out for word in ("ground", "tree", "car", "mean"))
    weights = tmp_path / "run" / "best.safetensors"
    assert f"edgeseg build {weights} --int8 --calib {data}/train/images --data {data}" in " ".join(printed.err.split())
    assert "frames a second" in printed.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        pytest.param(["liteseg-mobilenetv3"], 2, "Did you mean 'liteseg-mobilenetv2'", id="a misspelt model"),
        pytest.param(["liteseg-efficientnet-lite0-camvdi"], 2, "lite0-camvid'", id="a misspelt recipe"),
        pytest.param(["liteseg-mobilenetv2", "--data", "x"], 2, "--classes", id="own data without classes"),
        pytest.param(["liteseg-mobilenetv2", "--classes", "a,b"], 2, "--data FOLDER", id="classes without data"),
        pytest.param(
            ["tiny.toml", "--data", "other"], 2, "not said whether --data other has them", id="a recipe's other data"
        ),
        pytest.param(
            ["liteseg-mobilenetv2", "--classes", "a,b", "--data", "x"], 2, "neither a folder", id="no such data"
        ),
        pytest.param(["tiny.toml", "--resume", "-o", "none"], 2, "nothing to resume", id="nothing to resume"),
        pytest.param(["tiny.toml", "--batch", "7"], 2, "fewer than one batch", id="a batch above the frames"),
        pytest.param(["tiny.toml", "--device", "npu"], 2, "no device 'npu'", id="an unknown device"),
        pytest.param(["wrong.toml"], 2, "Did you mean 'epochs'", id="a misspelt key"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    said: str,
) -> None:
    text = write_recipe(tmp_path, epochs=1).read_text()
    (tmp_path / "wrong.toml").write_text(text.replace("epochs", "epocs"))
    monkeypatch.chdir(tmp_path)
    assert main(["train", *arguments]) == code
    assert said in capsys.readouterr().err


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    for _ in range(600):
        if path.exists():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    raise AssertionError(f"{path} did not come")


@pytest.mark.slow
def test_ctrl_c_saves_and_resume_ends_as_the_run_without_it(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, epochs=12)
    command = [sys.executable, "-m", "edgeseg", "train", str(recipe), "--device", "cpu", "--workers", "2", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def start(out: str, *more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*command, "-o", str(tmp_path / out), *more],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True,
        )  # fmt: skip

    first = start("stopped")
    wait_for(tmp_path / "stopped" / "last.ckpt", first)
    os.killpg(first.pid, signal.SIGINT)
    printed, told = first.communicate(timeout=120)
    assert first.returncode == 130, told
    assert json.loads(printed)["interrupted"]
    assert "Traceback" not in told
    for process in (start("stopped", "--resume"), start("straight")):
        printed, told = process.communicate(timeout=300)
        assert process.returncode == 0, told
    for name in ("best.safetensors", "history.jsonl"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "straight" / name).read_bytes()
