"""From a checkpoint to the float graph with its card. Needs torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx_ir as ir

from edgeseg import __version__
from edgeseg.build.recipe import PREPROCESSING, BuildRecipe, preprocess_of, refuse_options
from edgeseg.card import Card, Preprocess
from edgeseg.errors import MissingDependency, ModelFileError, UsageError
from edgeseg.files import sha256_file
from edgeseg.labels import label_set

__all__ = ["export_checkpoint", "training_of"]


def export_checkpoint(about: BuildRecipe, *, options: dict[str, Any] | None = None, **card: Any) -> ir.Model:
    """The float graph of a checkpoint, compared with torch before it is returned.

    Args:
        about: Path of the weights, `.safetensors` or `.pth`, and what they do not say: network, classes, and the
            preprocessing they were trained with. Those that `edgeseg train` wrote say it all.
        options: Of the network.
        card: Further fields of its card: `model` (else the file's stem), `size_hw` (else the size that it was validated
            at), `licence`, `measured`; None for what is not known.

    Raises:
        MissingDependency: torch is not installed.
        UsageError: The network, the classes or the preprocessing are not known, or are said twice.
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
    path = Path(about.model)
    told = training_of(path)
    recipe = told.get("recipe", {})
    network, classes = about.network or recipe.get("model", ""), about.classes or recipe.get("classes", "")
    if not network or not classes:
        raise UsageError(
            f"{path} does not say which network it is and which classes it has.",
            hint="Say so: --network liteseg-mobilenetv2 --classes cityscapes",
        )
    if recipe:
        refuse_options(about, PREPROCESSING, "was trained by edgeseg, which knows its preprocessing")
    preprocess = Preprocess() if recipe else preprocess_of(about)
    options = recipe.get("options", {}) if options is None else options
    labels = label_set(classes)
    net = create_model(network, num_classes=len(labels), **options)
    load_weights(net, path)
    own: dict[str, Any] = {
        "model": path.stem,
        "network": network,
        "options": options,
        "classes": labels.names,
        "palette": labels.palette,
        "preprocess": preprocess,
        "size_hw": tuple(told["size_hw"]) if "size_hw" in told else None,
        "upsampling": net.coordinates(),
        "made_from": {"weights": sha256_file(path), **told.get("made_from", {})},
        "tools": {"edgeseg": __version__},
    }
    given = {name: value for name, value in card.items() if value is not None}
    return export_onnx(net, Card(kind="graph", **own | given))


def training_of(path: Path) -> dict[str, Any]:
    """What weights tell of the run of `edgeseg train` that made them; empty where they came from elsewhere.

    Raises:
        ModelFileError: The file is damaged.
    """
    if path.suffix != ".safetensors":
        return {}
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            told: dict[str, Any] = json.loads((file.metadata() or {}).get("training", "{}"))
    except (SafetensorError, ValueError, OSError) as error:
        raise ModelFileError(f"The weights {path} could not be read: {error}") from error
    return told
