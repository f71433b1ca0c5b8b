"""From a model to a bundle: every graph that a board may want, judged here as far as a processor can tell."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from edgeseg.backends import BACKENDS, Backend, backend_class, open_backend
from edgeseg.backends.form import GraphForm
from edgeseg.build.bundle import (
    PREPARED,
    SUFFIX,
    Manifest,
    PackedGraph,
    PackedInt8,
    graph_name,
    is_bundle,
    write_bundle,
)
from edgeseg.build.candidates import Built, Candidate, build_candidate
from edgeseg.build.engine_graph import MadeGraphs
from edgeseg.build.from_model import stock_of_model
from edgeseg.build.gate import check_limits
from edgeseg.build.graph_facts import Quantization
from edgeseg.build.judge import Judge, ask_float
from edgeseg.build.judging import Court
from edgeseg.build.pack_frames import pack_frames
from edgeseg.build.recipe import BuildRecipe
from edgeseg.build.report import Gate, GateKind, Verdict
from edgeseg.build.stock import OnProgress, Stock
from edgeseg.build.summary import ALLOW_MORE
from edgeseg.card import Dialect
from edgeseg.device.cpu import int8_saturates
from edgeseg.errors import GateFailed, MissingDependency, ModelFileError, UsageError
from edgeseg.files import sha256_file
from edgeseg.graph.io import save_graph
from edgeseg.quantize.ranges import save_ranges

__all__ = ["PackReport", "pack_model"]

UInt8 = npt.NDArray[np.uint8]
#: Seconds of timing where nothing is chosen by speed.
QUICK = 0.1


class JudgedInt8(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate said of one dialect's graph on ONNX Runtime, whose integers a board's library rounds otherwise."""

    verdict: Verdict
    reason: str
    gate: Gate


class PackReport(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON of `edgeseg pack`.

    Attributes:
        bundle: The file.
        backends: Engine libraries that it has graphs for: `int8` (and float), or `float` alone.
        graphs: How many.
        frames: That a board judges on.
        int8: By dialect, also those that failed and were left out.
    """

    bundle: str
    sha256: str
    size_bytes: int
    model: str
    size_hw: tuple[int, int]
    backends: dict[str, str]
    graphs: int
    gate: GateKind
    frames: int
    int8: dict[Dialect, JudgedInt8]
    warnings: tuple[str, ...]
    seconds: float


def pack_model(recipe: BuildRecipe, out: Path | None = None, on_progress: OnProgress = lambda *_: None) -> PackReport:
    """Pack `recipe.model` for boards that lack what makes graphs: they need numpy, OpenCV and their engine library.

    INT8 graphs are gated here on ONNX Runtime, and repaired where they fail, because a board can't do that.

    Args:
        recipe: What to pack; its `backend` are those to pack for, `auto` all that are known here.
        out: The file, by default named by model and size in the current folder.
        on_progress: Told the share done, 0 to 1, and what is under way.

    Raises:
        GateFailed: INT8 is asked for, and no graph of it is good enough. Nothing was written.
        UsageError, ModelFileError, MissingDependency: As in a build.
    """
    started = time.perf_counter()
    _check(recipe, out)
    kinds = _backend_classes(recipe.backend)
    wanting = _forms(kinds, recipe)
    forms = [form for form in wanting if not form.cache or recipe.tensorrt.dla_core is not None]
    if recipe.precision != "int8":
        forms = [form for form in forms if form.dialect == "float"]
    dialects = dict.fromkeys(form.dialect for form in forms if form.dialect != "float")
    stock = stock_of_model(recipe, dialects, lambda share, note: on_progress(0.5 * share, note))
    height, width = stock.card.fixed_size_hw
    path = out or Path(f"{stock.card.model}-{height}x{width}{SUFFIX}")
    with tempfile.TemporaryDirectory(prefix="edgeseg-pack-") as folder:
        packer = _Packer(stock, Path(folder), on_progress)
        manifest, judged = packer.pack(forms, list(dialects))
        on_progress(0.95, f"write {path}")
        write_bundle(path, manifest, packer.parts)
    served = {name: [one.form for one in manifest.graphs if name in wanting[one.form]] for name in kinds}
    return PackReport(
        bundle=str(path),
        sha256=sha256_file(path),
        size_bytes=path.stat().st_size,
        model=stock.card.model,
        size_hw=(height, width),
        backends={
            name: "int8" if any(form.dialect != "float" for form in found) else "float"
            for name, found in served.items()
            if found
        },
        graphs=len(manifest.graphs),
        gate=manifest.gate.kind,
        frames=len(manifest.gate.frames),
        int8=judged,
        warnings=(*manifest.warnings, *manifest.gate.warnings),
        seconds=time.perf_counter() - started,
    )


def _check(recipe: BuildRecipe, out: Path | None) -> None:
    check_limits(recipe)
    if is_bundle(recipe.model):
        raise UsageError(f"{recipe.model} is packed already.", hint=f"Build it: edgeseg build {recipe.model}")
    if out is not None and out.is_dir():
        raise UsageError(f"{out} is a folder.", hint=f"Name a file in it: -o {out / 'street'}{SUFFIX}")
    if out is not None and out.suffix != SUFFIX:
        raise UsageError(f"A bundle is a {SUFFIX} file, not {out}.", hint=f"Name it {out.with_suffix(SUFFIX)}")
    folder = Path.cwd() if out is None else out.resolve().parent
    try:
        tempfile.TemporaryFile(dir=next(one for one in (folder, *folder.parents) if one.exists())).close()
    except OSError as error:
        raise UsageError(f"{folder} can't be written to.", hint="Name another place: -o FILE.bundle") from error


def _backend_classes(name: str) -> dict[str, type[Backend]]:
    """The backends to pack for, of which TensorRT need not be installed here."""
    if name != "auto":
        return {name: backend_class(name)}
    found = {}
    for one in BACKENDS:
        if one != "fake":
            try:
                found[one] = backend_class(one)
            except MissingDependency:
                continue
    return found


def _forms(kinds: dict[str, type[Backend]], recipe: BuildRecipe) -> dict[GraphForm, list[str]]:
    """All forms that are wanted, each with the backends that want it."""
    found: dict[GraphForm, list[str]] = {}
    for name, kind in kinds.items():
        for form in kind.forms(recipe.tensorrt.batch):
            found.setdefault(form, []).append(name)
    return found


@dataclass
class _Packer:
    """Makes the parts of one bundle as files in `folder`."""

    stock: Stock
    folder: Path
    on_progress: OnProgress
    parts: dict[str, Path] = field(default_factory=dict)

    def pack(self, forms: list[GraphForm], dialects: list[Dialect]) -> tuple[Manifest, dict[Dialect, JudgedInt8]]:
        """The manifest, and what the gate said of each dialect.

        Raises:
            GateFailed: It lets none of them pass.
        """
        self.on_progress(0.5, "float answers to the gate's frames")
        float_engine = self._build(
            Candidate(open_backend("onnxruntime"), "fp32", "float", "reference", is_baseline=True)
        )
        gate = pack_frames(self.stock, float_engine, self._part)
        int8, judged = self._judge_all(float_engine, dialects)
        made = self.stock.graphs
        graphs, not_made = self._write_graphs(forms, int8)
        assert isinstance(made, MadeGraphs), "a model's graphs are made of a prepared one"
        save_graph(made.prepared, self._part(PREPARED))
        left_out = (f"{name} is left out: {one.reason}." for name, one in judged.items() if name not in int8)
        manifest = Manifest(
            recipe=self.stock.recipe,
            card=self.stock.card,
            gate=gate,
            int8={name: self._packed(how, judged[name]) for name, how in int8.items()},
            graphs=graphs,
            search_keys=self.stock.search_keys,
            warnings=(*self.stock.warnings, *left_out, *not_made),
            files={},
        )
        return manifest, judged

    def _write_graphs(
        self, forms: list[GraphForm], int8: dict[Dialect, Quantization]
    ) -> tuple[tuple[PackedGraph, ...], list[str]]:
        """All graphs that can be made, and sentences on those that can't.

        Raises:
            ModelFileError: Not even a float graph can be made.
        """
        graphs, not_made, made = [], [], self.stock.graphs
        wanted = [one for one in forms if made.has(one) and (one.dialect == "float" or one.dialect in int8)]
        for index, form in enumerate(wanted):
            self.on_progress(0.85 + 0.1 * index / len(wanted), f"graph {form.name}")
            how, path = int8.get(form.dialect), self.folder / graph_name(form)
            path.parent.mkdir(exist_ok=True)
            try:
                graphs.append(PackedGraph(form=form, facts=made.write(form, how, path)))
            except ModelFileError as error:
                if form.dialect == "float" and not form.half:
                    raise
                not_made.append(f"The graph {form.name} is left out: {error.message}")
            else:
                self.parts[graph_name(form)] = path
        return tuple(graphs), not_made

    def _part(self, name: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self.parts[name] = path
        return path

    def _packed(self, how: Quantization, judged: JudgedInt8) -> PackedInt8:
        name = f"ranges/{how.ranges.sha256()[:12]}.npz"
        if name not in self.parts:
            save_ranges(how.ranges, self._part(name))
        return PackedInt8(
            recipe=how.recipe, ranges=name, verdict=judged.verdict, reason=judged.reason, gate=judged.gate
        )

    def _build(self, candidate: Candidate) -> Built:
        how = self.stock.quantizations.get(candidate.dialect)
        return build_candidate(candidate, self.stock.graphs, how, self.stock.recipe, self.folder)

    def _judge_all(
        self, float_engine: Built, dialects: list[Dialect]
    ) -> tuple[dict[Dialect, Quantization], dict[Dialect, JudgedInt8]]:
        """How each dialect that is good enough is quantized, and what the gate said of all."""
        stock = self.stock
        answers = ask_float(float_engine.candidate.backend, float_engine.engine, stock.frames)
        judge = Judge(stock.frames, answers, stock.card, counting_share=stock.recipe.min_class_share / 100)
        found, judged = {}, {}
        for index, dialect in enumerate(dialects):
            start, share = 0.6 + 0.25 * index / len(dialects), 0.25 / len(dialects)
            found[dialect], judged[dialect] = self._judge(judge, float_engine, dialect, start, share)
        good = {name: how for name, how in found.items() if judged[name].verdict != "fail"}
        if dialects and not good:
            reasons = "; ".join(f"{name}: {one.reason}" for name, one in judged.items())
            error = GateFailed(
                f"No INT8 graph passed the gate here: {reasons}. Nothing was written.",
                hint=f"Calibrate on frames like those of the camera (--calib){ALLOW_MORE.get(stock.frames.kind, '')}. "
                "Float graphs alone: --no-int8",
            )
            error.report = {"int8": msgspec.to_builtins(judged)}
            raise error
        return good, judged

    def _judge(
        self, judge: Judge, float_engine: Built, dialect: Dialect, start: float, share: float
    ) -> tuple[Quantization, JudgedInt8]:
        stock = self.stock
        if dialect == "u8-asym" and int8_saturates():
            why = "this processor's integers saturate, so it can't be judged here"
            return stock.quantizations[dialect], JudgedInt8(
                verdict="unmeasured", reason=why, gate=Gate(kind="none", frames=0)
            )
        recipe = msgspec.structs.replace(
            stock.recipe, precision="int8", backend="onnxruntime", even_if_slower=True, prefer="speed", duration=QUICK
        )
        candidate = Candidate(float_engine.candidate.backend, "int8", dialect, "candidate")
        court = Court(
            judge,
            dataclasses.replace(stock, recipe=recipe),
            self.folder,
            lambda done, note: self.on_progress(start + share * done, f"{dialect}: {note}"),
        )
        with ExitStack() as stack:
            trials = court.try_all([float_engine, self._build(candidate)], stack).trials
            trial = next(one for one in trials if one.built.candidate is candidate)
        assert trial.built.quantization is not None, "an INT8 graph is quantized"
        return trial.built.quantization, JudgedInt8(verdict=trial.verdict, reason=trial.reason, gate=trial.gate)
