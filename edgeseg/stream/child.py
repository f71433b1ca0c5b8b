"""A process of its own for what can hang or fall in a library: started, talked to by pipes, ended in time."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import deque

from edgeseg.children import child_command, child_environment
from edgeseg.stream.mailbox import Mailbox

__all__ = ["Child", "be_child"]

#: Seconds that it has to end by itself, as it sees it and as who started it does.
OWN_GRACE_S, GRACE_S = 1.0, 1.5
CHUNK = 1 << 16
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Child:
    """A process that runs a module of edgeseg, and shares a mailbox with this one.

    Its first argument is the handle of the mailbox. It ends when its stdin does: because this process closed it, or is
    gone, however that happened.

    Args:
        module: Such as `edgeseg.stream.worker`; its `main` calls `be_child` first.

    Attributes:
        mailbox: What both share.
        told: The last lines of its stderr, where libraries tell what they like.
    """

    def __init__(self, module: str) -> None:
        handle = Mailbox.create()
        self._errors, errors = os.pipe()
        os.set_blocking(errors, False)  # A library that tells much must not stop for want of a reader.
        # Ctrl-C is for who started it, also before it can say so itself: it inherits what is blocked here.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            self._process = subprocess.Popen(
                child_command(module, str(handle)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                pass_fds=(handle,),
                env=child_environment(),
                bufsize=0,
            )
            self.mailbox = Mailbox(handle)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            os.close(handle)
            os.close(errors)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        os.set_blocking(self._stdin.fileno(), False)
        self._ends = 0.0
        self.told: deque[bytes] = deque(maxlen=20)

    def say(self, words: bytes) -> None:
        """Write to its stdin. Nothing is said to one that is gone, or has not listened for long."""
        with contextlib.suppress(BrokenPipeError, BlockingIOError, ValueError):
            self._stdin.write(words)

    def hear(self, seconds: float) -> bytes | None:
        """What it says on stdout, nothing where it says nothing in that time, None when it has ended."""
        heard = select.select([self._stdout.fileno(), self._errors], [], [], seconds)[0]
        if self._errors in heard:
            self.told.extend(os.read(self._errors, CHUNK).splitlines())
        if self._stdout.fileno() not in heard:
            return b""
        return os.read(self._stdout.fileno(), CHUNK) or None

    def says(self) -> bool:
        """Whether `hear` has something at once."""
        return bool(select.select([self._stdout], [], [], 0)[0])

    def code(self) -> int:
        """Wait for its end, and give its exit code; negative for a signal."""
        return self._process.wait()

    def reason(self) -> str:
        """What it told before it ended, in a line: of a traceback the last one, else the first."""
        lines = [line.decode(errors="replace") for line in self.told if line.strip()]
        is_traceback = any(line.startswith(("Traceback", "  ")) for line in lines)
        return (lines[-1] if is_traceback else lines[0]) if lines else ""

    def kill(self) -> None:
        """End it without giving it time, because it hangs."""
        self._process.kill()

    def begin_end(self) -> None:
        """Have it end by itself. Called by any thread."""
        if not self._stdin.closed:
            self._ends = time.monotonic() + GRACE_S
            self._stdin.close()

    def end(self) -> None:
        """Wait until it has ended; kill it if it does not within 1.5 s. Ending twice is allowed."""
        if self._stdout.closed:
            return
        self.begin_end()
        try:
            self._process.wait(max(0.0, self._ends - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stdout.close()
        os.close(self._errors)
        self.mailbox.close()


def be_child() -> tuple[Mailbox, int]:
    """The mailbox that this process shares with who started it, and where it tells: stdout, kept from libraries.

    Signals of the keyboard and of services go to all processes; who started this one ends it.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    # In a group of its own it gets SIGHUP from the system, should who started it be killed while it is stopped.
    os.setpgid(0, 0)
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    messages = os.dup(1)
    os.dup2(2, 1)
    handle = int(sys.argv[1])
    mailbox = Mailbox(handle)
    os.close(handle)
    return mailbox, messages


def _end_with_stdin() -> None:
    """End this process when its stdin has ended and it does not by itself, because a library hangs."""
    stdin = select.poll()
    stdin.register(0, 0)  # The end is told though nothing is asked for.
    stdin.poll()
    time.sleep(OWN_GRACE_S)
    os._exit(0)
