"""Starts the process that builds an engine, watches over it, and turns its end into an answer or an error."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from edgeseg.backends.tensorrt.advice import SMALLER, advice
from edgeseg.backends.tensorrt.request import Answer, Failure, Message, Progress, Refused, Request
from edgeseg.children import child_environment
from edgeseg.errors import EdgesegError, MissingDependency, ModelFileError, UsageError

__all__ = ["build_plan"]

#: Without the current folder on the path, where `-m` and `-c` would put it: what lies there is a stranger's.
CODE = "import sys; sys.path[:1] = filter(None, sys.path[:1]); from edgeseg.backends.tensorrt.child import main; main()"
COMMAND = (sys.executable, "-c", CODE)
DECODER: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)
#: Lines of the parser that tell where in its own code it was, or that there is no GPU.
NOISE = re.compile(r"\[\w+\.cpp::|Invalid Node - ")
PLACE = re.compile(r"\.? In \w+ at /[^\s)]+")
#: Lines of a log that an error quotes.
LAST = 3


def build_plan(request: Request, on_progress: Callable[[float, str], None] = lambda *_: None) -> Answer:
    """Build a plan in a process of its own, which ends with this one and with Ctrl-C.

    Args:
        request: What to build.
        on_progress: Told the share done of a phase, 0 to 1, and its name.

    Raises:
        ModelFileError: The parser or the builder refuses the graph, or the library crashed on it.
        UsageError: The library lacks what an option needs.
        MissingDependency: The library is not installed for this Python.
        EdgesegError: The build took longer than it may, or was killed for its memory.
    """
    last: Message | None = None
    with _child(request) as child:
        watch = threading.Timer(request.options.timeout_s, child.kill)
        watch.start()
        assert child.stdout is not None
        try:
            for line in child.stdout:
                last = DECODER.decode(line)
                if isinstance(last, Progress):
                    on_progress(last.share, last.phase)
            code, late = child.wait(), not watch.is_alive()
        finally:
            watch.cancel()
    if isinstance(last, Answer):
        return last
    raise _of_failure(request, last) if isinstance(last, Failure) else _of_end(request, code, late=late)


@contextlib.contextmanager
def _child(request: Request) -> Iterator[subprocess.Popen[bytes]]:
    """The process, given its request. It is killed where it still runs at the end."""
    with Path(request.log + ".stderr").open("wb") as said:
        child = subprocess.Popen(
            COMMAND, stdin=-1, stdout=-1, stderr=said, start_new_session=True, env=child_environment()
        )
    try:
        assert child.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            child.stdin.write(msgspec.json.encode(request) + b"\n")
            child.stdin.flush()
        yield child
    finally:
        child.kill()
        child.communicate()


def _of_failure(request: Request, failure: Failure) -> EdgesegError:
    if failure.stage == "library":
        return MissingDependency(failure.message, hint=failure.hint)
    if failure.stage == "options":
        return UsageError(failure.message, hint=failure.hint)
    if failure.stage == "files":
        return EdgesegError(f"{request.library} could not keep what it built: {failure.message}.", hint=failure.hint)
    told = "; ".join(_told(one) for one in failure.refused) or failure.message
    what = "refuses the graph" if failure.stage == "parse" else "could not build the engine"
    return ModelFileError(f"{request.library} {what}: {told}", hint=advice(told))


def _of_end(request: Request, code: int, *, late: bool) -> EdgesegError:
    """The error of a process that ended without an answer."""
    if late:
        return EdgesegError(
            f"{request.library} took longer than {request.options.timeout_s:g} s to build.",
            hint="Give it more time: --timeout SECONDS, or timeout_s in the [tensorrt] table of a recipe.",
        )
    if code == -signal.SIGKILL:
        return EdgesegError(
            f"The build by {request.library} was killed, as systems do that run out of memory.", hint=SMALLER
        )
    how = f"crashed ({signal.Signals(-code).name})" if code < 0 else f"ended with {code}"
    return ModelFileError(
        f"{request.library} {how} while it built the engine.{_last_words(request)}",
        hint="Try another backend (edgeseg doctor lists them), or change the model.",
    )


def _told(refused: Refused) -> str:
    said = "unsupported operator" if refused.message == "false" else refused.message
    lines = (line for line in said.splitlines() if not NOISE.match(line))
    message = PLACE.sub("", "; ".join(lines))
    operator = f" ({refused.operator})" if refused.operator else ""
    return f"node '{refused.node}'{operator}: {message}" if refused.node else message


def _last_words(request: Request) -> str:
    """The end of what the process wrote, which a crash leaves."""
    texts = (Path(path) for path in (request.log, request.log + ".stderr"))
    lines = [line for path in texts if path.is_file() for line in path.read_text(errors="replace").splitlines()[-LAST:]]
    return f" It said last: {' | '.join(lines)}" if lines else ""
