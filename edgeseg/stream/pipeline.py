"""The stream: frames from a source, through a session, into sinks."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from edgeseg.backends.session import Session
from edgeseg.errors import SourceLost
from edgeseg.stream.inference import LOOK_S, Answer, Inference
from edgeseg.stream.meter import Meter
from edgeseg.stream.options import StreamOptions
from edgeseg.stream.output import REPORT_S, Outputs
from edgeseg.stream.report import StreamReport
from edgeseg.stream.roi import Region
from edgeseg.stream.sink import Segmented, Sink
from edgeseg.stream.slot import Ended, Slot
from edgeseg.stream.source import Source

__all__ = ["Callbacks", "run_stream"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Callbacks:
    """Who is told what; all are called in the thread of `run_stream`.

    Attributes:
        on_frame: Each frame and its class map, valid during the call.
        on_report: The counts, times and states so far, about four times a second.
        on_life: Called while frames are shown, or somebody waits for a camera to come back, and never while the session
            or a sink hangs: for a watchdog.
    """

    on_frame: Callable[[Segmented], None] | None = None
    on_report: Callable[[StreamReport], None] = lambda report: None
    on_life: Callable[[], None] = lambda: None


def run_stream(
    session: Session,
    source: Source,
    sinks: Sequence[Sink] = (),
    options: StreamOptions = StreamOptions(),
    callbacks: Callbacks = Callbacks(),
    *,
    stop: Callable[[], bool] = lambda: False,
) -> StreamReport:
    """Segment the frames of a source, until it ends, enough frames were inferred, or `stop` says True.

    A thread reads, resizes and infers; the calling one draws, and calls sinks and callbacks. Between them lies the
    newest answer of a live source, so that slow sinks miss frames and delay none, or the next answer of a file, so that
    they get them all.

    Args:
        session: For class maps, or for logits where confidence matters. Stays open.
        source: Stays open.
        sinks: Closed at the end, also after an error: what they have until then is kept. One that fails is closed and
            named in the report, and the others go on.
        options: What is asked for.
        callbacks: Who is told.
        stop: Once it says True, frames under way are finished and no more are read.

    Raises:
        UsageError: An option does not fit the session or the frames.
        SourceLost: The source was given up, or ended without a frame that could be used.
        SessionHangs: The session has not answered for 10 s. Sinks are closed; closing the session may hang too.
        EdgesegError, OSError: The session or the last sink failed.
    """
    meter = Meter(source)
    answers: Slot[Answer] = Slot()
    region = Region(options.roi)
    outputs = Outputs(session.card, sinks, meter, options, region, live=source.live, on_frame=callbacks.on_frame)
    inference = Inference(session, source, answers, meter, options, region)
    with _closed(outputs, inference):
        if stop():
            inference.stop()
        inference.start()
        try:
            _show_all(outputs, answers, inference, callbacks, meter, stop)
        except BaseException:
            inference.stop()
            raise
        finally:
            answers.end()
            inference.join(0.0 if inference.hangs else None)
    if inference.error is not None:
        raise inference.error
    report = meter.report(outputs.outputs())
    if not report.inferred and not stop() and not outputs.wants_to_stop:
        raise SourceLost(f"Not one of {report.captured} frames of '{source.name}' could be used.")
    if report.dropped.corrupt:
        logger.warning("%d of %d frames were damaged and left out.", report.dropped.corrupt, report.captured)
    return report


@contextlib.contextmanager
def _closed(outputs: Outputs, inference: Inference) -> Iterator[None]:
    """Close the sinks at the end. That a session hangs is told whatever they say."""
    try:
        with contextlib.closing(outputs):
            yield
    except Exception:
        inference.check()
        raise


def _show_all(
    outputs: Outputs,
    answers: Slot[Answer],
    inference: Inference,
    callbacks: Callbacks,
    meter: Meter,
    stop: Callable[[], bool],
) -> None:
    """Show answers until there are no more."""
    beats, told = -1, -REPORT_S
    while True:
        try:
            answer = answers.take(LOOK_S)
        except Ended:
            return
        if answer is not None:
            outputs.show(answer)
            inference.done(answer)
        else:
            outputs.idle()
            inference.is_silent()
        if outputs.wants_to_stop or stop():
            inference.stop()
        if time.monotonic() - told >= REPORT_S:
            told = time.monotonic()
            callbacks.on_report(outputs.report)
            if meter.beats() != beats:
                beats = meter.beats()
                callbacks.on_life()
