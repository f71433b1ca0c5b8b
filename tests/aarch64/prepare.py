"""What two machines are to compute the same from: labelled frames, and the default model's engines.

Usage: python prepare.py FOLDER HxW

FOLDER gets `frames/street` (rendered) and `frames/video` (of the demo video), both labelled by the float engine,
`frames/camvid` where CamVid is found, and one engine of ONNX Runtime for each dialect in `engines`.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import cv2
import numpy as np

from edgeseg.backends import Engine, open_backend
from edgeseg.build.candidates import Candidate, build_candidate
from edgeseg.build.engine_graph import MadeGraphs
from edgeseg.build.graph_facts import Quantization
from edgeseg.build.prepared import open_prepared
from edgeseg.build.quantizations import first_recipe
from edgeseg.build.recipe import BuildRecipe
from edgeseg.card import Dialect, card_path
from edgeseg.data.calibration import open_frames
from edgeseg.data.labelled import open_validation
from edgeseg.data.resize import resize_frame
from edgeseg.data.scene import Frame, Scene
from edgeseg.device.cpu import int8_saturates
from edgeseg.errors import UsageError
from edgeseg.evaluate.sessions import class_maps
from edgeseg.graph.io import require_card
from edgeseg.quantize.ranges import load_ranges

FRAMES = 4
DIALECTS: tuple[Dialect, ...] = ("float", "u8-asym", "s8-sym")


def write_engines(folder: Path, size_hw: tuple[int, int]) -> Engine:
    """One engine for each dialect, as a build with the shipped ranges makes it. Returns the float one."""
    recipe = BuildRecipe(imgsz=size_hw)
    model, prepared = open_prepared(recipe)
    assert model.ranges is not None, "the default model has no ranges beside it"
    ranges, backend = load_ranges(model.ranges), open_backend("onnxruntime")
    folder.mkdir()
    for dialect in DIALECTS:
        how = None
        if dialect != "float":
            how = Quantization(first_recipe(recipe, require_card(prepared), dialect), ranges)
        candidate = Candidate(backend, "int8" if how else "fp32", dialect, "candidate")
        path = build_candidate(candidate, MadeGraphs(prepared, recipe.upsample), how, recipe, folder).engine.path
        card_path(path).rename(card_path(folder / f"{dialect}.onnx"))
        path.rename(folder / f"{dialect}.onnx")
        path.parent.rmdir()
    return Engine.open(folder / "float.onnx")


def write_street(folder: Path, engine: Engine) -> None:
    """Rendered frames of the engine's size."""
    scene = Scene(engine.card.fixed_size_hw)
    write_answered(folder, engine, [scene.render(60 * index).copy() for index in range(FRAMES)])


def write_video(folder: Path, engine: Engine) -> None:
    """Frames of the demo video at the engine's size."""
    card, video = engine.card, open_frames("demo://bikes", limit=FRAMES)
    frames = [resize_frame(frame, card.fixed_size_hw, card.preprocess.resize) for _, frame in video]
    write_answered(folder, engine, frames)


def write_answered(folder: Path, engine: Engine, frames: list[Frame]) -> None:
    """Frames whose labels are the engine's answers on this machine."""
    with open_backend("onnxruntime").load(engine) as session:
        labels = list(class_maps(session, frames))
    for name, pictures in {"images": frames, "labels": labels}.items():
        (folder / name).mkdir(parents=True)
        for index, picture in enumerate(pictures):
            cv2.imwrite(str(folder / name / f"{index}.png"), picture)


def write_camvid(folder: Path, num_classes: int) -> None:
    """Frames of CamVid's validation drive with their labels, evenly spaced; nothing where it is not found."""
    try:
        found = open_validation("camvid", num_classes)
    except UsageError as error:
        print(f"Without labelled frames of CamVid: {error}")
        return
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for index in np.linspace(0, len(found) - 1, FRAMES).round().astype(int):
        image, label = found.pairs[index]
        shutil.copy(image, folder / "images")
        shutil.copy(label, folder / "labels")


def main() -> None:
    if int8_saturates():
        sys.exit("This CPU has no VNNI, so sums of INT8 products saturate: a board would rightly answer otherwise.")
    folder = Path(sys.argv[1])
    height, width = map(int, sys.argv[2].split("x"))
    engine = write_engines(folder / "engines", (height, width))
    write_street(folder / "frames/street", engine)
    write_video(folder / "frames/video", engine)
    write_camvid(folder / "frames/camvid", engine.card.num_classes)


if __name__ == "__main__":
    main()
