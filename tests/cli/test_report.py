"""How figures and progress are told."""

from __future__ import annotations

import math

import pytest

from edgeseg.cli import report


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (754, "12:34"), (3600, "1:00:00"), (90_061, "25:01:01")]
)
def test_times_are_told_as_on_a_clock(seconds: float, text: str) -> None:
    assert report.format_time(seconds) == text


@pytest.mark.parametrize(("share", "text"), [(0.714, "71.40"), (-0.005, "-0.50"), (None, "-"), (math.nan, "-")])
def test_shares_are_told_in_points(share: float | None, text: str) -> None:
    assert report.points(share) == text


def test_without_a_terminal_a_line_every_ten_seconds_tells_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that is resumed at a half and does a tenth in 20 seconds has 80 seconds left."""
    clock = iter([0.0, 0.0, 9.0, 20.0, 21.0])
    monkeypatch.setattr(report.time, "monotonic", lambda: next(clock))
    with report.progress("Training") as update:
        for share in (0.5, 0.55, 0.6, 0.61):
            update(share, "epoch 2")
    assert capsys.readouterr().err == "Training: 60% epoch 2, 1:20 left\n"


def test_without_an_end_there_is_no_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 11.0])
    monkeypatch.setattr(report.time, "monotonic", lambda: next(clock))
    with report.progress("Running") as update:
        update(None, "frame 7")
    assert capsys.readouterr().err == "Running: frame 7\n"
