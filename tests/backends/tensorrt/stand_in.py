"""Modules with exactly the names of TensorRT's bindings in one version, which write down what is asked of them."""

from __future__ import annotations

import enum
import json
import types
from pathlib import Path
from typing import Any

API = Path(__file__).with_name("api")
#: Classes that some methods' documentation names as C++ does.
ALIASES = {"IParserError": "ParserError"}
VERSIONS = ("8.6.1", "10.3.0", "10.13.0.35", "11.1.0.106", "11.4.0.106")


def stand_in(version: str, answers: dict[str, Any] | None = None) -> types.ModuleType:
    """Bindings of that version. Any name that they lack raises AttributeError, set or got.

    Args:
        version: One of `VERSIONS`.
        answers: What methods give and attributes hold, by `Class.name`; a function is called with what the method was.
            Other methods give an object of the class that NVIDIA's documentation of them names.

    Returns:
        The module; `module.asked` lists the calls and settings in order, as `(Class.name, arguments)`.
    """
    api = json.loads((API / f"{version}.json").read_text())
    module = types.ModuleType("tensorrt")
    asked: list[tuple[str, tuple[Any, ...]]] = []
    vars(module).update(__version__=api["version"], asked=asked)
    for name, told in api["classes"].items():
        kind = enum.IntEnum(name, told["members"]) if "members" in told else _class(module, name, told, answers or {})
        owner, _, own = name.rpartition(".")
        setattr(vars(module)[owner] if owner else module, own, kind)
    return module


def _class(module: types.ModuleType, name: str, told: dict[str, Any], answers: dict[str, Any]) -> type:
    def method(own: str, returns: str) -> Any:
        def call(self: Any, *arguments: Any, **named: Any) -> Any:
            vars(module)["asked"].append((f"{name}.{own}", (*arguments, *named.values())))
            answer = answers.get(f"{name}.{own}")
            if callable(answer):
                return answer(*arguments, **named)
            kind = vars(module).get(ALIASES.get(returns, returns))
            return answer if f"{name}.{own}" in answers or not isinstance(kind, type) else kind()

        return call

    def init(self: Any, *arguments: Any) -> None:
        vars(module)["asked"].append((name, arguments))
        for own in told["attributes"]:
            object.__setattr__(self, own, answers.get(f"{name}.{own}"))

    def change(self: Any, own: str, value: Any) -> None:
        if own in told["attributes"]:
            vars(module)["asked"].append((f"{name}.{own}", (value,)))
        elif own not in vars(self) and not own.startswith("_") and type(self) is kind:
            raise AttributeError(f"{name} of TensorRT {vars(module)['__version__']} has no '{own}'")
        object.__setattr__(self, own, value)

    own = {own: method(own, returns) for own, returns in told["methods"].items()}
    attributes = dict.fromkeys(told["attributes"])
    kind = type(name, (), {**attributes, **own, "__init__": init, "__setattr__": change})
    return kind


def asked_for(module: types.ModuleType, name: str) -> list[tuple[Any, ...]]:
    """The arguments of every call of a method, or every value that an attribute was set to."""
    return [arguments for asked, arguments in vars(module)["asked"] if asked == name]
