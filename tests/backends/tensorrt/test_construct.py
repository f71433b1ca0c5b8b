"""The calls by which an engine is built, in every version: any name that a version lacks raises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgeseg.backends.tensorrt import construct as room
from edgeseg.backends.tensorrt.construct import construct
from edgeseg.backends.tensorrt.library import probe
from edgeseg.backends.tensorrt.options import TensorRtOptions
from edgeseg.backends.tensorrt.request import Answer, Failure, Message, Progress, Refused, Request
from edgeseg.errors import UsageError
from tests.backends.tensorrt.stand_in import VERSIONS, asked_for, stand_in

GIVES: dict[str, Any] = {
    "OnnxParser.parse_from_file": True,
    "Builder.build_serialized_network": b"the plan",
    "IBuilderConfig.set_timing_cache": True,
    "ITimingCache.serialize": b"times",
    "Runtime.deserialize_cuda_engine": None,
    "Builder.num_DLA_cores": 2,
    "INetworkDefinition.num_layers": 2,
    "ILayer.num_outputs": 1,
    "ITensor.name": "logits",
}
STRONG = VERSIONS[1:]


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def run(
    version: str, folder: Path, monkeypatch: pytest.MonkeyPatch, answers: dict[str, Any] | None = None, **request: Any
) -> tuple[Any, Answer | Failure, list[Message]]:
    module = stand_in(version, GIVES | (answers or {}))
    monkeypatch.setattr(room, "open_library", lambda name: probe(name, module))
    told: list[Message] = []
    paths = {name: str(folder / name) for name in ("graph", "plan", "log", "timing_cache")}
    found = construct(Request(library="tensorrt", **paths, **request), told.append)
    return module, found, told


def test_the_engine_gives_the_logits_too(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, _, _ = run(version, tmp_path, monkeypatch)
    assert asked_for(module, "INetworkDefinition.get_layer") == [(0,), (1,)]
    assert {tensor.name for (tensor,) in asked_for(module, "INetworkDefinition.mark_output")} == {"logits"}


def flag_names(module: Any) -> set[str]:
    return {flag.name for (flag,) in asked_for(module, "IBuilderConfig.set_flag")}


def test_the_plan_is_written_and_the_version_told(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, found, _ = run(version, tmp_path, monkeypatch)
    assert isinstance(found, Answer)
    assert found.version == version
    assert (tmp_path / "plan").read_bytes() == b"the plan"
    assert (tmp_path / "timing_cache").read_bytes() == b"times"
    assert asked_for(module, "OnnxParser.parse_from_file") == [(str(tmp_path / "graph"),)]


def test_the_network_is_strongly_typed_where_that_can_be(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, _, _ = run(version, tmp_path, monkeypatch)
    flags = module.NetworkDefinitionCreationFlag
    wanted = flags.STRONGLY_TYPED if version in STRONG else flags.EXPLICIT_BATCH
    assert asked_for(module, "Builder.create_network") == [(1 << wanted,)]
    assert flag_names(module) == set()


@pytest.mark.parametrize("version", [one for one in VERSIONS if not one.startswith("11")], indirect=True)
def test_weak_typing_sets_the_flags_that_it_is_told(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, _, _ = run(version, tmp_path, monkeypatch, precisions=("INT8", "FP16"))
    assert asked_for(module, "Builder.create_network") == [(1 << module.NetworkDefinitionCreationFlag.EXPLICIT_BATCH,)]
    assert flag_names(module) == {"INT8", "FP16"}


def test_options_become_settings(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = TensorRtOptions(
        workspace_mib=256, optimization_level=5, hardware="ampere-plus", any_version=True, dla_core=1, sparse=True
    )
    module, _, _ = run(version, tmp_path, monkeypatch, options=options)
    pools = module.MemoryPoolType
    assert asked_for(module, "IBuilderConfig.set_memory_pool_limit") == [(pools.WORKSPACE, 256 << 20)]
    assert asked_for(module, "IBuilderConfig.builder_optimization_level") == [(5,)]
    level = module.HardwareCompatibilityLevel.AMPERE_PLUS
    assert asked_for(module, "IBuilderConfig.hardware_compatibility_level") == [(level,)]
    assert asked_for(module, "IBuilderConfig.default_device_type") == [(module.DeviceType.DLA,)]
    assert asked_for(module, "IBuilderConfig.DLA_core") == [(1,)]
    assert flag_names(module) == {"VERSION_COMPATIBLE", "SPARSE_WEIGHTS", "GPU_FALLBACK"}


@pytest.mark.parametrize("version", ["8.6.1", "10.3.0"], indirect=True)
def test_an_option_that_the_version_lacks_is_refused(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = TensorRtOptions(hardware="same-compute-capability")
    with pytest.raises(UsageError, match="has no same compute capability"):
        run(version, tmp_path, monkeypatch, options=options)


def test_a_dla_core_that_is_not_there_is_refused(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"dla_core is 0; .* finds no DLA cores here"):
        run(version, tmp_path, monkeypatch, {"Builder.num_DLA_cores": 0}, options=TensorRtOptions(dla_core=0))


def test_what_the_parser_refuses_is_told_by_node(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: dict[str, Any] = {
        "OnnxParser.parse_from_file": False,
        "OnnxParser.num_errors": 1,
        "ParserError.desc": "no importer registered\n",
        "ParserError.node_name": "/head/roll",
        "ParserError.node_operator": "Roll",
    }
    _, found, _ = run(version, tmp_path, monkeypatch, answers)
    assert isinstance(found, Failure)
    assert found.stage == "parse"
    where = ("", "") if version == "8.6.1" else ("/head/roll", "Roll")
    assert found.refused == (Refused("no importer registered", *where),)


def test_a_builder_that_gives_nothing_is_a_failure_with_its_errors(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, found, _ = run(version, tmp_path, monkeypatch, {"Builder.build_serialized_network": None})
    assert found == Failure("build", "The library gives no reason.")
    assert not (tmp_path / "plan").exists()


def test_a_timing_cache_of_another_version_is_made_anew(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "timing_cache").write_bytes(b"old")
    refuses = {"IBuilderConfig.set_timing_cache": lambda cache, ignore_mismatch: False}
    module, found, _ = run(version, tmp_path, monkeypatch, refuses)
    assert isinstance(found, Answer)
    assert asked_for(module, "IBuilderConfig.create_timing_cache") == [(b"old",), (b"",)]


@pytest.mark.parametrize("version", STRONG, indirect=True)
def test_progress_of_the_outermost_phase_is_told(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "TELL_EVERY_S", 0.0)

    def build(network: Any, config: Any) -> bytes:
        monitor = config.progress_monitor
        monitor.phase_start("Building", None, 4)
        monitor.phase_start("Timing", "Building", 9)
        assert monitor.step_complete("Timing", 3)
        assert monitor.step_complete("Building", 1)
        monitor.phase_finish("Building")
        return b"plan"

    _, _, told = run(version, tmp_path, monkeypatch, {"Builder.build_serialized_network": build})
    assert told == [Progress("Building", 0.5)]


WITH_CALIBRATORS = [one for one in VERSIONS if not one.startswith("11")]


@pytest.mark.parametrize("version", WITH_CALIBRATORS, indirect=True)
def test_implicit_int8_reads_the_cache_and_no_frames(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    cache.write_bytes(b"TRT-100300-EntropyCalibration2\n")
    module, _, _ = run(version, tmp_path, monkeypatch, precisions=("INT8", "FP16"), calibration=str(cache))
    ((calibrator,),) = asked_for(module, "IBuilderConfig.int8_calibrator")
    assert isinstance(calibrator, module.IInt8EntropyCalibrator2)
    assert calibrator.read_calibration_cache() == cache.read_bytes()
    assert (calibrator.get_batch_size(), calibrator.get_batch(["frame"])) == (1, None)
    assert flag_names(module) == {"INT8", "FP16"}


def test_what_an_accelerator_cannot_do_is_listed(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: dict[str, Any] = {"IBuilderConfig.can_run_on_DLA": lambda layer: False, "ILayer.name": "argmax"}
    _, found, _ = run(version, tmp_path, monkeypatch, answers, options=TensorRtOptions(dla_core=0))
    assert isinstance(found, Answer)
    assert found.fallback == ("argmax", "argmax")


class Frame:
    """A network's input of free batch."""

    name, shape = "frame", (-1, 360, 480, 3)


def test_a_free_batch_gets_a_profile(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = TensorRtOptions(batch=(1, 4, 8))
    given = {"INetworkDefinition.get_input": lambda index: Frame()}
    module, _, _ = run(version, tmp_path, monkeypatch, given, options=options)
    assert asked_for(module, "IOptimizationProfile.set_shape") == [
        ("frame", (1, 360, 480, 3), (4, 360, 480, 3), (8, 360, 480, 3))
    ]
    assert len(asked_for(module, "IBuilderConfig.add_optimization_profile")) == 1


def test_one_frame_needs_no_profile(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, _, _ = run(version, tmp_path, monkeypatch)
    assert asked_for(module, "IBuilderConfig.add_optimization_profile") == []


def test_the_networks_convolutions_are_told(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = stand_in(version)
    given = {"ILayer.type": module.LayerType.CONVOLUTION, "ILayer.name": "conv1"}
    _, found, _ = run(version, tmp_path, monkeypatch, given)
    assert isinstance(found, Answer)
    assert found.convolutions == ("conv1", "conv1")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        pytest.param({"batch": (4, 2, 8)}, "the fewest, usual and most frames", id="out of order"),
        pytest.param({"batch": (1, 2, 2), "dla_core": 0}, "takes one frame at a time", id="on an accelerator"),
    ],
)
def test_a_batch_that_can_not_be_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TensorRtOptions(**fields)


@pytest.mark.parametrize("core", [None, 0])
def test_the_parser_is_told_of_an_accelerator_where_it_can_be(
    core: int | None, version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, _, _ = run(version, tmp_path, monkeypatch, options=TensorRtOptions(dla_core=core))
    told = [flag.name for (flag,) in asked_for(module, "OnnxParser.set_flag")]
    assert told == (["ADJUST_FOR_DLA"] if core is not None and version.startswith("11") else [])
