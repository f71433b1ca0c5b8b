"""Several records as one report: its numbers are theirs, and only what can be compared is drawn together."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("cv2")
pytest.importorskip("jinja2")
pytest.importorskip("onnx_ir")
pytest.importorskip("psutil")

from edgeseg.bench import Benchmark, Record, Settings, read_record, run_benchmark, write_record
from edgeseg.cli import main
from tests.engines import tiny_engine

Change = Callable[[Record], Record]
HOSTILE = "<b>|night's"
OF_THE_ENGINE = ("size", "precision", "backend")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    engine = tiny_engine(tmp_path_factory.mktemp("engines"), "fake")
    settings = Settings(warm_up_s=0, duration_s=0, iterations=120, camera_hw=(64, 96), percentiles=(50, 90, 99))
    return run_benchmark({"first.onnx": engine, HOSTILE: engine}, settings)


def as_it_was(record: Record) -> Record:
    return record


def judged(record: Record) -> Record:
    """Of a day on which the engines had labels."""
    told = ({"kind": "labels", "frames": 9, "miou": miou} for miou in (0.7014, 0.7123))
    engines = (msgspec.structs.replace(one, accuracy=how) for one, how in zip(record.engines, told, strict=True))
    return msgspec.structs.replace(record, engines=tuple(engines))


def later(record: Record) -> Record:
    """Of another day, on which the first engine did more frames, and percentiles of another kind were asked for."""
    first, second = judged(record).engines
    settings = msgspec.structs.replace(record.settings, percentiles=(50.0, 75.0))
    assert first.latency is not None
    percentiles = {"50": 1234.5, "75": None}
    latency = msgspec.structs.replace(first.latency, percentiles_ms=percentiles, intervals_ms={})
    first = msgspec.structs.replace(first, fps=54321.0, latency=latency)
    return msgspec.structs.replace(
        record, created="2027-01-02T03:04:05+00:00", settings=settings, engines=(first, second)
    )


def elsewhere(record: Record) -> Record:
    device = msgspec.structs.replace(record.environment.device, cpu="Another CPU")
    environment = msgspec.structs.replace(record.environment, device=device)
    return msgspec.structs.replace(judged(record), environment=environment)


def merged(done: Benchmark, folder: Path, *changes: Change) -> dict[str, Any]:
    """The JSON of a report of records that were changed so; the other files lie beside it."""
    paths = [folder / f"{number}" for number, _ in enumerate(changes, 1)]
    for path, change in zip(paths, changes, strict=True):
        write_record(change(done.record), done.samples, path)
    assert main(["report", *map(str, paths), "-o", str(folder / "page")]) == 0
    told: dict[str, Any] = msgspec.json.decode((folder / "page/report.json").read_bytes())
    assert [entry["path"] for entry in told["records"]] == list(map(str, paths))
    return told


def common_table(folder: Path) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the page's table of all engines, which the Markdown has too."""
    _, text = (folder / "page/report.html").read_text().split("<h2>All engines</h2>")
    table, _ = text.split("</table>", 1)
    heads = re.findall("<th>(.*?)</th>", table)
    rows = [[unescape(cell) for cell in re.findall("<td>(.*?)</td>", row)] for row in table.split("<tr>")[2:]]
    lines = (folder / "page/report.md").read_text().splitlines()
    for cells in (heads, *rows):
        assert f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |" in lines
    return heads, rows


def test_the_numbers_of_the_common_table_are_those_of_the_json(done: Benchmark, tmp_path: Path) -> None:
    told = merged(done, tmp_path, as_it_was, later)
    heads, rows = common_table(tmp_path)
    engines = [(entry, engine) for entry in told["records"] for engine in entry["record"]["engines"]]
    assert heads == ["engine", "record", "FPS", *(f"p{p} ms" for p in (50, 75, 90, 99)), "mIoU", *OF_THE_ENGINE]
    for (entry, engine), row in zip(engines, rows, strict=True):
        cells, accuracy = dict(zip(heads, row, strict=True)), engine["accuracy"]
        assert cells["engine"] == engine["name"] and cells["FPS"] == f"{engine['fps']:.1f}"
        assert cells["record"] == f"{entry['number']}: {entry['record']['created'][:16].replace('T', ' ')}"
        for p in ("50", "75", "90", "99"):
            asked = float(p) in entry["record"]["settings"]["percentiles"]
            value = engine["latency"]["percentiles_ms"].get(p)
            assert cells[f"p{p} ms"].split(" (")[0] == ("" if not asked else f"{value:.2f}" if value else "n/a")
        assert cells["mIoU"] == (f"{100 * accuracy['miou']:.2f} (9 frames)" if "miou" in accuracy else "")
        assert cells["size"] == "{}x{}".format(*engine["size_hw"]) and cells["precision"] == engine["precision"]
        assert cells["backend"] == f"{engine['backend']} {engine['library']}"


def test_the_json_holds_each_record_whole_and_is_what_is_printed(
    done: Benchmark, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = merged(done, tmp_path, judged, later)
    paths = [entry["path"] for entry in told["records"]]
    for entry in told["records"]:
        assert msgspec.convert(entry["record"], Record) == read_record(Path(entry["path"]) / "bench.json")
    capsys.readouterr()
    assert main(["report", *paths, "-o", str(tmp_path / "page"), "--json"]) == 0
    assert msgspec.json.decode(capsys.readouterr().out) == told
    assert (told["schema"], told["page"]) == ("edgeseg.report/1", str(tmp_path / "page/report.html"))


@pytest.mark.parametrize(
    ("changes", "alike", "fronts", "notes"),
    [
        pytest.param((judged, later), [[2], [1]], {"1, 2": 4}, 0, id="of one machine"),
        pytest.param((as_it_was, later), [[2], [1]], {"1, 2": 2}, 0, id="one without labels"),
        pytest.param((as_it_was, as_it_was), [[2], [1]], {}, 0, id="both without labels"),
        pytest.param((judged, elsewhere), [[], []], {}, 1, id="of two machines"),
        pytest.param((judged, elsewhere, later), [[3], [], [1]], {"1, 3": 4}, 1, id="one of another machine"),
    ],
)
def test_only_what_can_be_compared_is_drawn_together(
    changes: tuple[Change, ...],
    alike: list[list[int]],
    fronts: dict[str, int],
    notes: int,
    done: Benchmark,
    tmp_path: Path,
) -> None:
    told = merged(done, tmp_path, *changes)
    assert [entry["comparable_with"] for entry in told["records"]] == alike
    text = (tmp_path / "page/report.html").read_text()
    top, *each = text.split("</section>")[: 1 + len(changes)]
    figures = re.findall(r"Accuracy against latency, records ([\d, ]*)<span>.*?</svg>", top, re.DOTALL)
    circles = [len(re.findall("<circle", one)) for one in re.findall("<figure>.*?</figure>", top, re.DOTALL)]
    assert dict(zip(figures, circles, strict=True)) == fronts
    assert len(told["notes"]) == notes and len(each) == len(changes)
    for note in told["notes"]:
        assert note in unescape(top) and f"**{note}**" in (tmp_path / "page/report.md").read_text()


def test_one_record_alone_is_not_told_twice(done: Benchmark, tmp_path: Path) -> None:
    told = merged(done, tmp_path, judged)
    assert len(told["records"]) == 1
    assert "All engines" not in (tmp_path / "page/report.html").read_text()
    assert (tmp_path / "page/report.md").read_text().startswith("# Benchmark of ")
