"""The library's log: one logger per process, which is all that it takes."""

from __future__ import annotations

from functools import cache
from typing import Any

from edgeseg.backends.tensorrt.library import Library, Name, open_library

__all__ = ["last_errors", "runtime_logger"]

#: Errors that are kept.
LAST = 5


@cache
def runtime_logger(name: Name) -> Any:
    """The logger of all that runs engines in this process. It keeps the last errors, and says nothing by itself."""
    return _logger(open_library(name))


def last_errors(name: Name) -> str:
    """What the library said last in errors; that is forgotten then."""
    logger = runtime_logger(name)
    said = "; ".join(logger.errors)
    logger.errors.clear()
    return said or "it gives no reason"


def _logger(library: Library) -> Any:
    severity = library.module.ILogger.Severity

    class Logger(library.module.ILogger):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, level: Any, message: str) -> None:
            if level in (severity.ERROR, severity.INTERNAL_ERROR):
                self.errors[:] = [*self.errors[1 - LAST :], message]

    return Logger()
