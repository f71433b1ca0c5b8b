"""Whether an engine of native code is this machine's own: its card is signed with a key that stays here."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

import msgspec

from edgeseg.backends import Engine
from edgeseg.card import Card, encode_card, write_card
from edgeseg.errors import EdgesegError, ModelFileError

__all__ = ["check_signature", "machine_key", "sign", "trust"]

KEY_BYTES = 32


def machine_key() -> bytes:
    """The key of this user on this machine, made at the first call, which nobody else can read.

    Raises:
        EdgesegError: It can't be written, or others can read it.
    """
    from platformdirs import user_data_path

    path = user_data_path("edgeseg", appauthor=False) / "machine.key"
    try:
        if not path.exists():
            _make(path)
        if path.stat().st_mode & 0o077:
            raise EdgesegError(f"Others can read the key {path}.", hint=f"Type: chmod 600 {path}")
        key = path.read_bytes()
        if len(key) != KEY_BYTES:
            raise EdgesegError(
                f"The key {path} is damaged: it has {len(key)} bytes, not {KEY_BYTES}.",
                hint="Delete it; engines that it signed are opened with --rebuild or --trust-engine then.",
            )
        return key
    except OSError as error:
        raise EdgesegError(
            f"The key {path}, by which this machine knows its own engines, can't be had: {error.strerror}.",
            hint="Give that folder back to you, or set XDG_DATA_HOME to one that is yours.",
        ) from error


def _make(path: Path) -> None:
    """Written under another name and linked, so that of two processes one wins, and nobody reads half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        os.link(part, path)
    except FileExistsError:
        """Another process made it meanwhile."""
    finally:
        part.unlink(missing_ok=True)


def sign(card: Card) -> Card:
    """The card with the signature of this machine, over all else that stands on it.

    Raises:
        EdgesegError: There is no key, and none can be made.
    """
    return msgspec.structs.replace(card, signature=_signature(card))


def trust(engine: Engine) -> Engine:
    """The engine, from now on as if this machine had built it. Its code can then do all that its user can.

    Raises:
        EdgesegError: Its card can't be written.
    """
    card = sign(engine.card)
    try:
        write_card(engine.path, card)
    except OSError as error:
        raise EdgesegError(
            f"The engine {engine.path} can't be signed: {engine.path.parent} can't be written to, {error.strerror}.",
            hint="Copy it and the files beside it to a folder of your own.",
        ) from error
    return Engine(engine.path, card)


def check_signature(engine: Engine) -> None:
    """Refuse an engine whose card this machine did not sign, or that was changed since.

    Raises:
        ModelFileError: It is such a one.
        EdgesegError: There is no key, and none can be made.
    """
    if hmac.compare_digest(engine.card.signature.encode(), _signature(engine.card).encode()):
        return
    was = "its card was changed, or another user or machine signed it"
    if not engine.card.signature:
        was = "nobody signed its card"
    raise ModelFileError(
        f"The engine {engine.path} is not opened: {was}, and an engine is native code.",
        hint="Run it as who built it, or build it anew from the graph beside it: --rebuild. If you know where it comes "
        "from: --trust-engine",
    )


def _signature(card: Card) -> str:
    plain = encode_card(msgspec.structs.replace(card, signature=""))
    return hmac.new(machine_key(), plain.encode(), hashlib.sha256).hexdigest()
