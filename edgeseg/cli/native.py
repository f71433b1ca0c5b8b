"""Options for engines of native code, which fit one machine and are opened where that machine built them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgeseg.cli.report import progress, say

if TYPE_CHECKING:
    from edgeseg.build.recipe import BuildRecipe

__all__ = ["batch_profile", "build_recipe", "make_ready", "native_options", "tensorrt_given", "tensorrt_options"]

Command = TypeVar("Command", bound=Callable[..., Any])


def native_options(command: Command) -> Command:
    """`--rebuild` and `--trust-engine`."""
    rebuild = click.option(
        "--rebuild", is_flag=True, help="Build a TensorRT engine that does not fit any more anew, from its graph."
    )
    trust = click.option(
        "--trust-engine", is_flag=True, help="Open an engine that another machine built; its code can do all you can."
    )
    return rebuild(trust(command))


def batch_profile(text: str) -> tuple[int, int, int]:
    """Three numbers of frames with commas between, none below the one before; one stands for all three."""
    numbers = [int(word) for word in text.split(",") if word.strip().isdigit()]
    numbers = numbers * 3 if len(numbers) == 1 else numbers
    if len(numbers) != 3 or text.count(",") not in (0, 2) or not 1 <= numbers[0] <= numbers[1] <= numbers[2] <= 1024:
        raise click.BadParameter(f"'{text}' is no batch; give the fewest, usual and most frames, as in 1,4,8.")
    return numbers[0], numbers[1], numbers[2]


#: Options of `edgeseg build` for TensorRT, each the field of the recipe's [tensorrt] table that it sets.
TENSORRT = {
    "workspace_mib": click.option(
        "--workspace", "workspace_mib", type=click.IntRange(1), metavar="MIB", help="TensorRT: memory a layer may use."
    ),
    "optimization_level": click.option(
        "--optimization-level", type=click.IntRange(0, 5), help="TensorRT: how long to search for fast kernels."
    ),
    "hardware": click.option(
        "--hardware-compatibility",
        "hardware",
        type=click.Choice(["none", "ampere-plus", "same-compute-capability"]),
        help="TensorRT: other GPUs that shall load the engine; slower.",
    ),
    "any_version": click.option(
        "--version-compatible", "any_version", is_flag=True, help="TensorRT: later versions can load it; slower."
    ),
    "dla_core": click.option(
        "--dla-core", type=click.IntRange(0, 3), help="TensorRT: a Jetson's accelerator, with the GPU for the rest."
    ),
    "batch": click.option(
        "--batch", type=batch_profile, metavar="MIN,OPT,MAX", help="TensorRT: frames at once, fewest, usual and most."
    ),
    "sparse": click.option("--sparse", is_flag=True, help="TensorRT: use that weights are 2:4 sparse."),
    "memory": click.option(
        "--memory", type=click.Choice(["auto", "mapped", "copied"]), help="TensorRT: where frames lie; see the README."
    ),
    "cuda_graph": click.option(
        "--cuda-graph/--no-cuda-graph", default=None, help="TensorRT: start all of a frame's work at once."
    ),
    "spin": click.option("--spin", is_flag=True, help="TensorRT: wait for the GPU without sleeping; takes a core."),
    "timeout_s": click.option(
        "--timeout", "timeout_s", type=click.FloatRange(0, min_open=True), help="TensorRT: seconds a build may take."
    ),
}


def tensorrt_options(command: Command) -> Command:
    """Those of `TENSORRT`."""
    for option in reversed(TENSORRT.values()):
        command = option(command)
    return command


def tensorrt_given(options: dict[str, Any]) -> dict[str, Any]:
    """Those of TensorRT's options that were given, which are taken out of `options`."""
    given = {name: options.pop(name) for name in TENSORRT}
    return {
        name: value
        for name, value in given.items()
        if value is not None and (value is not False or name == "cuda_graph")
    }


def build_recipe(path: str | None, model: str | None, given: dict[str, Any], tensorrt: dict[str, Any]) -> BuildRecipe:
    """A build recipe: that of a bundle where the model is one, with what a file says, and options over both.

    Args:
        path: Of the file, or the name of a shipped one.
        model: As on the command line.
        given: Fields of the recipe that options were given for.
        tensorrt: Those of its [tensorrt] table.

    Raises:
        UsageError: There is no such file, or its content or the options can't be meant.
    """
    import msgspec

    from edgeseg.build.bundle import is_bundle
    from edgeseg.build.from_bundle import recipe_for_bundle
    from edgeseg.build.recipe import BuildRecipe
    from edgeseg.recipes import decode_toml, find_toml, keys_in

    if path is not None:
        file = find_toml(path, "engines")
        told, keys = decode_toml(file, BuildRecipe), keys_in(file)
        tensorrt = {name: getattr(told.tensorrt, name) for name in keys.pop("tensorrt", {})} | tensorrt
        given = {name: getattr(told, name) for name in keys} | given
    name = str(given.get("model", model or ""))
    try:
        before = recipe_for_bundle(name, given, tensorrt) if is_bundle(name) else BuildRecipe()
        return msgspec.structs.replace(before, **given, tensorrt=msgspec.structs.replace(before.tensorrt, **tensorrt))
    except ValueError as error:
        raise click.UsageError(f"{error}.") from error


def make_ready(word: str | None, *, rebuild: bool, trust_engine: bool) -> None:
    """Do what the options ask for with the engine that `word` means.

    Raises:
        UsageError: There is no such engine.
        ModelFileError, EngineMismatch: It can't be built anew.
    """
    if not (rebuild or trust_engine):
        return
    from edgeseg.build.identity import trust
    from edgeseg.build.rebuild import PREVIOUS, fits, is_whole
    from edgeseg.build.rebuild import rebuild as build_anew
    from edgeseg.build.store import find_engine, find_path

    path = find_path(word)
    if trust_engine and (not rebuild or is_whole(path)):
        trust(find_engine(word))
    if rebuild and not fits(path):
        with progress(f"Building {path.name} anew") as update:
            build_anew(path, update)
        say(f"Built {path} anew; the engine before lies in {path.parent / PREVIOUS}.")
