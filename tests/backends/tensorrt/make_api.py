"""Writes down which names a version of TensorRT's Python bindings has, from NVIDIA's own wheel, without TensorRT.

    pip download --no-deps tensorrt-cu12-bindings==10.3.0
    python tests/backends/tensorrt/make_api.py tensorrt_cu12_bindings-10.3.0-*.whl

The wheel must be for this Python. Its module wants the libraries of TensorRT; empty ones in their place, made by gcc,
let it be imported and asked for its names, though nothing of it would run. The stand-ins are made from the result.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

FOLDER = Path(__file__).with_name("api")
#: Not used by edgeseg, and most of the names.
LEFT_OUT = re.compile(r"I\w+Layer$|Plugin|Uff|Caffe|Loop|Conditional|^tensorrt|Dims|Permutation")
ASK = r"""
import json, re, sys
sys.path.insert(0, sys.argv[1])
import tensorrt_bindings as trt

def returns(method):
    found = re.search(r"\) -> (?:[\w.:]+[.:])?(\w+)", method.__doc__ or "")
    return found[1] if found else ""

def told(kind):
    names = [name for name in sorted(dir(kind)) if not name.startswith("_")]
    if hasattr(kind, "__members__"):
        return {"members": {name: int(member) for name, member in kind.__members__.items()}}
    methods = {name: returns(getattr(kind, name)) for name in names if callable(getattr(kind, name, None))}
    return {"methods": methods, "attributes": [name for name in names if name not in methods]}

kinds = {name: value for name, value in sorted(vars(trt).items()) if isinstance(value, type)}
kinds["ILogger.Severity"] = trt.ILogger.Severity
print(json.dumps({"version": trt.__version__, "classes": {name: told(kind) for name, kind in kinds.items()}}))
"""


def read_api(wheel: Path) -> dict[str, object]:
    """Version, and by class its methods with what they return, its attributes, or its members."""
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(wheel).extractall(folder)
        module = Path(folder, "tensorrt_bindings", "tensorrt.so")
        needed = re.findall(r"NEEDED.*\[(libnv[^\]]+)\]", _output("readelf", "-d", str(module)))
        missing = [line.split()[-1] for line in _output("nm", "-D", "--undefined-only", str(module)).splitlines()]
        functions = [name for name in missing if re.match(r"create|get\w*Plugin|getNv|initLib|_ZN\d+nv", name)]
        source = "".join(f"void *{name}(void) {{ return 0; }}\n" for name in functions)
        for library in needed:
            command = ["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", f"{folder}/{library}", f"-Wl,-soname,{library}"]
            subprocess.run(command, input=source, text=True, check=True)
            source = ""
        environment = os.environ | {"LD_LIBRARY_PATH": folder}
        api = json.loads(_output(sys.executable, "-c", ASK, folder, environment=environment))
    api["wheel"] = wheel.name
    api["classes"] = {name: told for name, told in api["classes"].items() if not LEFT_OUT.search(name)}
    return api


def _output(*command: str, environment: dict[str, str] | None = None) -> str:
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    for word in sys.argv[1:]:
        found = read_api(Path(word))
        target = FOLDER / f"{found['version']}.json"
        target.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
        print(target)
