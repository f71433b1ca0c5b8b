"""TensorRT and TensorRT-RTX: what the installed library can do, found out once."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cache, reduce
from typing import Any, Literal

from edgeseg.errors import MissingDependency, UsageError

__all__ = ["Ability", "Library", "Name", "open_library", "probe"]

Name = Literal["tensorrt", "tensorrt-rtx"]
Ability = Literal[
    "strong typing",
    "precision flags",
    "explicit batch",
    "calibrators",
    "optimization level",
    "hardware compatibility",
    "same compute capability",
    "version compatibility",
    "accelerator types",
    "progress",
]

#: What the bindings are imported as, the first that is there.
MODULES: dict[Name, tuple[str, ...]] = {
    "tensorrt": ("tensorrt",),
    "tensorrt-rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
}
INSTALL: dict[Name, str] = {
    "tensorrt": "On a Jetson: sudo apt install tensorrt python3-libnvinfer, and python3 -m venv --system-site-packages "
    "VENV. On a PC: pip install tensorrt",
    "tensorrt-rtx": "Install it: pip install 'edgeseg[tensorrt-rtx]'",
}
#: What the bindings of a version that can do it have.
ABILITIES: dict[Ability, str] = {
    "strong typing": "NetworkDefinitionCreationFlag.STRONGLY_TYPED",
    "precision flags": "BuilderFlag.INT8",
    "explicit batch": "NetworkDefinitionCreationFlag.EXPLICIT_BATCH",
    "calibrators": "IInt8EntropyCalibrator2",
    "optimization level": "IBuilderConfig.builder_optimization_level",
    "hardware compatibility": "HardwareCompatibilityLevel.AMPERE_PLUS",
    "same compute capability": "HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY",
    "version compatibility": "BuilderFlag.VERSION_COMPATIBLE",
    "accelerator types": "OnnxParserFlag.ADJUST_FOR_DLA",
    "progress": "IProgressMonitor",
}
#: Without it, engines can't be run by the names of their tensors: TensorRT 8.5 has it, 8.4 has not.
LEAST = "IExecutionContext.execute_async_v3"


@dataclass(frozen=True)
class Library:
    """One of the two libraries in one version.

    Attributes:
        module: The bindings. What they return is annotated with the types of TensorRT 10.13.
        version: In full, such as `10.3.0.30`.
        can: What differs between versions.
    """

    name: Name
    module: Any
    version: str
    can: frozenset[Ability]

    def need(self, ability: Ability, option: str) -> None:
        """Refuse an option that this version has not.

        Raises:
            UsageError: It lacks the ability.
        """
        if ability not in self.can:
            raise UsageError(
                f"{self.name} {self.version} has no {ability}, which {option} needs.", hint=f"Leave out {option}."
            )


@cache
def open_library(name: Name) -> Library:
    """The installed library.

    Raises:
        MissingDependency: It is not installed, can't be loaded, or is older than 8.5.
    """
    for module in MODULES[name]:
        try:
            return probe(name, importlib.import_module(module))
        except (ImportError, OSError) as error:
            if not (isinstance(error, ModuleNotFoundError) and error.name == module):
                raise MissingDependency(f"{name} can't be loaded: {error}.", hint=INSTALL[name]) from error
    raise _absent(name)


def probe(name: Name, module: Any) -> Library:
    """What bindings can do.

    Raises:
        MissingDependency: They are older than 8.5, or no bindings at all but their types alone.
    """
    if not _has(module, "Builder"):
        raise _absent(name)
    if not _has(module, LEAST):
        raise MissingDependency(
            f"{name} is {module.__version__}; 8.5 is the oldest that is supported.",
            hint="Update JetPack, or quantize on a PC and build by trtexec: edgeseg quantize --calibration-cache",
        )
    can = frozenset(ability for ability, path in ABILITIES.items() if _has(module, path))
    return Library(name, module, str(module.__version__), can)


def _absent(name: Name) -> MissingDependency:
    return MissingDependency(f"The library {name} is not installed for this Python.", hint=INSTALL[name])


def _has(module: Any, path: str) -> bool:
    missing = object()
    return reduce(lambda owner, part: getattr(owner, part, missing), path.split("."), module) is not missing
