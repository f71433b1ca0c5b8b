"""Backends are found by name, and a missing library is told with the command that installs it."""

from __future__ import annotations

import sys

import pytest

from edgeseg.backends import BACKENDS, installed_backends, open_backend
from edgeseg.errors import MissingDependency, UsageError


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="no backend 'openvin'") as caught:
        open_backend("openvin")
    assert "'openvino'" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "module"), [("openvino", "openvino"), ("onnxruntime", "onnxruntime"), ("openvino", "onnx")]
)
def test_a_missing_library_is_told_with_its_extra(monkeypatch: pytest.MonkeyPatch, name: str, module: str) -> None:
    for loaded in [key for key in sys.modules if key.startswith("edgeseg.backends.o")]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependency, match=f"package '{module}'") as caught:
        open_backend(name)
    assert f"pip install 'edgeseg[{name}]'" in caught.value.hint
    assert name not in [backend.name for backend in installed_backends()]


def test_auto_tries_what_is_installed_in_the_table_s_order() -> None:
    found = [backend.name for backend in installed_backends()]
    assert found == [name for name in BACKENDS if name in found]
    assert "fake" not in found
