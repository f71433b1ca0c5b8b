"""A benchmark's record as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from edgeseg.bench.record import EngineRecord, Record

__all__ = ["columns", "markdown", "row"]


def columns(record: Record) -> list[str]:
    """Heads of the table of engines."""
    wanted = [f"p{p:g} ms" for p in record.settings.percentiles]
    return [
        "engine",
        "backend",
        "precision",
        "size",
        *wanted,
        "FPS",
        *(f"{p} with resize" for p in wanted[:1]),
        "FPS with resize",
    ]


def row(engine: EngineRecord) -> list[str]:
    """One engine of the table; `n/a` where there were too few runs for a percentile."""
    alone, resized = engine.inference, engine.with_resize
    first = next(iter(resized.percentiles_ms.values()))
    return [
        engine.name,
        f"{engine.backend} {engine.library}",
        f"{engine.precision} {engine.dialect}" if engine.dialect != "float" else engine.precision,
        f"{engine.size_hw[0]}x{engine.size_hw[1]}" + (f", batch {engine.batch}" if engine.batch > 1 else ""),
        *(_ms(value) for value in alone.percentiles_ms.values()),
        f"{alone.fps:.1f}",
        _ms(first),
        f"{resized.fps:.1f}",
    ]


def _ms(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.2f}"


def markdown(record: Record) -> str:
    """The table, how it was measured, where, and the command that measures it again."""
    device, settings, versions = record.environment.device, record.settings, record.environment.versions
    before, after = record.environment.load_average
    threads = sorted({str(engine.execution.get("threads", "?")) for engine in record.engines})
    height, width = settings.camera_hw
    lines = [
        f"# Benchmark of {record.created}",
        "",
        *_table(columns(record), [row(engine) for engine in record.engines]),
        "",
        f"{record.engines[0].inference.runs} runs of each in turns, closed loop, after {settings.warm_up_ms:g} ms of "
        "warm-up. FPS are frames over the time that the calls took; a percentile is given where at least one run lies "
        f"beyond it. With resize: from a camera's frame of {width}x{height} to the class map. Class maps include the "
        f"argmax. Every sample: {record.samples}.",
        "",
        f"- Machine: {' '.join(filter(None, (device.board, device.cpu)))}, {device.cores} cores"
        + (f", {device.power_mode}" if device.power_mode else "")
        + (f", {device.governor}" if device.governor else ""),
        f"- CPU features: {', '.join(device.cpu_features) or 'unknown'}",
        f"- GPU: {', '.join(gpu.name for gpu in device.gpus) or 'none'}",
        f"- System: {device.os}, kernel {device.kernel}, Python {device.python}"
        + (f", JetPack {device.jetpack}" if device.jetpack else ""),
        f"- Versions: {', '.join(f'{name} {version}' for name, version in versions.items())}",
        f"- Threads of the engines: {', '.join(threads)}",
        f"- Load average before and after: {before:.2f}, {after:.2f}",
        "",
        "Measure it again:",
        "",
        "```",
        record.command,
        "```",
        "",
    ]
    return "\n".join(lines)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return [line(heads), "|" + " --- |" * len(heads), *(line(cells) for cells in rows)]
