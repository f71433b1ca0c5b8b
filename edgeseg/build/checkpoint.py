"""From a checkpoint to the float graph with its card. Needs torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx_ir as ir

from edgeseg import __version__
from edgeseg.card import Card
from edgeseg.errors import MissingDependency, ModelFileError, UsageError
from edgeseg.files import sha256_file
from edgeseg.labels import label_set

__all__ = ["export_checkpoint"]


def export_checkpoint(
    path: Path,
    *,
    network: str = "",
    classes: str = "",
    options: dict[str, Any] | None = None,
    **card: Any,
) -> ir.Model:
    """The float graph of a checkpoint, compared with torch before it is returned.

    Args:
        path: Weights as `.safetensors` or `.pth`. Those that `edgeseg train` wrote say the rest themselves.
        network: Name in the registry.
        classes: As `label_set` takes them.
        options: Of the network.
        card: Further fields of its card: `model` (else the file's stem), `size_hw`, `licence`, `measured`.

    Raises:
        MissingDependency: torch is not installed.
        UsageError: The network or the classes are not known.
        ModelFileError: The weights do not fit.
    """
    try:
        from edgeseg.graph.export import export_onnx
        from edgeseg.models import create_model, load_weights
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "safetensors"):
            raise
        raise MissingDependency(
            f"A checkpoint needs '{error.name}', which is not installed.",
            hint="Install it: pip install 'edgeseg[train]'. Or export elsewhere, and build from the .onnx file here.",
        ) from error
    recipe = _recipe(path)
    network, classes = network or recipe.get("model", ""), classes or recipe.get("classes", "")
    if not network or not classes:
        raise UsageError(
            f"{path} does not say which network it is and which classes it has.",
            hint="Say so: --network liteseg-mobilenetv2 --classes cityscapes",
        )
    options = recipe.get("options", {}) if options is None else options
    labels = label_set(classes)
    net = create_model(network, num_classes=len(labels), **options)
    load_weights(net, path)
    own = {
        "model": path.stem,
        "network": network,
        "options": options,
        "classes": labels.names,
        "palette": labels.palette,
        "upsampling": net.upsampling,
        "made_from": {"weights": sha256_file(path)},
        "tools": {"edgeseg": __version__},
    }
    return export_onnx(net, Card(kind="graph", **{**own, **card}))


def _recipe(path: Path) -> dict[str, Any]:
    """The training recipe in a safetensors file's metadata, empty where there is none."""
    if path.suffix != ".safetensors":
        return {}
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            recipe: dict[str, Any] = json.loads((file.metadata() or {}).get("recipe", "{}"))
    except (SafetensorError, ValueError) as error:
        raise ModelFileError(f"The weights {path} could not be read: {error}") from error
    return recipe
