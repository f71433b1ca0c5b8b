"""What would work on this machine, what would fail, and the command that mends it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from edgeseg.backends.table import BACKENDS
from edgeseg.device import Device
from edgeseg.doctor.board import examine_board
from edgeseg.doctor.check import Check
from edgeseg.doctor.engines import check_backend
from edgeseg.doctor.installed import (
    check_core,
    check_data,
    check_graph_tools,
    check_model,
    check_opencv,
    check_training,
)
from edgeseg.doctor.machine import check_folder, check_int8, check_machine, check_memory
from edgeseg.files import cache_folder, engines_folder

__all__ = ["Check", "examine", "working_backends"]


def examine(device: Device) -> Iterator[Check]:
    """Look at everything in turn. Nothing is changed, and nothing that is broken raises."""
    yield check_machine(device)
    yield check_int8(device)
    yield check_memory(device)
    yield from examine_board(device)
    yield from (check_backend(name) for name in BACKENDS if name != "fake")
    yield check_core()
    yield check_opencv()
    yield check_graph_tools()
    yield check_training()
    yield check_model()
    yield check_folder("engines folder", engines_folder())
    yield check_folder("cache folder", cache_folder())
    yield from check_data()


def working_backends(checks: Iterable[Check]) -> list[str]:
    """Names of the backends that built and ran a graph, in the order of the table."""
    fine = {check.name for check in checks if check.status == "ok"}
    return [name for name in BACKENDS if f"backend {name}" in fine]
