"""Checks of what is installed beside the engine libraries."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import metadata

from edgeseg.catalog import DEFAULT_MODEL, zoo_model
from edgeseg.doctor.check import Check, first_line
from edgeseg.errors import EdgesegError

__all__ = ["check_core", "check_data", "check_graph_tools", "check_model", "check_opencv", "check_training"]


def check_core() -> Check:
    """Versions of the packages that are always there."""
    packages = ("numpy", "msgspec", "click", "rich", "filelock", "platformdirs")
    return _check_packages("core packages", packages, "", "all commands")


def check_opencv() -> Check:
    """Whether OpenCV can be imported, and what its build can do."""
    try:
        import cv2
    except ModuleNotFoundError:
        return Check("opencv", "missing", "cv2 is not installed", "pip install 'edgeseg[vision]'")
    except ImportError as error:
        return Check("opencv", "fails", first_line(error), "pip install --force-reinstall opencv-python-headless")
    has = {name: _built_with(cv2.getBuildInformation(), name) for name in ("FFMPEG", "GStreamer", "GUI")}
    found = f"{cv2.__version__}, " + ", ".join(f"{name} {'yes' if there else 'no'}" for name, there in has.items())
    if not has["FFMPEG"]:
        return Check("opencv", "warning", f"{found}: video files can't be read", "pip install opencv-python-headless")
    return Check("opencv", "ok", found)


def _built_with(information: str, name: str) -> bool:
    match = re.search(rf"^\s*{name}:\s*(\S+)", information, re.MULTILINE)
    return match is not None and match[1] not in ("NO", "NONE")


def check_graph_tools() -> Check:
    """Whether the packages are there that prepare, quantize and export graphs."""
    packages = ("onnx", "onnx-ir", "onnxscript", "onnxruntime")
    return _check_packages("graph tools", packages, "onnxruntime", "only edgeseg export, calibrate, quantize and build")


def check_training() -> Check:
    """Whether torch is there, which only two commands need."""
    return _check_packages("training", ("torch", "safetensors"), "train", "only edgeseg train and export")


def _check_packages(name: str, packages: tuple[str, ...], extra: str, users: str) -> Check:
    versions = {package: _version(package) for package in packages}
    absent = [package for package, version in versions.items() if not version]
    if absent:
        found = f"without {', '.join(absent)}, which {users} need"
        return Check(name, "missing", found, f"pip install 'edgeseg[{extra}]'" if extra else "pip install edgeseg")
    return Check(name, "ok", ", ".join(f"{package} {version}" for package, version in versions.items()))


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def check_model() -> Check:
    """Whether the model that commands take by default came with this install."""
    try:
        path = zoo_model(DEFAULT_MODEL)
    except EdgesegError:
        return Check(
            "default model",
            "missing",
            f"{DEFAULT_MODEL} is not in this install",
            "pip install --force-reinstall edgeseg",
        )
    return Check("default model", "ok", f"{DEFAULT_MODEL}, {path.stat().st_size / 1e6:.1f} MB")


def check_data() -> Iterator[Check]:
    """Which known data sets and demo videos are found."""
    try:
        from edgeseg.data.labelled import KNOWN, find_data_set
        from edgeseg.data.uri import demo_video
    except ImportError as error:
        yield Check("data", "missing", first_line(error), "pip install 'edgeseg[vision]'")
        return
    finders = {f"data set {name}": (find_data_set, name) for name in KNOWN} | {"demo video": (demo_video, "bikes")}
    for title, (find, name) in finders.items():
        try:
            yield Check(title, "ok", str(find(name)))
        except EdgesegError as error:
            yield Check(title, "missing", error.message, error.hint)
