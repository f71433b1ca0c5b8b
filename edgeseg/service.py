"""edgeseg as a service of systemd: its unit, and what it tells systemd while it runs."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Sequence

__all__ = ["Notifier", "unit_text"]

_UNIT = """\
# To be kept as /etc/systemd/system/{name}.service, then:
#   sudo systemctl daemon-reload && sudo systemctl enable --now {name}
#   journalctl -u {name} -f -o cat
[Unit]
Description=edgeseg segments the frames of a camera
# A camera of a network, or one that is plugged in later, is waited for.
Wants=network-online.target
After=network-online.target nvargus-daemon.service
StartLimitIntervalSec=300
StartLimitBurst=20

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
WorkingDirectory=%S/{name}
Environment=EDGESEG_JSON_LOGS=1
# Engines are opened only by the user who built them; video is for cameras, render for GPUs.
User={user}
SupplementaryGroups=video render
# Fed while frames are shown or a lost camera is looked for, never while the engine or a sink hangs.
WatchdogSec=15
TimeoutStartSec=300
# It ends within three seconds; the camera's own process gives the camera back.
KillMode=mixed
TimeoutStopSec=10
SuccessExitStatus=130
Restart=on-failure
RestartSec=2

StateDirectory={name}
UMask=0077
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
# By this a Jetson's CSI cameras are reached.
BindPaths=-/tmp/argus_socket
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictSUIDSGID=yes
RestrictNamespaces=yes
LockPersonality=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK

[Install]
WantedBy=multi-user.target
"""


def unit_text(command: Sequence[str], *, user: str, name: str = "edgeseg") -> str:
    """The unit of a service.

    Args:
        command: Program, with its whole path, and arguments.
        user: Who runs it: who built the engine.
        name: Of the service, and of its folder below /var/lib.
    """
    return _UNIT.format(command=" ".join(_quoted(word) for word in command), user=user, name=name)


def _quoted(word: str) -> str:
    """A word as systemd's command lines have it, where `%` and `$` mean something."""
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    plain = word and not any(char in " '\"\\;\t\n" for char in word)
    return word if plain else '"' + word.replace("\n", "\\n") + '"'


class Notifier:
    """Tells systemd by the protocol of sd_notify(3); silent where no service manager asked for it.

    Args:
        address: Of the socket, as `$NOTIFY_SOCKET` has it; None is what that variable says.
    """

    def __init__(self, address: str | None = None) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "") if address is None else address
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_UNIX, kind) if self._address else None
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]

    def ready(self) -> None:
        """The engine is loaded and the stream begun."""
        self._tell("READY=1")

    def alive(self) -> None:
        """Keep the watchdog from starting the service anew."""
        self._tell("WATCHDOG=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._tell(f"STATUS={text}")

    def stopping(self) -> None:
        """The end has begun."""
        self._tell("STOPPING=1")

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def _tell(self, text: str) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):  # A manager that is busy or gone is no reason to stop.
                self._socket.sendto(text.encode(), self._address)
