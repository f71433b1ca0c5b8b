"""Camera: frames come by the camera's clock, whether the engine is ready or not; measured is their age."""

from __future__ import annotations

import time

import msgspec

from edgeseg.bench.lane import Lane
from edgeseg.bench.stages import LATENCY
from edgeseg.bench.turns import Turns
from edgeseg.stream import open_source
from edgeseg.stream.options import StreamOptions
from edgeseg.stream.pipeline import Callbacks, run_stream
from edgeseg.stream.sink import Segmented

__all__ = ["measure"]

#: Seconds of a turn.
TURN_S = 5.0


def measure(turns: Turns) -> None:
    """Some seconds a turn, each with the camera opened anew. Frames that were dropped are counted, not forgotten."""
    settings = turns.settings

    def turn(lane: Lane, number: int) -> None:
        answered: list[tuple[int, dict[str, int]]] = []

        def on_frame(segmented: Segmented) -> None:
            stages = {stage: round(1e6 * ms) for stage, ms in segmented.stage_ms.items()}
            times = {LATENCY: round(1e6 * segmented.class_map_age_ms), **stages}
            answered.append((segmented.captured.captured_ns, times))

        seconds = min(TURN_S, settings.duration_s) if settings.duration_s else TURN_S
        with open_source(settings.source) as source:
            begin = time.monotonic()
            report = run_stream(
                lane.session,
                source,
                (),
                StreamOptions(),
                Callbacks(on_frame=on_frame),
                stop=lambda: time.monotonic() - begin >= seconds,
            )
        # Only now, so that a turn that is broken off counts neither frames nor time.
        for begin_ns, times in answered:
            lane.note(begin_ns, times)
        lane.seconds += report.shown / report.fps if report.fps else time.monotonic() - begin
        lane.note_camera(
            source.fps,
            report.captured,
            report.inferred,
            {reason: count for reason, count in msgspec.structs.asdict(report.dropped).items() if count},
        )

    def done(lane: Lane) -> float:
        return lane.seconds / settings.duration_s if settings.duration_s else float(bool(lane.frames))

    turns.measure(turn, done)
