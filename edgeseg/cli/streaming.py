"""What `edgeseg run` and `edgeseg demo` have in common: options, and a stream with its progress and its end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from edgeseg.cli.interrupt import stopped_by_interrupt
from edgeseg.cli.native import make_ready, native_options
from edgeseg.cli.report import fail, progress, say
from edgeseg.errors import UsageError

if TYPE_CHECKING:
    from edgeseg.backends import Engine
    from edgeseg.backends.session import Output, Session
    from edgeseg.stream import Sink, Source, StreamReport
    from edgeseg.stream.live import Patience
    from edgeseg.stream.options import StreamOptions

__all__ = ["Asked", "segment", "stream_options", "tell"]

Command = TypeVar("Command", bound=Callable[..., Any])
#: Seconds in which a service that is asked to end does so, whatever hangs.
DRAIN_S = 3.0

_OPTIONS = (
    click.option("--engine", help="Path or name of an engine.  [default: the last built]"),
    click.option(
        "--policy",
        type=click.Choice(["latest", "all"]),
        help="latest: the newest frame, older ones are dropped and counted. all: every one that comes.  "
        "[default: latest for cameras, all for files]",
    ),
    click.option("--target-fps", type=click.FloatRange(min=0, min_open=True), help="Infer no more frames a second."),
    click.option("--frames", type=click.IntRange(min=1), help="Stop after so many frames."),
    click.option("--loop", is_flag=True, help="Begin a file anew at its end."),
    click.option("--roi", metavar="X,Y,W,H", help="Segment this part of the frame: pixels, or shares of it up to 1."),
    click.option("--opacity", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="Of the colours."),
    click.option("--hud/--no-hud", default=None, help="State, FPS and frame age in the picture.  [default: if live]"),
    click.option("--smooth", type=click.FloatRange(0, 1), default=0.0, help="Temporal smoothing, 0 (none) to 1."),
    click.option("--unknown", type=click.FloatRange(0, 1), help="Pixels below this confidence have no class."),
    click.option(
        "--save-hard",
        type=click.IntRange(min=1),
        metavar="N",
        help="Keep the N frames the network is least sure of in hard-frames/, to calibrate or train on.",
    ),
    click.option("--wait-source", is_flag=True, help="Wait for a camera that is not there yet."),
    click.option(
        "--max-reconnects", type=click.IntRange(min=0), help="Give a camera up (exit code 6) after so many attempts."
    ),
    click.option("--stall-after", type=click.FloatRange(0.1), help="Seconds without a frame.  [2; 10 in networks]"),
    click.option("--gpu-resize", is_flag=True, help="TensorRT: frames are resized on the GPU, not by the processor."),
)


def stream_options(command: Command) -> Command:
    """The options of both commands, which become the fields of `Asked`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return native_options(command)


@dataclass(frozen=True)
class Asked:
    """The options as they were given."""

    engine: str | None
    policy: Any
    target_fps: float | None
    frames: int | None
    loop: bool
    roi: str | None
    opacity: float
    hud: bool | None
    smooth: float
    unknown: float | None
    save_hard: int | None
    wait_source: bool
    max_reconnects: int | None
    stall_after: float | None
    gpu_resize: bool
    rebuild: bool
    trust_engine: bool

    def patience(self, uri: str) -> Patience:
        """With a camera at that address."""
        from dataclasses import replace

        from edgeseg.stream.sources.opening import patience_with

        patience = replace(patience_with(uri), reconnects=self.max_reconnects, wait=self.wait_source)
        return replace(patience, stall_s=self.stall_after) if self.stall_after is not None else patience

    def options(self) -> StreamOptions:
        """For `run_stream`."""
        from edgeseg.stream.options import StreamOptions
        from edgeseg.stream.roi import Roi

        return StreamOptions(
            opacity=self.opacity,
            hud=self.hud,
            roi=Roi.parse(self.roi) if self.roi is not None else None,
            target_fps=self.target_fps,
            smooth=self.smooth,
            unknown=self.unknown,
            limit=self.frames,
        )


def segment(
    asked: Asked, uris: Sequence[str], open_sinks: Callable[[Source, Engine], list[Sink]]
) -> tuple[StreamReport, bool]:
    """Run a stream, and say whether it was interrupted.

    Args:
        asked: The options.
        uris: Of the sources.
        open_sinks: Opens the sinks, once the source is open.
    """
    from edgeseg.build import find_engine
    from edgeseg.service import Notifier
    from edgeseg.stream.inference import SessionHangs
    from edgeseg.stream.pipeline import Callbacks, run_stream

    options = asked.options()
    make_ready(asked.engine, rebuild=asked.rebuild, trust_engine=asked.trust_engine)
    engine = find_engine(asked.engine)
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(stopped_by_interrupt("Finishing what was begun", drain_s=DRAIN_S))
        notifier = stack.enter_context(contextlib.closing(Notifier()))
        source = stack.enter_context(_open_sources(asked, uris, stop))
        for note in source.notes:
            say(f"note: {note}")
        session = stack.enter_context(_open_session(asked, engine, source, options, len(uris)))
        sinks = open_sinks(source, engine)
        update = stack.enter_context(progress(f"Segmenting {source.name}"))
        notifier.ready()

        def on_report(report: StreamReport) -> None:
            total = min((count for count in (options.limit, source.total) if count is not None), default=None)
            note = _live_line(report) if source.live else f"{report.shown} frames, {report.recent_fps:.1f} FPS"
            update(min(1.0, report.shown / total) if total else None, note)
            notifier.status(note)

        callbacks = Callbacks(on_report=on_report, on_life=notifier.alive)
        try:
            report = run_stream(session, source, sinks, options, callbacks, stop=stop)
        except SessionHangs as error:
            context = click.get_current_context()
            words = partial(fail, context.info_name or "", error, as_json=bool(context.params.get("as_json")))
            stop.end_soon(words)
            raise
        notifier.stopping()
        return report, stop()


def _open_sources(asked: Asked, uris: Sequence[str], stop: Callable[[], bool]) -> Source:
    from edgeseg.stream import open_source
    from edgeseg.stream.sources.several import Several

    with contextlib.ExitStack() as stack:
        sources = [
            stack.enter_context(
                open_source(uri, policy=asked.policy, loop=asked.loop, stop=stop, patience=asked.patience(uri))
            )
            for uri in uris
        ]
        stack.pop_all()
    return Several(sources) if len(sources) > 1 else sources[0]


def _open_session(asked: Asked, engine: Engine, source: Source, options: StreamOptions, sources: int) -> Session:
    from edgeseg.build import load_session

    logits = asked.unknown is not None or asked.save_hard is not None
    output: Output = "logits" if logits else "class_map"
    frame_hw = _one_size(source, options) if asked.gpu_resize else None
    for batch in (sources, 1):  # A frame of each source at once, else in turns; else what the engine takes.
        with contextlib.suppress(UsageError):
            return load_session(engine, output, batch=batch, frame_hw=frame_hw)
    return load_session(engine, output, frame_hw=frame_hw)


def _one_size(source: Source, options: StreamOptions) -> tuple[int, int]:
    if source.frame_hw is None:
        raise click.UsageError(
            f"The size of all frames of '{source.name}' is not known before; only then they are resized on the GPU."
        )
    if options.roi is None:
        return source.frame_hw
    window = options.roi.window(source.frame_hw)
    return window.height, window.width


def _live_line(report: StreamReport) -> str:
    states = {source.state for source in report.sources}
    age = report.frame_age_ms
    state = "/".join(sorted(states)) + (" (frozen picture)" if any(source.frozen for source in report.sources) else "")
    ages = f"{age.p50:.0f}/{age.p95:.0f}/{age.p99:.0f}"
    return f"{state}, {report.shown} frames, {report.recent_fps:.1f} FPS, age {ages} ms"


def tell(report: StreamReport, *, live: bool) -> None:
    """The last line: what was shown and lost, how old it was, and where it lies."""
    dropped = {reason: count for reason, count in msgspec.structs.asdict(report.dropped).items() if count}
    lost = f" ({', '.join(f'{count} {reason}' for reason, count in dropped.items())} dropped)" if dropped else ""
    where = f" -> {', '.join(report.outputs)}" if report.outputs else ""
    age = report.frame_age_ms
    old = f", frame age {age.p50:.1f} / {age.p95:.1f} / {age.p99:.1f} ms (p50 / p95 / p99)" if live else ""
    if live and report.cold_start_ms is not None:
        until = report.class_map_age_ms
        stages = ", ".join(f"{stage} {ms:.1f}" for stage, ms in report.stage_ms.items())
        say(f"class map age {until.p50:.1f} / {until.p95:.1f} / {until.p99:.1f} ms; medians in ms: {stages}")
        say(f"{report.cold_start_ms / 1e3:.2f} s from the start of the process to the first class map")
    again = f", {report.stalls} stalls, {report.reconnects} reconnects" if report.stalls or report.reconnects else ""
    say(f"{report.shown} frames{lost} at {report.fps:.1f} FPS{old}{again}{where}")
    for name, reason in report.failed.items():
        say(f"warning: {name} was switched off: {reason}")
