"""`edgeseg bench`."""

from __future__ import annotations

import datetime
import tempfile
from pathlib import Path
from typing import Any

import click

from edgeseg.cli.native import make_ready, native_options
from edgeseg.cli.options import UPSAMPLE, percentiles, size
from edgeseg.cli.report import json_option, print_json, print_table, progress, say

__all__ = ["bench"]


@click.command()
@click.argument("engines", nargs=-1)
@click.option("-o", "out", type=click.Path(path_type=Path, file_okay=False), help="Folder.  [default: runs/bench/TIME]")
@click.option(
    "--warm-up", "warm_up_ms", type=click.FloatRange(0), default=2000, show_default=True, help="Milliseconds."
)
@click.option("--duration", "duration_s", type=click.FloatRange(0), default=10, show_default=True, help="Seconds.")
@click.option("--iterations", type=click.IntRange(1), default=10, show_default=True, help="Rounds at least.")
@click.option(
    "--percentile",
    "percentiles",
    type=percentiles,
    metavar="P,P",
    default="50,90,99",
    show_default=True,
    help="Of latency.",
)
@click.option(
    "--camera",
    "camera_hw",
    type=size,
    metavar="HxW",
    default="720x1280",
    show_default=True,
    help="Frame to resize from.",
)
@click.option("--upsample", type=UPSAMPLE, default="half", show_default=True, help="Where an ENGINE is a graph.")
@click.option("--batch", type=click.IntRange(1), help="Frames at once.  [default: what each engine was built for]")
@click.option("--gpu-resize", is_flag=True, help="TensorRT: the camera's frame is resized on the GPU.")
@native_options
@json_option
def bench(
    engines: tuple[str, ...], out: Path | None, rebuild: bool, trust_engine: bool, as_json: bool, **settings: Any
) -> None:
    """Time ENGINES in turns: latency, FPS, with and without the resize of a camera's frame.

    ENGINES are paths or names of engines that were built; without any, the one that was built last. A shipped model's
    name or a float .onnx graph with a card is timed in float on ONNX Runtime. The folder gets bench.json, bench.md,
    and every sample.

    \b
    Examples:
      edgeseg bench
      edgeseg bench street-int8.onnx liteseg-efficientnet-lite0-camvid -o runs/bench/street
      edgeseg bench --duration 60 --iterations 1000 --percentile 50,90,99,99.9 --json
    """
    from edgeseg.bench import Settings, run_benchmark, write_benchmark
    from edgeseg.bench.markdown import columns, markdown, row
    from edgeseg.build.graphs import find_or_build, graph_path

    for word in engines or (None,):
        if word is None or graph_path(word) is None:
            make_ready(word, rebuild=rebuild, trust_engine=trust_engine)
    plan = Settings(**settings)
    with tempfile.TemporaryDirectory(prefix="edgeseg-") as folder, progress("Timing") as update:
        found = [(word, find_or_build(word, Path(folder), upsample=plan.upsample)) for word in engines or (None,)]
        named = {word or str(engine.path): engine for word, engine in found}
        done = run_benchmark(named, plan, update)
    out = out or Path("runs") / "bench" / datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    path = write_benchmark(done.record, done.samples_ns, markdown(done.record), out)
    if as_json:
        print_json("bench", done.record)
    else:
        print_table("Timed in turns", columns(done.record), [row(engine) for engine in done.record.engines])
    say(f"{path.with_suffix('.md')} and {path} hold the record.")
