"""The seam between edgeseg and an engine library."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from edgeseg.backends.form import GraphForm
from edgeseg.backends.kernels import Kernel
from edgeseg.backends.session import Output, Session
from edgeseg.backends.tensorrt.options import TensorRtOptions
from edgeseg.card import Card, Dialect, Head, Precision, TailLayout, read_card, write_card
from edgeseg.device.power import Processor
from edgeseg.errors import EngineMismatch, ModelFileError, UsageError
from edgeseg.files import atomic_path, sha256_bytes, sha256_file

__all__ = ["REBUILD", "Backend", "Engine", "EngineOptions", "Processor"]

REBUILD = "Build it anew on this machine: edgeseg build"


@dataclass(frozen=True)
class EngineOptions:
    """What an engine is built with.

    Attributes:
        precision: Of the operators that the graph leaves in float.
        tensorrt: What else TensorRT takes.
        calibration: Calibration cache, for INT8 of a float graph where the backend `wants_cache`.
    """

    precision: Precision = "fp32"
    tensorrt: TensorRtOptions = field(default_factory=TensorRtOptions)
    calibration: Path | None = None


@dataclass(frozen=True)
class Engine:
    """A built engine on disk and its card."""

    path: Path
    card: Card

    @classmethod
    def open(cls, path: str | Path) -> Engine:
        """The engine at `path`, whole and with its card.

        Raises:
            ModelFileError: The file or its card is missing, or the file is not the one that the card describes.
        """
        path = Path(path)
        if not path.is_file():
            raise ModelFileError(f"There is no engine at {path}.", hint="Build one: edgeseg build --int8")
        card = read_card(path)
        if card.kind != "engine":
            raise ModelFileError(f"{path} is a {card.kind}, not an engine.", hint=f"Build one: edgeseg build {path}")
        if sha256_file(path) != card.sha256:
            raise ModelFileError(
                f"The engine {path} is damaged: its content is not what its card describes.",
                hint="Build it anew with edgeseg build.",
            )
        return cls(path, card)


class Backend(ABC):
    """One engine library.

    Attributes:
        name: As in the table and in `--backend`.
        suffix: Of its engine files.
        dialects: INT8 dialects that it runs, the likeliest fastest first; of the class, on any machine.
        floats: Float precisions that it can be told to use, the likeliest fastest first.
        head: How frames enter its graphs.
        tail: How class maps leave them.
        rest: Float precision of what an INT8 engine leaves in float.
        typed: That precision has to stand in the graph.
        native: Its engines are machine code of one library version and GPU; only this machine's own are opened.
        own_tail: It can give class maps of a graph that ends with its logits.
        frees_batch: Its engines take any number of frames from the fewest to the most that they were built for.
        spares_depthwise: INT8 is also tried with depthwise convolutions in float, which can be faster.
    """

    name: str
    suffix: str = ".onnx"
    dialects: tuple[Dialect, ...]
    floats: tuple[Precision, ...] = ("fp32",)
    head: Head = "dequantize"
    tail: TailLayout = "channels_first"
    rest: Precision = "fp32"
    typed: bool = False
    frees_batch: bool = False
    spares_depthwise: bool = False
    native: bool = False
    own_tail: bool = False

    @abstractmethod
    def version(self) -> str:
        """Version of the library."""

    def obstacle(self) -> str:
        """Why this machine can't run engines that it may be able to build; empty where it can."""
        return ""

    @classmethod
    def forms(cls, batch: tuple[int, int, int] | None) -> tuple[GraphForm, ...]:
        """Every graph that this backend may want, on any machine; `batch` as in TensorRT's options."""
        plain = GraphForm(dialect="float", head=cls.head, tail=cls.tail, batch=batch[1] if batch else 1)
        return tuple(msgspec.structs.replace(plain, dialect=dialect) for dialect in ("float", *cls.dialects))

    def form(
        self, dialect: Dialect, options: EngineOptions, *, spare_depthwise: bool = False, own_tail: bool = False
    ) -> GraphForm:
        """The graph that it wants of a dialect, here and with these options."""
        by_cache = dialect != "float" and self.wants_cache(options)
        return GraphForm(
            dialect=dialect,
            head=self.head,
            tail="outside" if own_tail else self.tail,
            half=self.typed and options.precision == "fp16" and not by_cache,
            spare_depthwise=spare_depthwise,
            cache=by_cache,
            batch=options.tensorrt.batch[1] if options.tensorrt.batch else 1,
            free_batch=self.frees_batch and options.tensorrt.batch is not None,
        )

    def wants_cache(self, options: EngineOptions) -> bool:
        """Whether INT8 with these options takes a float graph and a calibration cache in the place of a Q/DQ graph."""
        return False

    def misfit(self, card: Card) -> str:
        """Why an engine of this backend does not fit this machine, a sentence; empty where it does."""
        return ""

    @abstractmethod
    def build(
        self,
        graph: Path,
        out: Path,
        options: EngineOptions,
        on_progress: Callable[[float, str], None] = lambda *_: None,
        card: Card | None = None,
    ) -> Engine:
        """Build an engine file from an ONNX graph that takes frames and gives class maps.

        The graph's card is taken over; `out` is written whole or not at all, and the card beside it.

        Args:
            graph: ONNX file.
            out: Engine file to write.
            options: Precision, and what else the library takes.
            on_progress: Told the share done of a phase, 0 to 1, and its name, where the library tells.
            card: The graph's, for those who have it; else it is read out of the graph.

        Raises:
            UsageError: The backend has no such precision.
            ModelFileError: The library refuses the graph; nothing is left behind.
        """

    @abstractmethod
    def load(
        self,
        engine: Engine,
        output: Output = "class_map",
        *,
        batch: int | None = None,
        frame_hw: tuple[int, int] | None = None,
    ) -> Session:
        """Open an engine.

        Args:
            engine: Built by this backend.
            output: What the session gives: class maps, or the logits that they are picked from.
            batch: Frames at once; by default as many as its card says.
            frame_hw: Height and width of the frames that the session is given, where it shall bring them to the
                network's size itself.

        Raises:
            UsageError: The engine takes another number of frames, or its library does not resize.
            EngineMismatch: The engine is another backend's, or this machine lacks its precision.
            ModelFileError: The library refuses the file.
        """

    def processor(self, card: Card) -> Processor | None:
        """What an engine computes on, where ceilings of that can be measured."""
        return None

    def profile(self, engine: Engine) -> tuple[Kernel, ...]:
        """The steps of an engine and what each takes, in a session of its own; none where the library does not tell.

        It runs for a second or two; what is measured elsewhere meanwhile is spoiled.

        Raises:
            EngineMismatch, ModelFileError: As `load`.
            EdgesegError: The library failed.
        """
        return ()

    def _check_options(self, options: EngineOptions) -> None:
        if options.precision not in self.floats:
            raise UsageError(
                f"The backend {self.name} can't run float operators in {options.precision} on this machine.",
                hint=f"Possible: {', '.join(self.floats)}.",
            )

    def _check_engine(self, engine: Engine) -> None:
        """Raises EngineMismatch for engines of other backends, precisions and machines."""
        card = engine.card
        if card.backend != self.name:
            raise EngineMismatch(f"{engine.path} was built for {card.backend}, not for {self.name}.")
        if card.float_precision not in self.floats:
            raise EngineMismatch(
                f"{engine.path} needs {card.float_precision}, which {self.name} can't run on this machine.",
                hint="Build it on this machine: edgeseg build",
            )
        if misfit := self.misfit(card):
            raise EngineMismatch(misfit, hint="Build it anew from the graph beside it: --rebuild")

    def _check_given(self, card: Card, batch: int | None, frame_hw: tuple[int, int] | None) -> None:
        """Refuse frames that an engine of fixed batch and size can't be given."""
        if batch not in (None, card.batch):
            raise UsageError(
                f"The engine {card.model} takes {card.batch} frames at a time, not {batch}.",
                hint="TensorRT's can take several numbers: edgeseg build --backend tensorrt --batch 1,4,8",
            )
        if frame_hw not in (None, card.size_hw):
            raise UsageError(
                f"{self.name} does not resize frames.", hint="Let the processor do it: leave out --gpu-resize."
            )

    def _keep(self, out: Path, content: bytes, card: Card, options: EngineOptions, execution: dict[str, Any]) -> Engine:
        """Write an engine and its card, which is the graph's own with what building added."""
        card = msgspec.structs.replace(
            card,
            kind="engine",
            backend=self.name,
            precision=options.precision if card.dialect == "float" else "int8",
            float_precision=options.precision,
            sha256=sha256_bytes(content),
            tools={**card.tools, self.name: self.version()},
            measured={**card.measured, "execution": execution},
        )
        with atomic_path(out) as part:
            part.write_bytes(content)
            write_card(out, card)
        return Engine(out, card)
