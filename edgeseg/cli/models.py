"""`edgeseg models`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from edgeseg.card import Card
from edgeseg.catalog import DEFAULT_MODEL, NETWORKS, Network, zoo_models
from edgeseg.cli.report import json_option, points, print_json, print_table, say

__all__ = ["models"]


@click.command()
@json_option
def models(as_json: bool) -> None:
    """List the networks that can be trained, and the trained models that edgeseg ships.

    \b
    Examples:
      edgeseg models
      edgeseg models --json
    """
    shipped = {name: _card(path) for name, path in zoo_models().items()}
    if as_json:
        print_json(
            "models", {"networks": NETWORKS, "models": [_described(name, card) for name, card in shipped.items()]}
        )
        return
    print_table("Networks", ("name", "parameters", "papers", "published"), [_network_row(net) for net in NETWORKS])
    columns = ("name", "network", "classes", "measured", "licence of the weights")
    print_table(
        "Models that edgeseg ships",
        columns,
        [_model_row(name, card) for name, card in shipped.items()],
        whole=("name",),
    )


def _card(path: Path) -> Card | None:
    """The card inside a shipped model, None where the package that reads ONNX files is not installed."""
    try:
        from edgeseg.graph.io import graph_card, load_graph
    except ModuleNotFoundError as error:
        say(f"The cards of the shipped models need the package '{error.name}': pip install 'edgeseg[onnxruntime]'")
        return None
    return graph_card(load_graph(path))


def _described(name: str, card: Card | None) -> dict[str, Any]:
    return {"name": name, "default": name == DEFAULT_MODEL, "card": msgspec.to_builtins(card)}


def _network_row(network: Network) -> tuple[str, ...]:
    figures = (f"{100 * p.miou:.2f} mIoU on {p.data} {p.split}, {p.gflops:g} GFLOPs" for p in network.published)
    return network.name, f"{network.parameters / 1e6:.2f} M", "\n".join(network.papers), "\n".join(figures)


def _model_row(name: str, card: Card | None) -> tuple[str, ...]:
    shown = f"{name} (default)" if name == DEFAULT_MODEL else name
    if card is None:
        return shown, "", "", "", ""
    return shown, card.network, str(card.num_classes), _release(card), card.licence.get("weights", "")


def _release(card: Card) -> str:
    """What was measured on labelled frames when the model was shipped."""
    release: dict[str, Any] = card.measured.get("release", {})
    if not release:
        return ""
    gate = release["gate"]
    return (
        f"mIoU {points(gate['float_miou'])}, INT8 {points(gate['miou'])} "
        f"({gate['frames']} frames, --upsample {release['upsample']}, {release['backend']} {release['dialect']})"
    )
