"""The process that builds one engine: a crash of the library ends it, and nothing else.

It reads a `Request` as one line of JSON from stdin, writes each `Message` as a line of JSON to stdout, and ends when
stdin does, so that it does not outlive the process that started it.
"""

from __future__ import annotations

import os
import sys

import msgspec

from edgeseg.backends.tensorrt.construct import construct
from edgeseg.backends.tensorrt.request import Failure, Message, Request
from edgeseg.children import end_with_stdin
from edgeseg.errors import MissingDependency, UsageError

__all__ = ["main"]


def main() -> None:
    """Build what stdin asks for."""
    # The library writes to stdout by itself; messages keep the real one.
    messages = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    request = msgspec.json.decode(sys.stdin.buffer.readline(), type=Request)
    end_with_stdin()

    def tell(message: Message) -> None:
        messages.write(msgspec.json.encode(message) + b"\n")

    try:
        tell(construct(request, tell))
    except MissingDependency as error:
        tell(Failure("library", error.message, error.hint))
    except UsageError as error:
        tell(Failure("options", error.message, error.hint))
    except OSError as error:
        tell(Failure("files", f"{error.strerror or error}", "Free some space, or build into another folder: -o DIR"))
