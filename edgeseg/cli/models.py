"""`edgeseg models`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from edgeseg.catalog import BACKBONE_PAPERS, COUNTED, DECODER_PAPERS, NETWORKS, Network, Published, zoo_models
from edgeseg.cli.report import json_option, points, print_json, print_table, say
from edgeseg.errors import UsageError, nearest
from edgeseg.files import engines_folder, write_bytes
from edgeseg.graph.shipped import ShippedModel, describe_shipped, name_shipped

if TYPE_CHECKING:
    from edgeseg.bench.tradeoff import Tradeoff

__all__ = ["models"]


@click.command()
@click.option("--filter", "having", metavar="TEXT", default="", help="Only what has this in its name.")
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    metavar="FILE.svg",
    help="Draw accuracy against latency of the engines that were built on this machine.",
)
@click.option(
    "--engines",
    "folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="Where they lie.  [default: where edgeseg build puts them]",
)
@click.option(
    "--bench",
    type=click.Path(path_type=Path, exists=True),
    metavar="DIR",
    help="Latencies of one benchmark: the folder that edgeseg bench wrote.  [default: of the engines' own builds]",
)
@json_option
def models(having: str, plot: Path | None, folder: Path | None, bench: Path | None, as_json: bool) -> None:
    """List the networks that can be trained, and the trained models that edgeseg ships.

    A network's name is DECODER-BACKBONE. GMACs are billions of multiply-adds of convolutions and matrix products for
    one frame. With --plot, the engines that builds on this machine judged on labels (--data) are drawn and listed.

    \b
    Examples:
      edgeseg models
      edgeseg models --filter mobilenet
      edgeseg models --plot engines.svg
      edgeseg models --plot engines.svg --bench runs/bench/street
      edgeseg models --json
    """
    if plot is None and (folder is not None or bench is not None):
        raise UsageError("--engines and --bench go with --plot.", hint="As in: edgeseg models --plot engines.svg")
    networks = [network for network in NETWORKS if having in network.name]
    shipped = {name: path for name, path in zoo_models().items() if having in name}
    drawn = _draw(plot, folder, bench, having) if plot is not None else None
    if not networks and not shipped and drawn is None:
        names = {*zoo_models(), *DECODER_PAPERS, *BACKBONE_PAPERS}
        raise UsageError(f"Nothing has '{having}' in its name.", hint=nearest(having, names))
    if as_json:
        print_json("models", _report(networks, _described(shipped), plot, drawn))
    elif drawn is not None:
        _show_engines(drawn)
    else:
        described = _described(shipped)
        _show_networks(networks, {model.network for model in described})
        _show_shipped(described)


def _report(
    networks: Sequence[Network], shipped: Sequence[ShippedModel], plot: Path | None, drawn: Tradeoff | None
) -> dict[str, Any]:
    report: dict[str, Any] = {
        "counted": {"num_classes": COUNTED.num_classes, "size_hw": COUNTED.size_hw},
        "networks": [
            {
                **msgspec.to_builtins(network),
                "shipped": [model.name for model in shipped if model.network == network.name],
            }
            for network in networks
        ],
        "models": shipped,
    }
    return report if drawn is None else {**report, "plot": {"file": str(plot), **msgspec.to_builtins(drawn)}}


def _described(shipped: Mapping[str, Path]) -> tuple[ShippedModel, ...]:
    """What the files of the shipped models tell; only names where the packages that read them are not installed."""
    try:
        return describe_shipped(shipped)
    except ModuleNotFoundError as error:
        say(f"What the shipped models tell needs the package '{error.name}': pip install 'edgeseg[onnxruntime]'")
        return name_shipped(shipped)


def _draw(plot: Path, folder: Path | None, bench: Path | None, having: str) -> Tradeoff:
    """Write the chart of the engines that were built here, and say which are not in it."""
    from edgeseg.bench.record import read_record
    from edgeseg.bench.tradeoff import read_tradeoff
    from edgeseg.bench.tradeoff_chart import tradeoff_svg

    if plot.suffix != ".svg":
        raise UsageError(f"--plot {plot} is no .svg file.", hint="As in: edgeseg models --plot engines.svg")
    record = None if bench is None else read_record(bench / "bench.json" if bench.is_dir() else bench)
    found = read_tradeoff(folder or engines_folder(), having=having, record=record)
    write_bytes(plot, tradeoff_svg(found).encode())
    for left_out in found.left_out:
        say(f"Left out: {left_out.engine}: {left_out.reason}.")
    for warning in found.warnings:
        say(f"warning: {warning} Time them in turns: edgeseg bench ENGINE... -o DIR; then add --bench DIR")
    say(f"{plot} holds the chart.")
    return found


def _show_networks(networks: Sequence[Network], shipped: Set[str | None]) -> None:
    """A row for each backbone and a column for each decoder; then the papers, and what they report.

    Args:
        networks: Those to show.
        shipped: Names of those with shipped weights.
    """
    if not networks:
        return
    decoders, backbones = (sorted({getattr(network, part) for network in networks}) for part in ("decoder", "backbone"))
    costs = {
        (network.backbone, network.decoder): f"{_cost(network)}{' *' if network.name in shipped else ''}"
        for network in networks
    }
    height, width = COUNTED.size_hw
    corner = "backbone \\ decoder"
    print_table(
        f"Networks DECODER-BACKBONE: GMACs at {height}x{width} / million parameters, * with shipped weights",
        (corner, *decoders),
        [(backbone, *(costs.get((backbone, decoder), "") for decoder in decoders)) for backbone in backbones],
        whole=(corner,),
    )
    parts = [(name, DECODER_PAPERS[name]) for name in decoders] + [(name, BACKBONE_PAPERS[name]) for name in backbones]
    papers = {paper: ", ".join(name for name, own in parts if own == paper) for _, paper in parts}
    print_table("Papers", ("part", "paper"), [(names, paper) for paper, names in papers.items()])
    published = [_published_row(network.name, report) for network in networks for report in network.published]
    if published:
        columns = ("network", "data", "mIoU", "GFLOPs", "M parameters", "source")
        print_table("What papers report, at their sizes and in their way of counting", columns, published)


def _cost(network: Network) -> str:
    return f"{network.macs / 1e9:6.2f} / {network.parameters / 1e6:5.2f}"


def _published_row(name: str, found: Published) -> tuple[str, ...]:
    parameters = f"{found.parameters / 1e6:.2f}"
    return name, f"{found.data} {found.split}", points(found.miou), f"{found.gflops:g}", parameters, found.source


def _show_shipped(shipped: Sequence[ShippedModel]) -> None:
    if not shipped:
        return
    columns = ("name", "network", "M params", "size", "GMACs", "float mIoU", "INT8 mIoU", "drop")
    print_table("Models that edgeseg ships", columns, [_shipped_row(model) for model in shipped], whole=("name",))
    rows = [(model.name, *licence) for model in shipped if model.card for licence in model.card.licence.items()]
    if rows:
        print_table("Their licences", ("name", "of", "licence"), rows, whole=("name",))


def _shipped_row(model: ShippedModel) -> tuple[str, ...]:
    return (
        f"{model.name} (default)" if model.default else model.name,
        model.network or "",
        "" if model.parameters is None else f"{model.parameters / 1e6:.2f}",
        "" if model.size_hw is None else _size(model.size_hw),
        "" if model.macs is None else f"{model.macs / 1e9:.2f}",
        points(model.float_miou),
        points(model.int8_miou),
        points(model.drop),
    )


def _show_engines(found: Tradeoff) -> None:
    rows = [
        (
            "*" if point.on_front else "",
            point.model,
            _size(point.size_hw),
            point.backend,
            point.precision,
            f"{point.p50_ms:.2f}",
            points(point.miou),
            "yes" if point.engine else "",
        )
        for point in found.points
    ]
    print_table(
        f"Built on this machine ({found.device}), judged on {found.frames} frames of {found.data}; * on the front",
        ("", "model", "size", "backend", "precision", "p50 ms", "mIoU", "kept"),
        rows,
    )


def _size(size_hw: tuple[int, int]) -> str:
    return "{}x{}".format(*size_hw)
