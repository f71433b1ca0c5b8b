"""GStreamer through PyGObject, which the system's package manager installs and pip does not."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterable
from typing import Any

from edgeseg.errors import MissingDependency

__all__ = ["load_gstreamer", "missing_elements"]

#: Of the parts that are used, the version and Debian's package.
PARTS = {
    "GLib": ("2.0", "gir1.2-glib-2.0"),
    "Gst": ("1.0", "gir1.2-gstreamer-1.0"),
    "GstVideo": ("1.0", "gir1.2-gst-plugins-base-1.0"),
    "GstRtspServer": ("1.0", "gir1.2-gst-rtsp-server-1.0"),
}


def load_gstreamer(*parts: str) -> tuple[Any, ...]:
    """Initialise GStreamer and give its modules, `Gst` first, then `parts` in their order.

    Raises:
        MissingDependency: PyGObject is not seen by this Python, or one of the parts is not installed.
    """
    names = ("Gst", *parts)
    try:
        gi = importlib.import_module("gi")
        for name in names:
            gi.require_version(name, PARTS[name][0])
        with warnings.catch_warnings():
            # PyGObject before 3.44 has an importer of the old kind, of which Python 3.11 warns.
            warnings.simplefilter("ignore", ImportWarning)
            modules = tuple(importlib.import_module(f"gi.repository.{name}") for name in names)
    except (ImportError, ValueError) as error:
        packages = " ".join(["python3-gi", *(PARTS[name][1] for name in names)])
        raise MissingDependency(
            f"GStreamer can't be used from this Python: {str(error).strip()}.",
            hint=f"sudo apt install {packages}, and a venv made by the system's Python with --system-site-packages",
        ) from error
    if not modules[0].is_initialized():
        modules[0].init(None)
    return modules


def missing_elements(names: Iterable[str]) -> list[str]:
    """Those of the elements that no installed plugin has.

    Raises:
        MissingDependency: GStreamer itself can't be used.
    """
    (gst,) = load_gstreamer()
    return [name for name in names if gst.ElementFactory.find(name) is None]
