"""TensorRT's calibration cache: its header by version, a line for every tensor, and the golden file."""

from __future__ import annotations

import dataclasses
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("onnxruntime")

from edgeseg.backends.tensorrt.calibration import cache_header, calibration_cache
from edgeseg.card import Int8Recipe
from edgeseg.errors import UsageError
from edgeseg.quantize.calibration_cache import cache_entries
from edgeseg.quantize.ranges import Ranges
from tests.quantize.tiny import prepared, ranges

GOLDEN = Path(__file__).with_name("golden.cache")


def known_ranges() -> Ranges:
    """Of the tiny network's tensors, but with limits that no processor has a part in."""
    tensors = {
        name: dataclasses.replace(found, minimum=-index / 4, maximum=index / 8 + 0.5)
        for index, (name, found) in enumerate(ranges().tensors.items())
    }
    return dataclasses.replace(ranges(), tensors=tensors)


def scales_of(cache: bytes) -> dict[str, float]:
    entries = (line.rpartition(": ") for line in cache.decode().splitlines()[1:])
    return {name: struct.unpack(">f", bytes.fromhex(bits))[0] for name, _, bits in entries}


@pytest.mark.parametrize(
    ("version", "header"),
    [
        pytest.param("8.2.1", "TRT-8201-EntropyCalibration2", id="JetPack 4.6"),
        pytest.param("8.5.2.2", "TRT-8502-EntropyCalibration2", id="JetPack 5.1, with its build number"),
        pytest.param("8.6.2", "TRT-8602-EntropyCalibration2", id="JetPack 6.0"),
        pytest.param("10.3.0.30", "TRT-100300-EntropyCalibration2", id="JetPack 6.2"),
        pytest.param("10.7", "TRT-100700-EntropyCalibration2", id="the last"),
    ],
)
def test_the_header_has_the_versions_number(version: str, header: str) -> None:
    assert cache_header(version) == header


@pytest.mark.parametrize("version", ["10.8.0", "11.4.1", "7.1.3", "", "ten"])
def test_a_version_that_reads_no_cache_is_refused(version: str) -> None:
    with pytest.raises(UsageError, match=f"TensorRT '{version}' reads no calibration cache") as caught:
        cache_header(version)
    assert "s8-sym" in caught.value.hint


def test_it_is_the_golden_file() -> None:
    assert calibration_cache(cache_entries(prepared(), known_ranges(), Int8Recipe()), "8.6.1") == GOLDEN.read_bytes()


def test_every_tensor_of_the_graph_has_a_line() -> None:
    graph = prepared().graph
    values = [*graph.inputs, *(value for node in graph for value in node.outputs)]
    cache = calibration_cache(cache_entries(prepared(), ranges(), Int8Recipe()), "10.3.0")
    assert set(scales_of(cache)) == {v.name for v in values}


def test_a_scale_is_the_largest_magnitude_over_127() -> None:
    scales, found = scales_of(GOLDEN.read_bytes()), known_ranges().tensors["logits"]
    assert scales["logits"] == pytest.approx(max(-found.minimum, found.maximum) / 127, rel=1e-6)
    assert scales["pixels"] == 1.0, "whole numbers from -128 to 127 pass unharmed"


@given(st.floats(2.0**-126, 1e30))
def test_the_bits_are_those_of_a_float32_in_eight_digits(value: float) -> None:
    text = struct.pack(">f", value).hex()
    assert len(text) == 8
    assert np.uint32(int(text, 16)).view(np.float32) == np.float32(value)
