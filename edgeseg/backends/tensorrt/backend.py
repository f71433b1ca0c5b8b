"""TensorRT and TensorRT-RTX as backends."""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from edgeseg.backends.base import REBUILD, Backend, Engine, EngineOptions, Processor
from edgeseg.backends.form import GraphForm
from edgeseg.backends.kernels import Kernel
from edgeseg.backends.session import Output, Session
from edgeseg.backends.tensorrt.calibration import cache_header
from edgeseg.backends.tensorrt.fit import gpu_kind, identity_here, misfit
from edgeseg.backends.tensorrt.layers import layers_path, read_layers, types_read
from edgeseg.backends.tensorrt.library import Name, open_library
from edgeseg.backends.tensorrt.options import TensorRtOptions
from edgeseg.backends.tensorrt.parent import build_plan
from edgeseg.backends.tensorrt.profile import profile
from edgeseg.backends.tensorrt.request import Answer, Request
from edgeseg.backends.tensorrt.session import TensorRtSession
from edgeseg.card import Card, Identity, Precision, TailLayout
from edgeseg.device.cuda import open_cuda
from edgeseg.errors import MissingDependency, ModelFileError, UsageError
from edgeseg.files import cache_folder, sha256_bytes, sha256_file, write_bytes

__all__ = ["TensorRt", "TensorRtRtx", "options_of"]

logger = logging.getLogger(__name__)


class TensorRt(Backend):
    """TensorRT 8.6 to 11, as it comes with JetPack."""

    name: Name = "tensorrt"
    suffix = ".engine"
    dialects = ("s8-sym",)
    floats = ("fp16", "fp32")
    rest: Precision = "fp16"
    spares_depthwise = True
    native = True
    own_tail = True
    frees_batch = True
    head = "cast"

    def __init__(self) -> None:
        self._library = open_library(self.name)
        self.typed = "strong typing" in self._library.can

    def version(self) -> str:
        return self._library.version

    @classmethod
    def forms(cls, batch: tuple[int, int, int] | None) -> tuple[GraphForm, ...]:
        """See `Backend.forms`: from 10 on FP16 stands in the graph, and to 10.7 a DLA takes a calibration cache."""
        tails: tuple[TailLayout, ...] = (cls.tail, "outside")
        found = []
        for tail in tails:
            plain = GraphForm(
                dialect="float",
                head=cls.head,
                tail=tail,
                batch=batch[1] if batch else 1,
                free_batch=batch is not None,
            )
            int8 = msgspec.structs.replace(plain, dialect="s8-sym")
            typed = [msgspec.structs.replace(one, half=half) for one in (plain, int8) for half in (False, True)]
            spared = [msgspec.structs.replace(int8, half=half, spare_depthwise=True) for half in (False, True)]
            found += [*typed, *spared, msgspec.structs.replace(int8, cache=True)]
        return tuple(found)

    def obstacle(self) -> str:
        """See `Backend.obstacle`."""
        try:
            open_cuda()
        except MissingDependency as error:
            return error.message.rstrip(".")
        return ""

    def misfit(self, card: Card) -> str:
        """See `Backend.misfit`. An engine that was built without a GPU fits all that the library knows."""
        if card.identity is None:
            return f"The card of {card.model} does not say what its engine was built by."
        return misfit(self.name, options_of(card), card.identity, self._identity())

    def _identity(self) -> Identity:
        return identity_here(self.version())

    def build(
        self,
        graph: Path,
        out: Path,
        options: EngineOptions,
        on_progress: Callable[[float, str], None] = lambda *_: None,
        card: Card | None = None,
    ) -> Engine:
        """See `Backend.build`. It happens in a process of its own, and what became of each layer is kept beside it.

        Given the graph's card, it needs no onnx.
        """
        self._check_options(options)
        if card is None:
            from edgeseg.backends.onnx_file import read_frame_graph

            _, card = read_frame_graph(graph, ends=("class_map", "logits"), free_batch=True)
        self._check_dla(options, card)
        made_from = {**card.made_from, "engine_graph_file": sha256_file(graph)}
        card = msgspec.structs.replace(card, identity=self._identity(), made_from=made_from)
        with tempfile.TemporaryDirectory(prefix=".tensorrt-", dir=out.parent) as folder:
            own = Path(folder)
            request = Request(
                library=self.name,
                graph=str(graph),
                plan=str(own / "plan"),
                log=str(own / "log"),
                timing_cache=str(own / "timing"),
                precisions=self._flags(options, card),
                calibration=str(options.calibration or ""),
                options=options.tensorrt,
            )
            known = self._timing_cache()
            with contextlib.suppress(OSError):
                shutil.copyfile(known, request.timing_cache)
            answer = build_plan(request, on_progress)
            for warning in answer.warnings:
                logger.info("%s: %s", self.name, warning)
            with contextlib.suppress(OSError):  # Kernels that are timed again cost time alone.
                write_bytes(known, Path(request.timing_cache).read_bytes())
            write_bytes(layers_path(out), b"".join(msgspec.json.encode(layer) + b"\n" for layer in answer.layers))
            return self._keep(
                out,
                Path(request.plan).read_bytes(),
                card,
                options,
                _execution(options, answer, typed=self.typed and options.calibration is None),
            )

    def load(
        self,
        engine: Engine,
        output: Output = "class_map",
        *,
        batch: int | None = None,
        frame_hw: tuple[int, int] | None = None,
    ) -> Session:
        """See `Backend.load`."""
        plan, options = self._read(engine), options_of(engine.card)
        card = _with_batch(engine.card, batch, options)
        return TensorRtSession(card, self._library, open_cuda(), plan, output, options, frame_hw)

    def processor(self, card: Card) -> Processor | None:
        """See `Backend.processor`. What an accelerator does at best is not measured."""
        return "gpu" if options_of(card).dla_core is None else None

    def profile(self, engine: Engine) -> tuple[Kernel, ...]:
        """See `Backend.profile`: medians, without a CUDA graph."""
        plan, card = self._read(engine), engine.card
        options = msgspec.structs.replace(options_of(card), cuda_graph=False)
        session = TensorRtSession(card, self._library, open_cuda(), plan, "class_map", options)
        with session:
            return profile(self._library, session, read_layers(engine.path))

    def _read(self, engine: Engine) -> bytes:
        self._check_engine(engine)
        plan = engine.path.read_bytes()
        if sha256_bytes(plan) != engine.card.sha256:
            raise ModelFileError(f"The engine {engine.path} changed while it was opened.", hint=REBUILD)
        return plan

    def wants_cache(self, options: EngineOptions) -> bool:
        """See `Backend.wants_cache`: for a DLA, up to TensorRT 10.7.

        Raises:
            UsageError: This version has no INT8 on a DLA at all.
        """
        if options.tensorrt.dla_core is None or "accelerator types" in self._library.can:
            return False
        try:
            cache_header(self.version())
        except UsageError as error:
            raise UsageError(
                f"{self.name} {self.version()} has no INT8 on a DLA; versions up to 10.7 have, and from 11.4.1 on.",
                hint="Leave out --dla-core, or build for the DLA in half precision: --fp16",
            ) from error
        return "calibrators" in self._library.can

    def _check_dla(self, options: EngineOptions, card: Card) -> None:
        """Refuse Q/DQ graphs for a DLA that takes a calibration cache alone: they would run on the GPU, silently."""
        if self.wants_cache(options) and card.dialect != "float" and options.calibration is None:
            raise UsageError(
                f"The DLA of {self.name} {self.version()} takes INT8 by a calibration cache alone, not by a graph.",
                hint=f"Make it: edgeseg quantize MODEL RANGES -o net.cache --calibration-cache {self.version()}. Add "
                f"--useDLACore={options.tensorrt.dla_core} --allowGPUFallback to the trtexec line that it prints.",
            )

    def _flags(self, options: EngineOptions, card: Card) -> tuple[str, ...]:
        """Builder flags for what the graph does not say: all of it without strong typing, INT8 with a cache."""
        if self.typed and options.calibration is None:
            return ()
        floats = ("FP16",) if options.precision == "fp16" else ()
        return floats if card.dialect == "float" else ("INT8", *floats)

    def _timing_cache(self) -> Path:
        """Times of kernels are those of one version on one GPU."""
        here = self._identity()
        gpu = "-".join(map(str, gpu_kind(here))).replace(" ", "-").replace("/", "-") if here.gpu else "no-gpu"
        return cache_folder() / "timing" / f"{self.name}-{self.version()}-{gpu}"


class TensorRtRtx(TensorRt):
    """TensorRT-RTX, for GeForce RTX and its like; it builds without a GPU too."""

    name: Name = "tensorrt-rtx"


def options_of(card: Card) -> TensorRtOptions:
    """How an engine was built, by its card.

    Raises:
        ModelFileError: The card does not say it, or says what this edgeseg does not know.
    """
    try:
        return msgspec.convert(card.measured["execution"]["options"], TensorRtOptions)
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        raise ModelFileError(
            f"The card of {card.model} does not say how its engine was built.", hint=REBUILD
        ) from error


def _with_batch(card: Card, batch: int | None, options: TensorRtOptions) -> Card:
    """The card of an engine that is opened for so many frames.

    Raises:
        UsageError: It takes another number.
    """
    fewest, _, most = options.batch or (card.batch,) * 3
    if batch is not None and not fewest <= batch <= most:
        numbers = f"{fewest} to {most}" if fewest < most else str(fewest)
        raise UsageError(
            f"The engine {card.model} takes {numbers} frames at a time, not {batch}.",
            hint=f"Build it for more: edgeseg build --backend {card.backend} --batch {min(fewest, batch)},"
            f"{card.batch},{max(most, batch)}",
        )
    return msgspec.structs.replace(card, batch=batch or card.batch)


def _execution(options: EngineOptions, answer: Answer, *, typed: bool) -> dict[str, Any]:
    """What the library made of a graph; `convolutions` counts them by the type that they read."""
    ran = Counter(types_read(answer.layers, answer.convolutions).values())
    return {
        "precision": options.precision,
        "layers": len(answer.layers),
        "convolutions": dict(sorted(ran.items())),
        "build_seconds": round(answer.seconds, 3),
        "options": msgspec.to_builtins(options.tensorrt),
        "typed": typed,
        **({"gpu_fallback": answer.fallback} if options.tensorrt.dla_core is not None else {}),
    }
