"""Fill the tables of README and CONTRIBUTING from the records: `python benchmarks/tables.py`.

A table stands between `<!-- table: NAME of FOLDER -->` and `<!-- end -->`; FOLDER is one of benchmarks/records.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edgeseg.recipes import decode_toml
from edgeseg.train.recipe import TrainRecipe

ROOT = Path(__file__).parents[1]
TABLE = re.compile(r"(?<=<!-- table: )(?P<name>\w+) of (?P<folder>\S+) -->\n.*?(?=<!-- end -->)", re.DOTALL)

Record = dict[str, Any]


def fill_tables(text: str) -> str:
    """The text with every table made anew from its records."""

    def filled(match: re.Match[str]) -> str:
        lines = TABLES[match["name"]](ROOT / "benchmarks/records" / match["folder"])
        return f"{match['name']} of {match['folder']} -->\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)

    return TABLE.sub(filled, text)


def models(folder: Path) -> Iterator[list[str]]:
    """A row for each shipped model, from `edgeseg models --json` and a build of each."""
    yield ["model", "parameters", "GMACs", "mIoU float", "mIoU INT8", "drop", "float ms", "INT8 ms"]
    yield ["---", *7 * ["---:"]]
    for model in json.loads((folder / "models.json").read_text())["models"]:
        build = read(folder / f"build-{model['name']}.json")
        yield [
            f"`{model['name']}`",
            f"{model['parameters'] / 1e6:.2f} M",
            f"{model['macs'] / 1e9:.2f}",
            points(build["gate"]["float_miou"]),
            points(build["gate"]["miou"]),
            points(build["gate"]["drop"]),
            f"{build['speed']['float_p50_ms']:.2f}",
            f"{build['speed']['p50_ms']:.2f}",
        ]


def backends(folder: Path) -> Iterator[list[str]]:
    """A row for each engine that builds of the default model made, by size of the class map."""
    modes = ("full", "half")
    by_mode = [read(folder / f"backends-{mode}.json")["candidates"] for mode in modes]
    yield ["backend", "precision", *(part for mode in modes for part in (f"{mode}: mIoU", "ms"))]
    yield ["---", "---", *2 * len(modes) * ["---:"]]
    for rows in zip(*by_mode, strict=True):
        first = rows[0]
        dialect = f" `{first['dialect']}`" if first["precision"] == "int8" else ""
        assert len({(row["backend"], row["precision"], row["dialect"]) for row in rows}) == 1, "not in the same order"
        measured = (part for row in rows for part in (points(row["gate"]["miou"]), f"{row['speed']['p50_ms']:.2f}"))
        yield [first["backend"], first["precision"] + dialect, *measured]


def rtx(folder: Path) -> Iterator[list[str]]:
    """A row for each engine of TensorRT-RTX, without the INT8 convolutions that it runs in float all the same."""
    yield ["model", "precision", "INT8 convolutions", "plan MB", "seconds to build"]
    yield ["---", "---", *3 * ["---:"]]
    for path in sorted(folder.glob("rtx-*.json")):
        for row in (row for row in read(path)["candidates"] if row["backend"] == "tensorrt-rtx"):
            spared = ", depthwise in FP16" if row["spare_depthwise"] else ""
            yield [
                f"`{path.stem.removeprefix('rtx-')}`",
                row["precision"] + spared,
                f"{row['int8_convs'] - len(row['not_int8'])}/{row['total_convs']}",
                f"{row['size_bytes'] / 1e6:.1f}",
                f"{row['seconds']:.1f}",
            ]


def repair(folder: Path) -> Iterator[list[str]]:
    """A row for each step of a repair."""
    yield ["step", "what was done", "drop, points", "gain", "INT8 convolutions", ""]
    yield ["---", "---", "---:", "---:", "---:", "---"]
    for step in read(folder / "repair-per-tensor.json")["repair"]:
        judged = step["gate"]
        became = "" if judged is None else step["verdict"] if step["verdict"] == "pass" else "kept"
        yield [
            step["step"],
            step["detail"],
            "" if judged is None else points(judged["drop"]),
            "" if step["gain"] is None else f"{100 * step['gain']:+.2f}",
            "" if judged is None else f"{step['int8_convs']}/{step['total_convs']}",
            became if step["kept"] or judged is None else "taken back",
        ]


def training(folder: Path) -> Iterator[list[str]]:
    """A row for each recipe: what one epoch took, and with that all of them."""
    yield ["recipe", "epochs", "frames a second", "hours"]
    yield ["---", *3 * ["---:"]]
    for path in sorted(folder.glob("train-*.json")):
        name, epoch = path.stem.removeprefix("train-"), read(path)
        epochs = decode_toml(ROOT / f"recipes/{name}.toml", TrainRecipe).epochs
        hours = epochs * epoch["seconds"] / epoch["epochs"] / 3600
        yield [f"`{name}`", str(epochs), f"{epoch['frames_per_s']:.1f}", f"{hours:.1f}"]


def smoothing(folder: Path) -> Iterator[list[str]]:
    """A row for the labels and for each engine, as it is and smoothed: CamVid's frames, and a video without labels."""
    yield ["class maps", "CamVid: mIoU", "flicker, %", "street video: flicker, %", "pixels as before, %"]
    yield ["---", *4 * ["---:"]]
    for row in read(folder / "smoothing.json")["rows"]:
        shares = (row[name] for name in ("miou", "flicker", "video_flicker", "kept"))
        kept = row["kept"] is not None and row["kept"] < 1
        *cells, last = ("" if share is None else points(share) for share in shares)
        yield [row["what"], *cells, last if kept else ""]


def unknown(folder: Path) -> Iterator[list[str]]:
    """A row for each least confidence."""
    yield ["`--unknown`", "pixels left out, %", "wrong pixels left out, %", "mIoU of the rest"]
    yield [*4 * ["---:"]]
    for row in read(folder / "smoothing.json")["unknown"]:
        yield [f"{row['below']:g}", *(points(row[name]) for name in ("share", "wrong_share", "miou"))]


def stream(folder: Path) -> Iterator[list[str]]:
    """What the stream adds to the engines, from benchmarks/stream.py."""
    records = [read(path) for path in sorted(folder.glob("stream*.json"))]
    yield ["", *(f"`{record['engine'].partition('-camvid')[0]}`" for record in records)]
    yield ["---", *["---:"] * len(records)]
    rows: dict[str, Callable[[Record], str]] = {
        "bare engine: FPS": lambda told: f"{told['bare_fps']:.1f}",
        "bare engine: p99, ms": lambda told: f"{told['bare_p99_ms']:.1f}",
        "camera of 640x480 at 30 FPS: FPS": lambda told: f"{told['camera_fps']:.1f}",
        "... frames dropped of 240": lambda told: f"{told['camera_dropped']:.0f}",
        "... frame age p99, ms": lambda told: f"{told['camera_age_p99_ms']:.1f}",
        "frames as fast as they are read: FPS to the bare engine's": lambda told: f"{told['unpaced_of_bare']:.2f}",
        "video to overlay video: FPS to the bare engine's": lambda told: f"{told['video_of_bare']:.2f}",
        "camera four times faster than the engine: frame age p99, ms": lambda told: (
            f"{told['fast_camera_age_p99_ms']:.1f}"
        ),
        "start of the process to the first class map, ms": lambda told: f"{told['cold_start_ms']:.0f}",
    }
    for words, cell in rows.items():
        yield [words, *(cell(record["summary"]) for record in records)]


def recovery(folder: Path) -> Iterator[list[str]]:
    """How long an RTSP camera is gone, from benchmarks/recovery.py."""
    told = read(folder / "recovery.json")
    yield ["RTSP server", "times", "noticed after, s", "first frame after it is back, s", "at worst"]
    yield ["---", *4 * ["---:"]]
    for fault, words in (("killed", "killed, started again"), ("hanging", "stopped (SIGSTOP), continued")):
        seconds = told["summary"][fault]
        yield [
            words,
            str(len(told["faults"][fault])),
            f"{seconds['stalled_p50_s']:.2f}",
            f"{seconds['back_p50_s']:.2f}",
            f"{seconds['back_max_s']:.2f}",
        ]


def peers(folder: Path) -> Iterator[list[str]]:
    """A row for each other system, from `python -m benchmarks.peers`."""
    told = read(folder / "peers.json")
    own = next(entry for entry in told["entries"] if entry["name"] == told["reference"])
    yield ["system", "FPS", "edgeseg's FPS to it", "mIoU"]
    yield ["---", *3 * ["---:"]]
    yield [f"**{own['title']}**", f"{own['fps']:.1f}", "", points(own["miou"])]
    for entry in told["entries"]:
        if entry["ratio"] is not None and not entry["name"].startswith("edgeseg/"):
            yield [entry["title"], f"{entry['fps']:.1f}", f"{entry['ratio']['median']:.2f}", points(entry["miou"])]


def front(folder: Path) -> Iterator[list[str]]:
    """A row for each engine that was measured and is on the front, from `edgeseg build --fps`."""
    yield ["model", "size", "`--upsample`", "precision", "ms p50", "ms p90", "FPS", "mIoU", ""]
    yield ["---", "---", "---", "---", *4 * ["---:"], "---"]
    for one in read(folder / "front.json")["points"]:
        if one["on_front"] or one["picked"]:
            yield [
                f"`{one['model']}`",
                "{}x{}".format(*one["size_hw"]),
                one["upsample"],
                one["precision"],
                f"{one['p50_ms']:.2f}",
                f"{one['p90_ms']:.2f}",
                f"{1e3 / one['p90_ms']:.1f}",
                points(one["accuracy"]),
                "picked" if one["picked"] else "",
            ]


def memory(folder: Path) -> Iterator[list[str]]:
    """A row for each stream, from benchmarks/memory.py."""
    told = read(folder / "memory.json")
    yield ["`edgeseg run`", "peak, MB", "bare session, MB", "above it, MB"]
    yield ["---", *3 * ["---:"]]
    for name, run_mb in told["run_mb"].items():
        yield [name, f"{run_mb:.0f}", f"{told['bare_mb']:.0f}", f"{told['above_mb'][name]:.0f}"]


def regression(folder: Path) -> Iterator[list[str]]:
    """What `edgeseg report --diff` said of an engine and itself, and of one that was made slower."""
    told = read(folder / "regression.json")
    slowed = f"slower by {told['slowdown']:.0%}"
    turns = {name: [one for one in told["in_turns"] if (one["new"] == "slowed") is slow] for name, slow in TURNS}
    yield ["compared", "how", "comparisons", "no difference", "slower", "faster", "undecided", "ratios that decided"]
    yield ["---", "---", *6 * ["---:"]]
    for what, how, found in (
        ("itself", "in turns", turns["itself"]),
        (slowed, "in turns", turns["slowed"]),
        ("itself", "two records", told["repeats"]),
        (slowed, "two records", told["planted"]),
    ):
        verdicts = [one["verdict"] for one in found]
        ratios = [one["ratio"] for one in found if one["verdict"] != "undecided"]
        yield [
            what,
            how,
            str(len(found)),
            *(str(verdicts.count(verdict)) for verdict in ("no difference", "slower", "faster", "undecided")),
            f"{min(ratios):.3f} to {max(ratios):.3f}" if ratios else "",
        ]


#: Which of the engines that took turns was made slower.
TURNS = (("itself", False), ("slowed", True))
TABLES: dict[str, Callable[[Path], Iterator[list[str]]]] = {
    "models": models,
    "backends": backends,
    "rtx": rtx,
    "repair": repair,
    "training": training,
    "smoothing": smoothing,
    "unknown": unknown,
    "stream": stream,
    "recovery": recovery,
    "peers": peers,
    "front": front,
    "memory": memory,
    "regression": regression,
}


def read(path: Path) -> Record:
    return dict(json.loads(path.read_text()))


def points(share: float) -> str:
    return f"{100 * share:.2f}"


if __name__ == "__main__":
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        page.write_text(fill_tables(page.read_text(encoding="utf-8")), encoding="utf-8")
