"""Recipes and calibration sets: TOML files, found by path or name, and read strictly."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import inspect

from edgeseg.errors import UsageError, nearest
from edgeseg.files import shared_folder

__all__ = ["decode_toml", "find_toml", "keys_in"]

T = TypeVar("T")


def find_toml(word: str, kind: Literal["calibration", "engines", "recipes"]) -> Path:
    """The TOML file at the path `word`, or the one of that name among those that edgeseg ships.

    Raises:
        UsageError: Neither is there; the hint gives the nearest names.
    """
    folder = shared_folder(kind)
    for path in (Path(word), folder / f"{word}.toml", folder / word):
        if path.suffix == ".toml" and path.is_file():
            return path
    names = [path.stem for path in folder.glob("*.toml")]
    raise UsageError(
        f"'{word}' is neither a .toml file nor the name of a shipped one ({folder}).",
        hint=nearest(Path(word).stem, names) if names else "Give the path of a .toml file.",
    )


def decode_toml(path: Path, type: type[T]) -> T:
    """The content of a TOML file as a msgspec Struct.

    Raises:
        UsageError: The file is missing or no TOML, or a key or value is not one of the Struct's; a misspelt key is
            answered with the nearest one.
    """
    try:
        return msgspec.toml.decode(path.read_bytes(), type=type)
    except OSError as error:
        raise UsageError(f"{path} could not be read: {error.strerror}.") from error
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at ")
        place = where.strip("`").removeprefix("$").removeprefix(".")
        unknown = re.fullmatch(r"Object contains unknown field `(.*)`", message)
        section = f" in [{place}]" if place else ""
        if unknown is None:
            raise UsageError(f"{path} can't be used: {message}{f' at {place}' if place else ''}.") from error
        hint = nearest(unknown[1], _keys(inspect.type_info(type), place))
        raise UsageError(f"{path} can't be used: there is no key '{unknown[1]}'{section}.", hint=hint) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no TOML: {error}.") from error


def keys_in(path: Path) -> dict[str, Any]:
    """The keys that a TOML file sets, with their plain values; the file was read by `decode_toml` before."""
    told: dict[str, Any] = msgspec.toml.decode(path.read_bytes())
    return told


def _keys(info: inspect.Type, place: str) -> list[str]:
    """The keys that the table at `place` (`optimizer`, `candidates[0]`) may have."""
    for step in re.findall(r"\w+|\[", place):
        for struct in _structs(info):
            info = next((field.type for field in struct.fields if field.encode_name == step), info)
    return [field.encode_name for struct in _structs(info) for field in struct.fields]


def _structs(info: inspect.Type) -> list[inspect.StructType]:
    """The Structs that a value of this type may be, itself or inside a list, a dict or a union."""
    if isinstance(info, inspect.StructType):
        return [info]
    if isinstance(info, inspect.UnionType):
        inner = info.types
    elif isinstance(info, inspect.ListType | inspect.VarTupleType):
        inner = (info.item_type,)
    else:
        inner = (info.value_type,) if isinstance(info, inspect.DictType) else ()
    return [struct for each in inner for struct in _structs(each)]
