"""`edgeseg run`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from edgeseg.cli.report import json_option, print_json, say
from edgeseg.cli.sinks import default_sink, open_sinks
from edgeseg.cli.streaming import Asked, segment, stream_options, tell

if TYPE_CHECKING:
    from edgeseg.backends import Engine
    from edgeseg.stream import Sink, Source

__all__ = ["run"]


@click.command()
@click.argument("source")
@click.argument("sinks", nargs=-1, metavar="[SINK]...")
@click.option("--also", multiple=True, metavar="SOURCE", help="One more source for the same engine; may be repeated.")
@click.option("--still", help="Also save the overlay of one frame: a .png or .jpg.")
@click.option("--still-at", type=click.IntRange(min=0), help="Number of that frame.  [default: the middle one]")
@stream_options
@json_option
def run(
    source: str,
    sinks: tuple[str, ...],
    also: tuple[str, ...],
    still: str | None,
    still_at: int | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Segment the frames of SOURCE and give the result to every SINK.

    \b
    SOURCE  a USB camera (0, /dev/video0, /dev/v4l/by-id/..., v4l2:///dev/video0?width=1280&height=720&fps=30),
            csi://0 (Jetson), picamera://0 (Raspberry Pi), 'rtsp://user:$PASSWORD@host/path' ($NAME is looked up
            in the environment, so that no list of processes shows it), http://host/video.mjpg,
            a video file, an image, a folder of images, demo://bikes, or a rendered street with faults to rehearse:
            synthetic://?width=640&height=480&fps=30&stall_at=100&stall_s=5
    SINK    display:// (a window; h lists its keys), web://127.0.0.1:8080 (a page, with /metrics),
            out.mp4 (overlay video), out.png (overlay of one frame), out_%i.jpg (of every frame),
            a folder (class maps as PNG), area.jsonl (area by class), rtsp://127.0.0.1:8554/out, null:// (nothing).
            Without one: a window where there is a display, else SOURCE-overlay.mp4 in the current folder.

    A camera that fails is opened again, for ever unless --max-reconnects is given. A sink that fails is switched off
    and named, and the others go on. Ctrl-C finishes what was begun: the video is whole up to there.
    Of several sources (--also), windows and pages show all; files need %s for the name of each: out-%s.mp4.

    \b
    Examples:
      edgeseg run 0
      edgeseg run street.mp4 overlay.mp4 --still overlay.png
      edgeseg run rtsp://10.0.0.7/street web://127.0.0.1:8080 area.jsonl --wait-source
      edgeseg run /dev/video0 --also /dev/video2 web://127.0.0.1:8080
      edgeseg run photos/ maps/ 'overlays/%i.jpg'
      edgeseg run 'synthetic://?width=640&height=480&fps=30&frames=300' null:// --json
    """
    asked = Asked(**given)
    shape = {"live": False}

    def opened(source: Source, engine: Engine) -> list[Sink]:
        shape["live"] = source.live
        words = [*(sinks or [default_sink(source)]), *filter(None, [still])]
        return open_sinks(words, source, engine.card, still_at=still_at, limit=asked.frames, hard=asked.save_hard)

    report, interrupted = segment(asked, (source, *also), opened)
    if as_json:
        print_json("run", report)
    else:
        tell(report, live=shape["live"])
    if report.failed:
        say("error: not all results are whole.")
    if interrupted or report.failed:
        click.get_current_context().exit(130 if interrupted else 1)
