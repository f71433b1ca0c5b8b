"""`edgeseg demo`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from edgeseg.cli.report import json_option, print_json, say
from edgeseg.cli.sinks import open_sinks
from edgeseg.cli.streaming import Asked, segment, stream_options, tell
from edgeseg.errors import UsageError

if TYPE_CHECKING:
    from edgeseg.backends import Engine
    from edgeseg.stream import Sink, Source

__all__ = ["demo"]

#: Ports that are tried for the page, and told.
PORTS = range(8080, 8090)


@click.command()
@click.argument("source", required=False)
@click.option("--page", is_flag=True, help="A page in the browser, even where there is a display.")
@stream_options
@json_option
def demo(source: str | None, page: bool, as_json: bool, **given: Any) -> None:
    """Segment what the camera sees, in a window or, without a display, on a page.

    SOURCE is the first camera found, or a street video where there is none. The engine is the one built last; where
    there is none, the default INT8 engine is built first, which takes a minute.

    \b
    Examples:
      edgeseg demo
      edgeseg demo rtsp://10.0.0.7/street --page
      edgeseg demo --save-hard 100
    """
    from edgeseg.stream.sinks.window import has_display

    asked = Asked(**given)
    _have_engine(asked.engine)
    uri = source or _pick_camera()
    if uri.startswith("demo://"):
        asked = Asked(**{**given, "policy": asked.policy or "latest", "loop": True})

    def opened(source: Source, engine: Engine) -> list[Sink]:
        words = ["display://0"] if has_display() and not page else [f"web://127.0.0.1:{_free_port()}"]
        return open_sinks(words, source, engine.card, still_at=None, limit=asked.frames, hard=asked.save_hard)

    report, interrupted = segment(asked, [uri], opened)
    if as_json:
        print_json("demo", report)
    else:
        tell(report, live=True)
    if interrupted or report.failed:
        click.get_current_context().exit(130 if interrupted else 1)


def _have_engine(word: str | None) -> None:
    """Build the default engine where none was ever built and none was named."""
    from edgeseg.build import find_engine
    from edgeseg.cli.build import build

    try:
        find_engine(word)
    except UsageError:
        if word is not None:
            raise
        say("There is no engine yet: edgeseg build --int8 makes one first.")
        build.main(["--int8"], standalone_mode=False)


def _pick_camera() -> str:
    """The address of the first camera, one at the board's own port before USB, and of a video where there is none."""
    from edgeseg.device.cameras import list_cameras, port_addresses

    cameras, ports = list_cameras(), port_addresses()
    if ports:
        others = "".join(f" {camera.device}" for camera in cameras)
        say(f"Camera: {ports[0]}, at the board's own port." + (f" Others:{others}" if others else ""))
        return ports[0]
    if not cameras:
        say("No camera was found: the demo video is played. A camera is given as in: edgeseg demo rtsp://host/path")
        return "demo://bikes"
    camera = cameras[0]
    others = f" Others: {', '.join(str(one.device) for one in cameras[1:])}" if cameras[1:] else ""
    say(f"Camera: {camera.name} at {camera.device}.{others}")
    return str(camera.lasting or camera.device)


def _free_port() -> int:
    """The first port of the demo's that nobody listens at."""
    import socket

    for port in PORTS:
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    return 0
