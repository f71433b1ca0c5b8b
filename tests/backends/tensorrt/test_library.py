"""What each version of the bindings can do, by the names that NVIDIA's own wheels have."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from edgeseg.backends.tensorrt.library import ABILITIES, open_library, probe
from edgeseg.errors import MissingDependency, UsageError
from tests.backends.tensorrt.stand_in import VERSIONS, stand_in

#: What a version lacks of all that is asked for.
LACKS = {
    "8.6.1": {"strong typing", "same compute capability", "progress", "accelerator types"},
    "10.3.0": {"same compute capability", "accelerator types"},
    "10.13.0.35": {"accelerator types"},
    "11.1.0.106": {"precision flags", "explicit batch", "calibrators"},
    "11.4.0.106": {"precision flags", "explicit batch", "calibrators"},
}


@pytest.fixture(autouse=True)
def forgotten() -> None:
    open_library.cache_clear()


@pytest.mark.parametrize("version", VERSIONS)
def test_what_a_version_can_do_is_found_by_its_names(version: str) -> None:
    library = probe("tensorrt", stand_in(version))
    assert library.version == version
    assert set(ABILITIES) - library.can == LACKS[version]


def test_an_option_that_a_version_lacks_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"tensorrt 8.6.1 has no strong typing, which typed = true needs") as caught:
        probe("tensorrt", stand_in("8.6.1")).need("strong typing", "typed = true")
    assert caught.value.hint == "Leave out typed = true."


def test_bindings_without_named_tensors_are_too_old() -> None:
    module = types.ModuleType("tensorrt")
    vars(module).update(__version__="8.2.1.8", Builder=object, IExecutionContext=type("IExecutionContext", (), {}))
    with pytest.raises(MissingDependency, match=r"tensorrt is 8.2.1.8; 8.5 is the oldest"):
        probe("tensorrt", module)


def package(folder: Path, name: str, content: str | None) -> None:
    """A package of that name on the path; without content, only the types of one."""
    home = folder / name
    home.mkdir()
    home.joinpath("__init__.pyi" if content is None else "__init__.py").write_text(content or "class Builder: ...\n")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(None, "The library tensorrt is not installed for this Python.", id="type stubs alone"),
        pytest.param(
            'raise ImportError("libnvinfer.so.10: cannot open shared object file")',
            "tensorrt can't be loaded: libnvinfer.so.10: cannot open shared object file.",
            id="bindings without their library",
        ),
        pytest.param(
            "import tensorrt_libs_that_nobody_has",
            "tensorrt can't be loaded: No module named 'tensorrt_libs_that_nobody_has'.",
            id="a wheel that lacks a part",
        ),
    ],
)
def test_what_is_installed_in_part_is_told(
    content: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(tmp_path, "tensorrt", content)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    with pytest.raises(MissingDependency) as caught:
        open_library("tensorrt")
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    assert caught.value.message == said
    assert "python3-libnvinfer" in caught.value.hint
