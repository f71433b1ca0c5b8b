"""`edgeseg models`: networks and shipped models as tables and as JSON, and the chart of what was built here."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import pytest

from edgeseg.catalog import COUNTED, DEFAULT_MODEL, NETWORKS, zoo_models
from edgeseg.cli import main


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*words: object) -> dict[str, Any]:
        assert main(["models", *map(str, words), "--json"]) == 0
        return dict(json.loads(capsys.readouterr().out))

    return call


def test_the_tables_name_every_part_every_paper_and_every_shipped_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    printed = capsys.readouterr().out
    for network in NETWORKS:
        assert network.decoder in printed and network.backbone in printed
        assert f"{network.macs / 1e9:.2f} / {network.parameters / 1e6:5.2f}" in printed
        assert all(paper in printed for paper in network.papers)
    assert all(name in printed for name in zoo_models())
    assert "GMACs at 360x640" in printed and "67.81" in printed
    assert max(map(len, printed.splitlines())) <= 140


def test_networks_with_shipped_weights_are_marked(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    assert main(["models", "--filter", "efficientnet-lite"]) == 0
    rows = [line.split("│") for line in capsys.readouterr().out.splitlines() if "│ efficientnet-lite" in line]
    header = ["", "backbone", "deeplabv3plus", "fcn", "liteseg", "lraspp", "ppliteseg", "unet"]
    marked = [(row[1].strip(), header[at]) for row in rows[:3] for at, cell in enumerate(row) if "*" in cell]
    assert marked == [("efficientnet-lite0", "liteseg")]


def test_the_json_holds_figures_papers_and_cards(told: Any) -> None:
    pytest.importorskip("onnxruntime")
    report = told()
    assert report["schema"] == "edgeseg.models/1"
    assert report["counted"] == {"num_classes": 19, "size_hw": [360, 640]}
    assert [network["name"] for network in report["networks"]] == [network.name for network in NETWORKS]
    network = next(network for network in report["networks"] if network["name"] == "liteseg-mobilenetv2")
    assert network["macs"] == COUNTED.networks["liteseg-mobilenetv2"].macs
    assert network["published"][0]["miou"] == 0.6781
    shipped = {model["name"]: model["network"] for model in report["models"]}
    assert {name: network["name"] for network in report["networks"] for name in network["shipped"]} == shipped
    assert [model["name"] for model in report["models"]] == list(zoo_models())
    assert all(model["card"]["classes"] for model in report["models"])


def test_what_was_measured_of_a_shipped_model_is_told(told: Any) -> None:
    pytest.importorskip("onnxruntime")
    (model,) = [model for model in told()["models"] if model["default"]]
    gate = model["card"]["measured"]["release"]["gate"]
    assert model["name"] == DEFAULT_MODEL
    assert (model["float_miou"], model["int8_miou"], model["drop"]) == (gate["float_miou"], gate["miou"], gate["drop"])
    assert model["size_hw"] == [360, 480]
    assert 1e9 < model["macs"] < 3e9 and 3e6 < model["parameters"] < 4e6
    assert "research" in model["licence"]


def test_without_the_packages_that_read_graphs_the_names_remain(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    genuine = builtins.__import__

    def refuse(name: str, *rest: Any, **named: Any) -> Any:
        if name.startswith("edgeseg.graph.cost"):
            raise ModuleNotFoundError("No module named 'onnx_ir'", name="onnx_ir")
        return genuine(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert main(["models", "--json"]) == 0
    printed = capsys.readouterr()
    assert "'onnx_ir'" in printed.err and "pip install" in printed.err
    report = json.loads(printed.out)
    assert [(model["name"], model["card"]) for model in report["models"]] == [(name, None) for name in zoo_models()]
    assert main(["models"]) == 0
    assert DEFAULT_MODEL in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "networks", "models"),
    [
        pytest.param("unet-mobilenetv2", ["unet-mobilenetv2"], [], id="one network"),
        pytest.param("camvid", [], list(zoo_models()), id="models alone"),
        pytest.param(
            "lraspp-", [network.name for network in NETWORKS if network.decoder == "lraspp"], [], id="a decoder"
        ),
    ],
)
def test_a_filter_leaves_what_has_that_in_its_name(
    text: str, networks: list[str], models: list[str], told: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    report = told("--filter", text)
    assert [network["name"] for network in report["networks"]] == networks
    assert [model["name"] for model in report["models"]] == models
    assert main(["models", "--filter", text]) == 0
    printed = capsys.readouterr().out
    assert ("backbone" in printed) == bool(networks)
    assert ("Models that edgeseg ships" in printed) == bool(models)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["--filter", "mobilnetv2"], "Did you mean 'mobilenetv2'", id="a misspelt filter"),
        pytest.param(["--plot", "chart.png"], "no .svg file", id="another kind of picture"),
        pytest.param(["--engines", "."], "go with --plot", id="a folder for nothing"),
        pytest.param(["--bench", "."], "go with --plot", id="a benchmark for nothing"),
        pytest.param(["--plot", "chart.svg", "--engines", "."], "edgeseg build --int8 --data DIR", id="no engines"),
        pytest.param(["--plot", "chart.svg", "--bench", "."], "no record", id="no benchmark"),
    ],
)
def test_what_does_not_fit_is_a_usage_error(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("cv2")
    pytest.importorskip("onnx_ir")
    monkeypatch.chdir(tmp_path)
    assert main(["models", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and said in printed.err
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def engines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A folder with an engine that `edgeseg build` judged on labels, and one that it judged on none."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    cv2 = pytest.importorskip("cv2")
    from edgeseg.data.scene import Scene
    from edgeseg.graph.io import save_graph
    from tests.graph.foreign import HEIGHT, WIDTH, Shape, foreign

    for name in ("net", "blind"):
        save_graph(foreign(Shape()), tmp_path / f"{name}.onnx")
    for kind in ("images", "masks"):
        (tmp_path / "data" / kind).mkdir(parents=True)
    scene = Scene((HEIGHT, WIDTH), seed=2)
    for index in range(20):
        frame = scene.render(6 * index)
        cv2.imwrite(str(tmp_path / f"data/images/{index:03}.png"), frame)
        cv2.imwrite(str(tmp_path / f"data/masks/{index:03}.png"), frame[..., 0] % 3)
    build = ["build", "--fp32", "--backend", "onnxruntime", "--duration", "0.05", "-o", str(tmp_path / "engines")]
    build += ["--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225"]
    assert main([*build, str(tmp_path / "net.onnx"), "--data", str(tmp_path / "data")]) == 0
    assert main([*build, str(tmp_path / "blind.onnx"), "--frames", str(tmp_path / "data/images")]) == 0
    capsys.readouterr()
    return tmp_path / "engines"


def test_what_was_built_here_is_drawn_and_listed(
    engines: Path, told: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chart = engines.parent / "charts/engines.svg"
    plot = told("--plot", chart, "--engines", engines)["plot"]
    assert plot["file"] == str(chart) and chart.read_text().startswith("<svg")
    (point,) = plot["points"]
    (engine,) = [path.name for path in engines.glob("net*.onnx")]
    assert (point["engine"], point["on_front"]) == (engine, True)
    assert plot["data"] == str(engines.parent / "data") and plot["frames"] == 20
    assert [left_out["reason"] for left_out in plot["left_out"]] == ["not judged on labels"]
    monkeypatch.setenv("EDGESEG_ENGINES", str(engines))
    assert main(["models", "--plot", str(chart)]) == 0
    printed = capsys.readouterr()
    assert "net" in printed.out and "fp32" in printed.out and "blind" not in printed.out
    assert "Left out: blind" in printed.err and f"{chart} holds the chart" in printed.err


def test_a_benchmark_gives_the_latencies(engines: Path, told: Any, capsys: pytest.CaptureFixture[str]) -> None:
    (engine,) = engines.glob("net*.onnx")
    quick = ["--warm-up", "0", "--duration", "0", "--iterations", "20", "--camera", "64x96"]
    assert main(["bench", str(engine), "-o", str(engines.parent / "bench"), *quick]) == 0
    record = json.loads((engines.parent / "bench/bench.json").read_text())
    capsys.readouterr()
    chart = engines.parent / "engines.svg"
    plot = told("--plot", chart, "--engines", engines, "--bench", engines.parent / "bench")["plot"]
    assert plot["in_turns"]
    assert [point["p50_ms"] for point in plot["points"]] == [record["engines"][0]["latency"]["percentiles_ms"]["50"]]
