"""Engine libraries behind one narrow seam. Nothing is imported until it is picked."""

from __future__ import annotations

from edgeseg.backends.base import Backend, Engine, EngineOptions
from edgeseg.backends.session import Output, Session, Ticket
from edgeseg.backends.table import BACKENDS, backend_class, installed_backends, open_backend

__all__ = [
    "BACKENDS",
    "Backend",
    "Engine",
    "EngineOptions",
    "Output",
    "Session",
    "Ticket",
    "backend_class",
    "installed_backends",
    "open_backend",
]
