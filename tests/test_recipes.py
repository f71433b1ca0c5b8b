"""TOML files: found by name, and refused with the nearest key."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeseg.errors import UsageError
from edgeseg.files import shared_folder
from edgeseg.recipes import decode_toml, find_toml


class Oven(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table inside a table."""

    degrees: int = 180


class Cake(msgspec.Struct, forbid_unknown_fields=True):
    """A table with tables, a list of tables, and a table that may be absent."""

    name: str
    oven: Oven = Oven()
    layers: list[Oven] = []
    spare: Oven | None = None


def write(folder: Path, text: str) -> Path:
    path = folder / "cake.toml"
    path.write_text(text)
    return path


def test_a_good_file_becomes_the_struct(tmp_path: Path) -> None:
    text = "name = 'plum'\noven.degrees = 200\n[[layers]]\ndegrees = 1\n[[layers]]\n"
    assert decode_toml(write(tmp_path, text), Cake) == Cake("plum", Oven(200), [Oven(1), Oven(180)])


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        pytest.param("nane = 'x'", "no key 'nane'", "'name'", id="a misspelt key"),
        pytest.param("name = 'x'\n[oven]\ndegree = 1", "no key 'degree' in [oven]", "'degrees'", id="in a table"),
        pytest.param("name = 'x'\n[[layers]]\ndegres = 1", "no key 'degres' in [layers[", "'degrees'", id="in a list"),
        pytest.param(
            "name = 'x'\nspare.degres = 1", "no key 'degres' in [spare]", "'degrees'", id="in an optional table"
        ),
        pytest.param("name = 'x'\nzzzz = 1", "no key 'zzzz'", "Possible: layers, name, oven", id="an unrelated key"),
        pytest.param("oven.degrees = 1", "required field `name`", "", id="a missing key"),
        pytest.param("name = 'x'\noven.degrees = 'hot'", "got `str` at oven.degrees", "", id="a value of another type"),
        pytest.param("name = ", "is no TOML", "", id="no TOML"),
        pytest.param("name = 'a'\nname = 'b'", "is no TOML", "", id="a key given twice"),
    ],
)
def test_a_bad_file_is_refused_with_what_is_possible(tmp_path: Path, text: str, said: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        decode_toml(write(tmp_path, text), Cake)
    assert said in caught.value.message
    assert "cake.toml" in caught.value.message
    assert hint in caught.value.hint


@given(st.binary(max_size=60))
def test_no_content_escapes_as_another_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("toml") / "any.toml"
    path.write_bytes(content)
    try:
        decode_toml(path, Cake)
    except UsageError as error:
        assert "any.toml" in error.message


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        decode_toml(tmp_path / "absent.toml", Cake)


def test_shipped_files_are_found_by_name_with_and_without_suffix() -> None:
    shipped = sorted(shared_folder("recipes").glob("*.toml"))
    assert shipped
    for path in shipped:
        assert find_toml(path.stem, "recipes") == find_toml(path.name, "recipes") == path


def test_a_path_wins_over_a_shipped_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = next(shared_folder("recipes").glob("*.toml"))
    (tmp_path / shipped.name).write_text("name = 'own'")
    monkeypatch.chdir(tmp_path)
    assert decode_toml(find_toml(shipped.name, "recipes"), Cake).name == "own"


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    shipped = next(shared_folder("recipes").glob("*.toml")).stem
    with pytest.raises(UsageError) as caught:
        find_toml(shipped[:-1], "recipes")
    assert shipped in caught.value.hint
