"""Sinks for several sources at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeseg.data.images import read_frame
from edgeseg.errors import EdgesegError
from edgeseg.labels import VOID
from edgeseg.stream import Patience, Segmented, Sink, StreamReport, open_source, run_stream
from edgeseg.stream.sinks.images import StillImage
from edgeseg.stream.sinks.several import Mosaic, PerSource
from edgeseg.stream.sources.several import Several
from tests.stream.parts import make_session


class Keep(Sink):
    """Keeps copies of what it was shown."""

    output = "window"

    def __init__(self) -> None:
        self.frames: list[np.ndarray] = []
        self.class_maps: list[np.ndarray] = []
        self.sources: set[str] = set()
        self.closed = self.idled = 0

    def write(self, segmented: Segmented) -> None:
        self.frames.append(segmented.frame.copy())
        self.class_maps.append(segmented.class_map.copy())
        self.sources.add(segmented.captured.source)
        assert segmented.overlay.shape == segmented.frame.shape

    def idle(self, report: StreamReport) -> None:
        self.idled += 1

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize(
    ("count", "size"),
    [
        pytest.param(2, (48, 128), id="two side by side"),
        pytest.param(3, (96, 128), id="three in two rows"),
        pytest.param(5, (96, 192), id="five in two rows of three"),
    ],
)
def test_all_sources_are_shown_in_one_picture(
    count: int, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeseg.stream.sinks.several.PERIOD_S", 0.0)
    sizes = ["width=64&height=48"] + ["width=32&height=24"] * (count - 1)
    uris = [f"synthetic://?{one}&frames=3&seed={seed}" for seed, one in enumerate(sizes)]
    sink = Keep()
    with make_session() as session, Several([open_source(uri) for uri in uris]) as source:
        names = [part.name for part in source.parts]
        run_stream(session, source, [Mosaic(sink, names)])
    assert len(sink.frames) == 3 * count and sink.frames[-1].shape[:2] == size and sink.sources == {""}
    for place in range(count):
        row, column = divmod(place, size[1] // 64)
        part = (slice(row * 48, row * 48 + 48), slice(column * 64, column * 64 + 64))
        assert sink.frames[-1][part].any() and (sink.class_maps[-1][part] != VOID).all()
    if count % (size[1] // 64):
        assert (sink.class_maps[-1][-48:, -64:] == VOID).all() and not sink.frames[-1][-48:, -64:].any()
    assert sink.closed == 1


def test_a_mosaic_shows_no_more_pictures_than_an_eye_can_see() -> None:
    sink = Keep()
    with make_session() as session, Several([open_source("synthetic://?width=32&height=24&frames=200")] * 1) as source:
        run_stream(session, source, [Mosaic(sink, ["synthetic"])])
    assert 1 <= len(sink.frames) < 200


def test_each_source_has_a_sink_of_its_own(tmp_path: Path) -> None:
    uris = [f"synthetic://?width=64&height=48&frames=3&seed={seed}" for seed in range(2)]
    opened: list[str] = []

    def open_one(name: str) -> Sink:
        opened.append(name)
        return StillImage(tmp_path / f"{name}.png", 1)

    with make_session() as session, Several([open_source(uri) for uri in uris]) as source:
        report = run_stream(session, source, [PerSource(str(tmp_path / "%s.png"), open_one)])
    assert sorted(opened) == ["synthetic-1", "synthetic-2"] and report.outputs == [str(tmp_path / "%s.png")]
    pictures = [read_frame(tmp_path / f"{name}.png") for name in opened]
    assert not np.array_equal(*pictures)


def test_where_one_fails_at_its_end_the_others_are_closed_and_it_is_told() -> None:
    class Broken(Keep):
        def close(self) -> None:
            super().close()
            raise EdgesegError("it is not whole")

    sinks = {"synthetic-1": Broken(), "synthetic-2": Keep()}
    uris = ["synthetic://?width=32&height=24&frames=2"] * 2
    with (
        make_session() as session,
        Several([open_source(uri) for uri in uris]) as source,
        pytest.raises(EdgesegError, match="not whole"),
    ):
        run_stream(session, source, [PerSource("%s", sinks.__getitem__)])
    assert [sink.closed for sink in sinks.values()] == [1, 1]


def test_in_a_picture_of_all_the_one_that_is_gone_is_dimmed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeseg.stream.sinks.several.PERIOD_S", 0.0)
    sink = Keep()
    size = "synthetic://?width=320&height=240"
    patience = Patience(stall_s=0.5, pause_s=60)
    uris = [f"{size}&fps=30&stall_at=5&stall_s=60", f"{size}&fps=30&frames=45&seed=1"]
    with make_session() as session, Several([open_source(uri, patience=patience) for uri in uris]) as source:
        names = [part.name for part in source.parts]
        seen = lambda: bool(sink.frames) and source.parts[0].health.state == "stalled" and len(sink.frames) > 30  # noqa: E731
        run_stream(session, source, [Mosaic(sink, names)], stop=seen)
    gone, live = sink.frames[-1][:, :320], sink.frames[-1][:, 320:]
    assert (sink.class_maps[-1][:, :320] == VOID).all() and (sink.class_maps[-1][:, 320:] != VOID).any()
    assert gone[..., 0].mean() < 0.6 * live[..., 0].mean()
