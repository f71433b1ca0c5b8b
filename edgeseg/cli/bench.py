"""`edgeseg bench`."""

from __future__ import annotations

import datetime
import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from edgeseg.cli.bench_matrix import NAMES, matrix_options, matrix_plan
from edgeseg.cli.interrupt import stopped_by_interrupt
from edgeseg.cli.native import make_ready, native_options
from edgeseg.cli.options import UPSAMPLE, duration, percentiles, size
from edgeseg.cli.report import json_option, print_json, print_table, progress, say
from edgeseg.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeseg.backends import Engine
    from edgeseg.bench import Record, Settings
    from edgeseg.bench.kept import Samples

    Measured = tuple[Record, Samples]
    Progress = Callable[[float | None, str], None]

__all__ = ["bench"]


@click.command()
@click.argument("engines", nargs=-1)
@click.option("-o", "out", type=click.Path(path_type=Path, file_okay=False), help="Folder.  [default: runs/bench/TIME]")
@click.option(
    "--scenario",
    type=click.Choice(["single-stream", "throughput", "camera"]),
    default="single-stream",
    show_default=True,
    help="One frame after the other; several in flight; or frames that come by a camera's clock.",
)
@click.option("--soak", type=duration, metavar="TIME", help="One frame after the other for so long (10m): drift.")
@click.option(
    "--duration", "duration_s", type=duration, metavar="TIME", default="60s", show_default=True, help="Each at least."
)
@click.option("--iterations", type=click.IntRange(1), default=1024, show_default=True, help="Frames of each at least.")
@click.option(
    "--warm-up", "warm_up_s", type=duration, metavar="TIME", default="2s", show_default=True,
    help="At least; it goes on until the times are steady, for 30 s at most.",
)  # fmt: skip
@click.option(
    "--percentile",
    "percentiles",
    type=percentiles,
    metavar="P,P",
    default="50,90,99",
    show_default=True,
    help="Of latency.",
)
@click.option("--frames", default="", metavar="DIR", help="A folder or a video.  [default: a rendered street]")
@click.option(
    "--camera", "camera_hw", type=size, metavar="HxW", default="480x640", show_default=True, help="Of rendered frames."
)
@click.option(
    "--source",
    default="synthetic://?width=640&height=480&fps=30",
    show_default=True,
    help="Camera of --scenario camera.",
)
@click.option("--in-flight", type=click.IntRange(1, 2), default=2, show_default=True, help="Of --scenario throughput.")
@click.option("--upsample", type=UPSAMPLE, default="half", show_default=True, help="Where an ENGINE is a graph.")
@click.option("--batch", type=click.IntRange(1), help="Frames at once.  [default: what each engine was built for]")
@click.option("--gpu-resize", is_flag=True, help="TensorRT: the camera's frame is resized on the GPU.")
@click.option(
    "--roofline/--no-roofline",
    default=True,
    help="Compare with what this machine can do, layer by layer; not with --matrix.",
)
@matrix_options
@native_options
@json_option
def bench(
    engines: tuple[str, ...],
    out: Path | None,
    soak: float | None,
    roofline: bool,
    rebuild: bool,
    trust_engine: bool,
    as_json: bool,
    matrix: bool,
    **settings: Any,
) -> None:
    """Measure ENGINES in turns: latency from a camera's frame to the class map, FPS, and each stage.

    ENGINES are paths or names of engines that were built; without any, the one that was built last. A shipped model's
    name or a float .onnx graph with a card is measured in float on ONNX Runtime. The folder gets bench.html, bench.md,
    bench.json, and every sample. Ctrl-C ends it and keeps what was measured.

    \b
    Examples:
      edgeseg bench
      edgeseg bench street-int8.onnx liteseg-efficientnet-lite0-camvid -o runs/bench/street
      edgeseg bench --duration 5s --iterations 100
      edgeseg bench --scenario camera --source 0
      edgeseg bench --soak 10m
      edgeseg bench --matrix --imgsz 240x320,360x480 --threads 1,2 --duration 15s -o runs/bench/matrix
    """
    from edgeseg.bench import Settings
    from edgeseg.build.graphs import graph_path

    asked = {name: settings.pop(name) for name in NAMES}
    if soak is not None:
        _refuse_beside_soak(click.get_current_context())
        settings |= {"scenario": "soak", "duration_s": soak}
    plan = Settings(**settings)
    out = out or Path("runs") / "bench" / datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    _check_writable(out)
    if matrix:
        record, samples = _matrix(engines, out, asked, plan)
        if not record.complete:
            say(f"Stopped; go on with: {record.command}")
        _keep(record, samples, out, as_json=as_json)
        return
    if given := [name for name, value in asked.items() if value is not None]:
        raise click.UsageError(f"--{'imgsz' if given[0] == 'sizes' else given[0]} goes with --matrix.")
    for word in engines or (None,):
        if word is None or graph_path(word) is None:
            make_ready(word, rebuild=rebuild, trust_engine=trust_engine)
    _keep(*_measured(engines, plan, roofline=roofline), out, as_json=as_json)


def _refuse_beside_soak(context: click.Context) -> None:
    for name, option in (("scenario", "--scenario"), ("duration_s", "--duration")):
        if context.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--soak is a scenario of its own, with its own time; leave out {option}.")


def _check_writable(out: Path) -> None:
    """Find out before anything is measured whether it can be kept.

    Raises:
        UsageError: It can't.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
    except OSError as error:
        raise UsageError(f"{out} can't be written to: {error.strerror}.", hint="Give another folder: -o DIR") from error


def _matrix(models: tuple[str, ...], out: Path, asked: dict[str, Any], plan: Settings) -> Measured:
    from edgeseg.bench.matrix import run_matrix

    with progress("Measuring") as update:
        return run_matrix(matrix_plan(models, out, asked, plan), out, update)


def _measured(engines: tuple[str, ...], plan: Settings, *, roofline: bool) -> Measured:
    from edgeseg.bench import run_benchmark
    from edgeseg.bench.roofline.add import add_rooflines
    from edgeseg.bench.runner import options_of
    from edgeseg.build.graphs import find_or_build

    with tempfile.TemporaryDirectory(prefix="edgeseg-") as folder:
        with progress("Building") as update:
            update(None, "engines of graphs")
            found = [(word, find_or_build(word, Path(folder), upsample=plan.upsample)) for word in engines or (None,)]
        named = _named([(word or str(engine.path), engine) for word, engine in found])
        with stopped_by_interrupt("Keeping what was measured") as stopped:
            with progress("Measuring") as update:
                done = run_benchmark(named, plan, update, stopped=stopped)
            if roofline:
                with progress("Roofline") as update:
                    done = add_rooflines(done, named, _unless(stopped, update))
    words = [word or str(engine.path) for word, engine in found]
    options = [*options_of(plan), *([] if roofline else ["--no-roofline"])]
    command = shlex.join(["edgeseg", "bench", *words, *options])
    return msgspec.structs.replace(done.record, command=command), done.samples


def _unless(stopped: Callable[[], bool], update: Progress) -> Progress:
    """Progress that ends, where it was stopped, what it is told of."""

    def tell(share: float | None, what: str) -> None:
        if stopped():
            raise KeyboardInterrupt
        update(share, what)

    return tell


def _named(found: list[tuple[str, Engine]]) -> dict[str, Engine]:
    """Engines by their names; of the same name given again, with a number behind it."""
    named: dict[str, Engine] = {}
    for name, engine in found:
        number = 1 + sum(known == name or known.startswith(f"{name} (") for known in named)
        named[name if number == 1 else f"{name} ({number})"] = engine
    return named


def _keep(record: Record, samples: Samples, out: Path, *, as_json: bool) -> None:
    """Write all that a benchmark leaves, and tell it."""
    from edgeseg.bench import read_record, write_record
    from edgeseg.bench.markdown import columns, doubts, drift_words, markdown, row
    from edgeseg.bench.page import html

    try:
        path = write_record(record, samples, out)
    except OSError as error:
        kept = Path(tempfile.mkdtemp(prefix="edgeseg-bench-"))
        say(f"warning: {out} can't be written to ({error.strerror}); what was measured is kept in {kept}.")
        out, path = kept, write_record(record, samples, kept)
    if as_json:
        print_json("bench", read_record(path))
    else:
        rows = [row(record, engine) for engine in record.engines]
        print_table(f"Measured in turns, {record.settings.scenario}", columns(record), rows)
    for name, reason in record.left_out.items():
        say(f"warning: {name} was left out: {reason}")
    for doubt in doubts(record):
        say(f"warning: {doubt}")
    for engine in record.engines:
        if engine.drift is not None:
            say(f"{engine.name}: {drift_words(engine.drift)}")
    _write_pages({"bench.md": markdown(record), "bench.html": html([(record, samples)])}, path)
    failed = [engine for engine in record.engines if engine.failed]
    for engine in failed:
        say(f"error: {engine.name} failed: {engine.failed}")
    if not record.complete or failed:
        click.get_current_context().exit(1 if failed else 130)


def _write_pages(pages: dict[str, str], record: Path) -> None:
    """Write what is made of a record beside it; where that fails, the record is there still."""
    from edgeseg.files import write_bytes

    try:
        for name, text in pages.items():
            write_bytes(record.with_name(name), text.encode())
    except OSError as error:
        say(f"warning: {record} holds the record, but its pages could not be written ({error.strerror}).")
        say(f"Make them later: edgeseg report {record} -o DIR")
    else:
        say(f"{record.with_suffix('.html')} shows it, and {record} holds the record.")
