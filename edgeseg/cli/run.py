"""`edgeseg run`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click
import msgspec

from edgeseg.cli.interrupt import stopped_by_interrupt
from edgeseg.cli.native import make_ready, native_options
from edgeseg.cli.report import json_option, print_json, progress, say

if TYPE_CHECKING:
    from edgeseg.backends import Engine
    from edgeseg.stream.pipeline import StreamReport
    from edgeseg.stream.sources import Source

__all__ = ["run"]


@click.command()
@click.argument("source")
@click.argument("sinks", nargs=-1, metavar="[SINK]...")
@click.option("--engine", help="Path or name of an engine.  [default: the last built]")
@click.option("--opacity", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="Of the classes' colours.")
@click.option("--frames", type=click.IntRange(min=1), help="Stop after so many frames.")
@click.option("--still", help="Also save the overlay of one frame: a .png or .jpg.")
@click.option("--still-at", type=click.IntRange(min=0), help="Number of that frame.  [default: the middle one]")
@click.option("--gpu-resize", is_flag=True, help="TensorRT: frames are resized on the GPU, not by the processor.")
@native_options
@json_option
def run(
    source: str,
    sinks: tuple[str, ...],
    engine: str | None,
    opacity: float,
    frames: int | None,
    still: str | None,
    still_at: int | None,
    gpu_resize: bool,
    rebuild: bool,
    trust_engine: bool,
    as_json: bool,
) -> None:
    """Segment the frames of SOURCE and give the result to every SINK.

    \b
    SOURCE  an image, a folder of images, a video file, demo://bikes, or a rendered street:
            synthetic://?width=640&height=480&fps=30&frames=100
    SINK    out.mp4 (overlay video), out.png (overlay of one frame), out_%i.jpg (of every frame),
            a folder (class maps as PNG), null:// (nothing).
            Without one: SOURCE-overlay.mp4 in the current folder, or .png for an image.

    Ctrl-C finishes what was begun: the video is whole up to there.

    \b
    Examples:
      edgeseg run street.mp4
      edgeseg run demo://bikes overlay.mp4 --still overlay.png
      edgeseg run photos/ maps/ 'overlays/%i.jpg'
      edgeseg run synthetic://?frames=200 null:// --json
    """
    from edgeseg.build import find_engine

    make_ready(engine, rebuild=rebuild, trust_engine=trust_engine)
    with stopped_by_interrupt("Finishing what was begun") as stop:
        report = _segment(
            find_engine(engine), source, sinks, still, still_at, opacity, frames, stop, gpu_resize=gpu_resize
        )
        interrupted = stop()
    print_json("run", report) if as_json else _tell(report)
    if interrupted:
        click.get_current_context().exit(130)


def _segment(
    engine: Engine,
    uri: str,
    sinks: Sequence[str],
    still: str | None,
    still_at: int | None,
    opacity: float,
    limit: int | None,
    stop: Callable[[], bool],
    *,
    gpu_resize: bool,
) -> StreamReport:
    from edgeseg.build import load_session
    from edgeseg.labels import LabelSet
    from edgeseg.stream import open_sink, open_source, run_stream

    labels = LabelSet(engine.card.classes, engine.card.palette)
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(contextlib.closing(open_source(uri, stop=stop)))
        total = min((count for count in (limit, source.total) if count is not None), default=None)
        words = [*(sinks or [f"{source.name}-overlay.{'png' if source.total == 1 else 'mp4'}"]), *filter(None, [still])]
        at = still_at if still_at is not None or total is None else total // 2
        opened = [open_sink(word, source, labels, still=at) for word in words]
        frame_hw = _one_size(source) if gpu_resize else None
        session = stack.enter_context(load_session(engine, batch=1, frame_hw=frame_hw))
        update = stack.enter_context(progress(f"Segmenting {source.name}"))

        def on_progress(done: int, total: int | None) -> None:
            update(min(1.0, done / total) if total else None, f"{done} frames")

        return run_stream(session, source, opened, opacity=opacity, limit=limit, on_progress=on_progress, stop=stop)


def _one_size(source: Source) -> tuple[int, int]:
    if source.frame_hw is None:
        raise click.UsageError(
            f"The size of all frames of '{source.name}' is not known before; only then they are resized on the GPU."
        )
    return source.frame_hw


def _tell(report: StreamReport) -> None:
    dropped = {reason: count for reason, count in msgspec.structs.asdict(report.dropped).items() if count}
    lost = f" ({', '.join(f'{count} {reason}' for reason, count in dropped.items())} dropped)" if dropped else ""
    where = f" -> {', '.join(report.outputs)}" if report.outputs else ""
    say(f"{report.shown} frames{lost} at {report.fps:.1f} FPS{where}")
