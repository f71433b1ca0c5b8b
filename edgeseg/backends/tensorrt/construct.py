"""From an ONNX file to a plan, by the bindings of TensorRT or TensorRT-RTX. Runs in a process of its own."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from edgeseg.backends.tensorrt.layers import Layer, layers_of_inspector, layers_of_log
from edgeseg.backends.tensorrt.library import Library, open_library
from edgeseg.backends.tensorrt.options import TensorRtOptions
from edgeseg.backends.tensorrt.request import Answer, Failure, Message, Progress, Refused, Request
from edgeseg.errors import UsageError
from edgeseg.files import write_bytes

if TYPE_CHECKING:
    import tensorrt as trt

__all__ = ["construct"]

LOGITS = "logits"
Tell = Callable[[Message], None]
#: Seconds between two messages of progress.
TELL_EVERY_S = 0.2


def construct(request: Request, tell: Tell) -> Answer | Failure:
    """Build the plan that is asked for, and write it, the timing cache and the log.

    Raises:
        MissingDependency: The library is not installed.
        UsageError: It lacks what an option needs.
    """
    library = open_library(request.library)
    with open(request.log, "w", encoding="utf-8", buffering=1) as log:
        return _construct(library, request, _logger(library, log), tell)


def _construct(library: Library, request: Request, logger: Any, tell: Tell) -> Answer | Failure:
    started = time.monotonic()
    builder: trt.Builder = library.module.Builder(logger)
    network = builder.create_network(_network_flags(library, request))
    parser: trt.OnnxParser = library.module.OnnxParser(network, logger)
    if request.options.dla_core is not None and "accelerator types" in library.can:
        parser.set_flag(library.module.OnnxParserFlag.ADJUST_FOR_DLA)
    if not parser.parse_from_file(request.graph):
        refused = tuple(_refused(parser.get_error(index)) for index in range(parser.num_errors))
        return Failure("parse", "; ".join(logger.errors[-3:]), refused=refused)
    convolutions = _look_through(library, network)
    config = _config(library, builder, request)
    if request.options.batch is not None:
        config.add_optimization_profile(_profile(builder, network, request.options.batch))
    if request.calibration:
        config.int8_calibrator = _calibrator(library, Path(request.calibration).read_bytes())
    fallback = _fallback(network, config) if request.options.dla_core is not None else ()
    _use_timing_cache(config, Path(request.timing_cache))
    if "progress" in library.can:
        config.progress_monitor = _progress_monitor(library, tell)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        return Failure("build", "; ".join(logger.errors[-3:]) or "The library gives no reason.")
    write_bytes(Path(request.plan), bytes(plan))
    _keep_timing_cache(config, Path(request.timing_cache))
    with open(request.log, encoding="utf-8") as log:
        layers = _inspected(library, request, logger, bytes(plan)) or tuple(layers_of_log(log))
    warnings = tuple(dict.fromkeys(logger.warnings))
    return Answer(library.version, time.monotonic() - started, layers, convolutions, fallback, warnings)


def _look_through(library: Library, network: trt.INetworkDefinition) -> tuple[str, ...]:
    """Have the engine give the logits too, which are made on the way to the class map; names of the convolutions."""
    kinds = (library.module.LayerType.CONVOLUTION, library.module.LayerType.DECONVOLUTION)
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    for output in (layer.get_output(index) for layer in layers for index in range(layer.num_outputs)):
        if output.name == LOGITS and not output.is_network_output:
            network.mark_output(output)
    return tuple(layer.name for layer in layers if layer.type in kinds)


def _profile(
    builder: trt.Builder, network: trt.INetworkDefinition, batch: tuple[int, int, int]
) -> trt.IOptimizationProfile:
    """How many frames the engine takes: the fewest, those it is made fastest for, and the most."""
    profile, frame = builder.create_optimization_profile(), network.get_input(0)
    shape: Any = frame.shape
    _, *sides = tuple(shape)
    fewest, usual, most = ((count, *sides) for count in batch)
    profile.set_shape(frame.name, fewest, usual, most)  # type: ignore[arg-type]
    return profile


def _network_flags(library: Library, request: Request) -> int:
    flags = library.module.NetworkDefinitionCreationFlag
    if "strong typing" in library.can and not request.precisions:
        return 1 << int(flags.STRONGLY_TYPED)
    return 1 << int(flags.EXPLICIT_BATCH) if "explicit batch" in library.can else 0


def _config(library: Library, builder: trt.Builder, request: Request) -> trt.IBuilderConfig:
    module, options, config = library.module, request.options, builder.create_builder_config()
    config.profiling_verbosity = module.ProfilingVerbosity.DETAILED
    for name in request.precisions:
        config.set_flag(getattr(module.BuilderFlag, name))
    if options.workspace_mib is not None:
        config.set_memory_pool_limit(module.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
    if options.optimization_level is not None:
        library.need("optimization level", "optimization_level")
        config.builder_optimization_level = options.optimization_level
    if options.any_version:
        library.need("version compatibility", "any_version")
        config.set_flag(module.BuilderFlag.VERSION_COMPATIBLE)
    if options.sparse:
        config.set_flag(module.BuilderFlag.SPARSE_WEIGHTS)
    _set_hardware(library, config, options)
    _set_dla(library, builder, config, options)
    return config


def _set_hardware(library: Library, config: trt.IBuilderConfig, options: TensorRtOptions) -> None:
    if options.hardware == "ampere-plus":
        library.need("hardware compatibility", "hardware = 'ampere-plus'")
        config.hardware_compatibility_level = library.module.HardwareCompatibilityLevel.AMPERE_PLUS
    elif options.hardware == "same-compute-capability":
        library.need("same compute capability", "hardware = 'same-compute-capability'")
        config.hardware_compatibility_level = library.module.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY


def _set_dla(library: Library, builder: trt.Builder, config: trt.IBuilderConfig, options: TensorRtOptions) -> None:
    if options.dla_core is None:
        return
    cores = builder.num_DLA_cores
    if options.dla_core >= cores:
        raise UsageError(
            f"dla_core is {options.dla_core}; {library.name} {library.version} finds {cores or 'no'} DLA cores here.",
            hint="Leave out dla_core, or build on a Jetson that has one, with a TensorRT that supports it.",
        )
    config.default_device_type = library.module.DeviceType.DLA
    config.DLA_core = options.dla_core
    config.set_flag(library.module.BuilderFlag.GPU_FALLBACK)


def _fallback(network: trt.INetworkDefinition, config: trt.IBuilderConfig) -> tuple[str, ...]:
    """Names of the layers that the accelerator can't do, which the library gives to the GPU without a word."""
    layers = (network.get_layer(index) for index in range(network.num_layers))
    return tuple(layer.name for layer in layers if not config.can_run_on_DLA(layer))


def _calibrator(library: Library, cache: bytes) -> Any:
    """Has no frames, only what was measured on them."""

    class Calibrator(library.module.IInt8EntropyCalibrator2):  # type: ignore[name-defined, misc]
        def get_batch_size(self) -> int:
            return 1

        def get_batch(self, names: list[str]) -> None:
            return None

        def read_calibration_cache(self) -> bytes:
            return cache

        def write_calibration_cache(self, written: Any) -> None:
            """The library writes back what it read."""

    return Calibrator()


def _use_timing_cache(config: trt.IBuilderConfig, path: Path) -> None:
    """Time no kernel twice; a file that the library does not take is as good as none."""
    known = config.create_timing_cache(path.read_bytes()) if path.is_file() else None
    if known is None or not config.set_timing_cache(known, ignore_mismatch=False):
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)


def _keep_timing_cache(config: trt.IBuilderConfig, path: Path) -> None:
    known = config.get_timing_cache()
    if known is not None:
        with contextlib.suppress(OSError):  # Kernels that are timed again cost time alone.
            write_bytes(path, bytes(known.serialize()))


def _refused(error: trt.ParserError) -> Refused:
    """What the parser says of one node; versions differ in how much of it they tell."""
    told = (getattr(error, name)() if hasattr(error, name) else "" for name in ("node_name", "node_operator"))
    return Refused(error.desc().strip(), *told)


def _inspected(library: Library, request: Request, logger: Any, plan: bytes) -> tuple[Layer, ...]:
    """The layers by the engine inspector; none where the engine can't be loaded, because there is no GPU."""
    runtime: trt.Runtime = library.module.Runtime(logger)
    if request.options.any_version:
        runtime.engine_host_code_allowed = True
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        return ()
    inspector = engine.create_engine_inspector()
    told = inspector.get_engine_information(library.module.LayerInformationFormat.JSON)
    try:
        return layers_of_inspector(told)
    except (KeyError, TypeError, ValueError):  # Another version's words; the log tells as much.
        return ()


def _logger(library: Library, file: TextIO) -> Any:
    """The library's log into a file; warnings and errors are kept too."""
    severity = library.module.ILogger.Severity

    class Logger(library.module.ILogger):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.warnings: list[str] = []
            self.errors: list[str] = []

        def log(self, level: Any, message: str) -> None:
            file.write(f"{level.name}: {message}\n")
            if level == severity.WARNING:
                self.warnings.append(message)
            elif level in (severity.ERROR, severity.INTERNAL_ERROR):
                self.errors.append(message)

    return Logger()


def _progress_monitor(library: Library, tell: Tell) -> Any:
    """Tells how far the outermost phase is, now and then."""

    class Monitor(library.module.IProgressMonitor):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self._steps: dict[str, int] = {}
            self._told = 0.0

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            if not parent:
                self._steps[phase] = steps

        def step_complete(self, phase: str, step: int) -> bool:
            steps, now = self._steps.get(phase), time.monotonic()
            if steps and now - self._told > TELL_EVERY_S:
                self._told = now
                tell(Progress(phase, min(1.0, (step + 1) / steps)))
            return True

        def phase_finish(self, phase: str) -> None:
            self._steps.pop(phase, None)

    return Monitor()
