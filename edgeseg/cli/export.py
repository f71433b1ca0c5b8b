"""`edgeseg export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgeseg.cli.options import assignment, recipe_fields, size, weights_options
from edgeseg.cli.report import json_option, print_json, progress, say

__all__ = ["export"]


@click.command(
    epilog="""\b
Examples:
  edgeseg export runs/camvid/best.safetensors -o net.onnx
  edgeseg export liteseg-mobilenet-cityscapes.pth --network liteseg-mobilenetv2 --classes cityscapes \\
      --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 -o liteseg.onnx
"""
)
@click.argument("weights", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("-o", "out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The .onnx file.")
@weights_options
@click.option(
    "--option", "options", type=assignment, multiple=True, metavar="NAME=VALUE", help="Of the network; may be repeated."
)
@click.option("--name", default="", help="Of the model on its card; by default the .onnx file's stem.")
@click.option("--imgsz", type=size, metavar="HxW", help="Default input size on the card; the graph takes any.")
@click.option(
    "--licence", type=assignment, multiple=True, metavar="WHAT=TEXT", help="For the card: weights=..., data=..."
)
@click.option(
    "--measured",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="JSON of edgeseg build --data with this graph: its figures and INT8 recipes go onto the card.",
)
@json_option
def export(
    weights: Path,
    out: Path,
    name: str,
    options: tuple[tuple[str, str], ...],
    imgsz: tuple[int, int] | None,
    licence: tuple[tuple[str, str], ...],
    measured: Path | None,
    as_json: bool,
    **about: Any,
) -> None:
    """Turn the WEIGHTS of a network into an ONNX graph with its card. Needs torch.

    Height and width stay free, so that the input size is chosen at edgeseg build. The graph is run on ONNX
    Runtime and compared with torch before it is kept.
    """
    from edgeseg.build.checkpoint import export_checkpoint
    from edgeseg.build.recipe import BuildRecipe
    from edgeseg.graph.io import graph_card, graph_sha256, save_graph

    with progress("export") as update:
        update(0.1, "trace the network, then compare")
        graph = export_checkpoint(
            BuildRecipe(model=str(weights), **recipe_fields(about)),
            options=_options(options) if options else None,
            model=name or out.stem,
            size_hw=imgsz,
            licence=dict(licence),
            **(_measured(measured) if measured else {}),
        )
        save_graph(graph, out)
    if as_json:
        print_json("export", {"graph": str(out), "graph_sha256": graph_sha256(graph), "nodes": graph.graph.num_nodes()})
        return
    say(f"Wrote {out}, {graph.graph.num_nodes()} nodes, equal to torch.")
    card = graph_card(graph)
    given = "" if card and card.size_hw else " --imgsz HxW"
    say(f"Next: edgeseg build {out} --int8{given} --calib FRAMES")


def _measured(report: Path) -> dict[str, Any]:
    """What a build on labelled frames found out, as fields of the card: figures, and how each dialect was quantized."""
    import msgspec

    from edgeseg.card import Int8Recipe
    from edgeseg.errors import UsageError

    try:
        build = msgspec.json.decode(report.read_bytes(), type=dict[str, Any])
        if (build["schema"], build["gate"]["kind"], build["verdict"]) != ("edgeseg.build/1", "labels", "pass"):
            raise LookupError("it is of no build that passed")
        told = {name: build[name] for name in ("gate", "backend", "dialect", "upsample", "size_hw", "verdict")}
        return {"measured": {"release": told}, "int8": msgspec.convert(build["int8"], dict[str, Int8Recipe])}
    except (msgspec.MsgspecError, LookupError, TypeError) as error:
        raise UsageError(
            f"{report} is no JSON of a build that passed its gate on labels: {error}.",
            hint="Make it: edgeseg build MODEL --int8 --data DIR --json > FILE",
        ) from error


def _options(given: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """Values as in JSON, or plain words."""
    import msgspec

    options: dict[str, Any] = {}
    for name, value in given:
        try:
            options[name] = msgspec.json.decode(value)
        except msgspec.DecodeError:
            options[name] = value
    return options
