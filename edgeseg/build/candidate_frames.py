"""Frames that may be calibrated on, looked through once: as pictures, and with the float network's eyes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx_ir as ir

from edgeseg.build.float_view import View, views
from edgeseg.build.prepared import open_prepared
from edgeseg.build.recipe import BuildRecipe
from edgeseg.data.calibration import FrameSet, NamedFrame, open_frames
from edgeseg.data.frame_watch import FrameWatch
from edgeseg.data.uri import local_path
from edgeseg.errors import UsageError

__all__ = ["OnProgress", "look_through", "open_candidates", "refuse_among_frames"]

#: Told the share done, 0 to 1 or None where it is unknown, and what goes on.
OnProgress = Callable[[float | None, str], None]


def open_candidates(
    recipe: BuildRecipe, limit: int, sheet: Path | None, on_progress: OnProgress
) -> tuple[ir.Model, FrameSet]:
    """The prepared graph of `recipe.model`, and at most `limit` frames of `recipe.calib`.

    Raises:
        UsageError: There is no such model or source, or the contact sheet would lie among the frames.
        ModelFileError: The model is damaged, or prepared it computes something else.
    """
    on_progress(None, "read the model")
    _, prepared = open_prepared(recipe)
    on_progress(None, f"find the frames of {recipe.calib}")
    frames = open_frames(recipe.calib, limit=limit)
    if sheet is not None:
        refuse_among_frames(sheet, frames)
    return prepared, frames


def look_through(
    prepared: ir.Model,
    frames: FrameSet,
    on_frame: Callable[[int], None],
    see: Callable[[NamedFrame], None] = lambda _: None,
) -> tuple[FrameWatch, list[View]]:
    """Decode each frame once, and keep its look and what the network sees in it.

    Args:
        prepared: A prepared graph with its card.
        frames: To look through.
        on_frame: Told how many are done, after each.
        see: Shown each frame in passing.
    """
    watch, seen = FrameWatch(), []
    for view in views(frames.watched(watch.add).watched(see), prepared):
        seen.append(view)
        on_frame(len(seen))
    return watch, seen


def refuse_among_frames(sheet: Path, frames: FrameSet) -> None:
    """Refuse a contact sheet that would become a frame of the source, or replace one.

    Raises:
        UsageError: It would, or it is no .png.
    """
    if sheet.suffix.lower() != ".png":
        raise UsageError(f"A contact sheet is a .png file, not {sheet}.", hint=f"Name it {sheet.with_suffix('.png')}")
    folder, place = local_path(frames.origin), sheet.resolve()
    inside = folder is not None and folder.is_dir() and place.is_relative_to(folder.resolve())
    if inside or place in {Path(name).resolve() for name in frames.names}:
        raise UsageError(
            f"The contact sheet {sheet} would lie among the frames of {frames.origin}, and become one of them.",
            hint="Write to another folder.",
        )
