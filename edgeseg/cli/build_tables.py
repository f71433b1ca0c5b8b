"""The tables of `edgeseg build`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from edgeseg.cli.report import format_time, points, print_table

if TYPE_CHECKING:
    from edgeseg.build import BuildReport
    from edgeseg.build.report import CandidateReport, Gate, RepairStep

__all__ = ["last_line", "print_build_tables", "release_line", "small_classes_line"]

ACCURACY = {"labels": "mIoU", "agreement": "agreement", "golden": "agreement"}
JUDGED_ON = {
    "labels": "labelled frames",
    "agreement": "frames, agreement with float (not accuracy)",
    "golden": "rendered frames, which prove the engine and not its accuracy",
    "none": "frames",
}


def print_build_tables(report: BuildReport) -> None:
    """Print which calibrators were tried, what was repaired, and all engines with figures and verdicts."""
    if report.calibrators:
        columns = ("dialect", "calibrator", "same class as float, %", "signal to noise, dB", "")
        tried: list[tuple[str, ...]] = [
            (row.dialect, row.calibrator, points(row.agreement), _db(row.snr_db), "▶" if row.picked else "")
            for row in report.calibrators
        ]
        print_table("Calibrators, on frames that ranges were not measured on", columns, tried)
    for engine in dict.fromkeys(step.engine for step in report.repair):
        rows = [_repair_cells(step) for step in report.repair if step.engine == engine]
        print_table(f"Repair of {engine}", _repair_columns(report), rows)
    accuracy = ACCURACY.get(report.gate.kind, "accuracy")
    drop = {"labels": ("drop (95 %)",), "agreement": ("95 %",)}.get(report.gate.kind, ())
    shown = ("backend", "dialect", "precision", "ms p50", "FPS", accuracy, *drop, "MB", "INT8 convs", "verdict")
    engines = [_cells(row, with_drop=bool(drop)) for row in report.candidates]
    print_table(f"Tried, timed in turns; preferred: {report.prefer}", shown, engines)


def _repair_columns(report: BuildReport) -> tuple[str, ...]:
    figure, worst = ("drop", "worst class") if report.gate.kind == "labels" else ("agreement", "least IoU")
    return ("step", "what was done", figure, "gain", worst, "over limit", "INT8 convs", "time", "")


def _repair_cells(step: RepairStep) -> tuple[str, ...]:
    if step.gate is None:
        return step.step, step.detail, "-", "-", "-", "-", "-", format_time(step.seconds), ""
    return (
        step.step,
        step.detail,
        points(step.gate.drop if step.gate.kind == "labels" else step.gate.agreement),
        "" if step.gain is None else f"{100 * step.gain:+.2f}",
        _worst(step.gate),
        "" if step.excess is None else f"{step.excess:+.2f}",
        f"{step.int8_convs}/{step.total_convs}",
        format_time(step.seconds),
        "pass" if step.verdict == "pass" else "kept" if step.kept else "taken back",
    )


def _worst(gate: Gate) -> str:
    """The class that counts and stands worst, in points."""
    if gate.kind == "labels":
        name, value = max(gate.class_drop.items(), key=lambda item: item[1], default=("", None))
    else:
        name, value = min(gate.class_agreement.items(), key=lambda item: item[1], default=("", None))
    return "-" if value is None else f"{name} {points(value)}"


def _cells(row: CandidateReport, *, with_drop: bool) -> tuple[str, ...]:
    verdict = "reference" if row.role == "reference" and not row.picked else f"{row.verdict}: {row.reason}"
    speed = row.speed
    return (
        row.backend,
        row.dialect,
        ", ".join(_variant(row)),
        *((f"{speed.p50_ms:.2f}", f"{speed.fps:.1f}") if speed else ("-", "-")),
        _accuracy(row.gate),
        *((_drop(row.gate),) if with_drop else ()),
        f"{row.size_bytes / 1e6:.1f}",
        f"{row.int8_convs}/{row.total_convs}",
        f"{'▶ ' if row.picked else ''}{verdict}",
    )


def _variant(row: CandidateReport) -> Iterator[str]:
    yield row.precision
    if row.spare_depthwise:
        yield "depthwise in float"
    if row.rest:
        yield f"rest in {row.rest}"
    if row.own_tail:
        yield "own tail"


def _accuracy(gate: Gate | None) -> str:
    if gate is None or gate.kind == "none":
        return "-"
    return points(gate.miou if gate.kind == "labels" else gate.agreement)


def _drop(gate: Gate | None) -> str:
    if gate is not None and gate.agreement_ci95 is not None:
        return " to ".join(points(end) for end in gate.agreement_ci95)
    if gate is None or gate.drop is None:
        return "-"
    interval = "" if gate.drop_ci95 is None else f" ({points(gate.drop_ci95[0])} to {points(gate.drop_ci95[1])})"
    return points(gate.drop) + interval


def _db(snr_db: float | None) -> str:
    return "-" if snr_db is None else f"{snr_db:.1f}"


def small_classes_line(gate: Gate) -> str:
    """What the classes lose that are too small to gate; empty where there are none."""
    small = gate.small_class_drop if gate.kind == "labels" else gate.small_class_agreement
    if not small:
        return ""
    figures = ", ".join(f"{name} {points(value)}" for name, value in small.items())
    what = "Drops" if gate.kind == "labels" else "IoU against float"
    return f"{what} of classes that are too small to gate (--min-class-share): {figures}"


def release_line(release: dict[str, Any]) -> str:
    """What was measured on labels when the model was shipped."""
    gate = release["gate"]
    return (
        f"Accuracy was measured when the model was shipped, on {gate['frames']} labelled frames: mIoU "
        f"{points(gate['miou'])}, float {points(gate['float_miou'])} ({release['backend']} {release['dialect']}). "
        "Measure yours: --data DIR"
    )


def last_line(report: BuildReport) -> str:
    """What was kept, how good and how fast it is, and what to type next."""
    gate, speed = report.gate, report.speed
    judged = f"{report.verdict} on {gate.frames} {JUDGED_ON[gate.kind]}" if gate.frames else report.verdict
    after = f"Next: edgeseg run VIDEO, or edgeseg eval {report.engine} --data DIR"
    if speed is None:
        after = "Next: take it and the files beside it to the machine that can run it; edgeseg run measures it there."
    ratio = f", {speed.ratio:.2f} times as fast as float on {report.baseline}" if speed and speed.ratio else ""
    return (
        f"Kept {report.engine}\n"
        f"{report.backend} {report.precision} {report.dialect}: {judged}{ratio}. {report.seconds:.0f} s.\n{after}"
    )
