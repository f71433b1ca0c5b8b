"""One entry under measurement: its environment, its process, its samples, and how it ended."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import edgeseg
from benchmarks.peers.entries import Entry
from benchmarks.peers.environments import make_environment, requirements
from benchmarks.peers.processes import WorkerProcess
from edgeseg.errors import EdgesegError
from edgeseg.evaluate import ConfusionMatrix
from edgeseg.files import sha256_bytes

__all__ = ["Lane", "Workplace"]

#: Seconds that an entry may take to convert and quantize, to load and compile, to segment all frames.
PREPARE_S, OPEN_S, CLASS_MAPS_S = 1800.0, 600.0, 600.0
#: Seconds that a turn may take longer than it was asked for.
LATE_S = 60.0
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Workplace:
    """Where entries find and keep their files.

    Attributes:
        work: Holds `given/`, the material, and a folder for each peer.
        environments: Their virtual environments.
        cores: That all are pinned to.
    """

    work: Path
    environments: Path
    cores: tuple[int, ...]

    @property
    def given(self) -> Path:
        """The material's folder."""
        return self.work / "given"


@dataclass
class Lane:
    """An entry that takes its turns.

    Attributes:
        states: By peer, what its files are made of, as it was when the first of its entries was prepared; shared by all
            lanes, so that none throws away what another has made.
        begins_ns, latencies_ns, stages_ns, rounds: One for each frame; `rounds` counts turns.
        miou, class_iou: Of all labelled frames.
        failed: Why it is out.
    """

    entry: Entry
    place: Workplace
    states: dict[Path, str]
    settings: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    begins_ns: list[int] = field(default_factory=list)
    latencies_ns: list[int] = field(default_factory=list)
    stages_ns: list[dict[str, int]] = field(default_factory=list)
    rounds: list[int] = field(default_factory=list)
    miou: float | None = None
    class_iou: dict[str, float | None] = field(default_factory=dict)
    failed: str = ""

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Where what is done inside fails, this entry is out, and the others go on."""
        try:
            yield
        except EdgesegError as error:
            # A record is published: where this checkout lies is nobody's business.
            self.failed = str(error).replace(f"{ROOT}/", "")

    def prepare(self) -> None:
        """Make its environment, and what it needs of the material, each once.

        Raises:
            EdgesegError: It can't be installed or prepared here.
        """
        self._python = make_environment(self.entry.folder, self.place.environments)
        if Path(self.entry.variant).is_absolute():
            return
        if self.entry.folder not in self.states:
            self.states[self.entry.folder] = self._state()
        state, kept = self.states[self.entry.folder], self._made / ".state"
        if not kept.is_file() or kept.read_text() != state:
            shutil.rmtree(self._made, ignore_errors=True)
            self._made.mkdir(parents=True)
            kept.write_text(state)
        done = self._made / f".{self.entry.variant}.prepared"
        if not done.exists():
            with self._process() as process:
                process.ask("prepare", PREPARE_S)
            done.touch()

    def open(self, stack: ExitStack) -> None:
        """Start its process, which ends with the stack.

        Raises:
            EdgesegError: It can't be loaded here.
        """
        self._worker = stack.enter_context(self._process())
        answer = self._worker.ask("open", OPEN_S)
        asked = ("edgeseg", *requirements(self.entry.folder)) if self._own else requirements(self.entry.folder)
        self.settings = answer["settings"]
        self.versions = {name: version for name, version in answer["versions"].items() if name in asked}

    def score(self, labels: npt.NDArray[np.uint8], classes: Sequence[str]) -> None:
        """Compare its class maps with the labels, `(N, H, W)` uint8.

        Raises:
            EdgesegError: It failed.
        """
        path = self.place.work.resolve() / f"{self.entry.name.replace('/', '-')}.npy"
        self._worker.ask("class_maps", CLASS_MAPS_S, path=str(path))
        matrix = ConfusionMatrix.empty(len(classes))
        for class_map, label in zip(np.load(path), labels, strict=True):
            matrix.update(class_map, label)
        path.unlink()
        self.miou = matrix.miou()
        found = zip(classes, matrix.class_iou(), strict=True)
        self.class_iou = {name: None if np.isnan(iou) else float(iou) for name, iou in found}

    def turn(self, seconds: float, number: int | None) -> None:
        """One turn, its frames being samples where the round has a number.

        Raises:
            EdgesegError: It failed.
        """
        answer = self._worker.ask("turn", seconds + LATE_S, seconds=seconds)
        if number is not None:
            self.begins_ns += answer["begins_ns"]
            self.latencies_ns += answer["latencies_ns"]
            self.stages_ns += answer["stages_ns"]
            self.rounds += [number] * len(answer["begins_ns"])

    def latencies_ms(self) -> npt.NDArray[np.float64]:
        """Of each frame."""
        return np.asarray(self.latencies_ns, np.float64) / 1e6

    def stages_ms(self) -> dict[str, npt.NDArray[np.float64]]:
        """The same by stage."""
        names = list(dict.fromkeys(name for one in self.stages_ns for name in one))
        return {name: np.array([one.get(name, 0) for one in self.stages_ns], np.float64) / 1e6 for name in names}

    def medians_ms(self) -> dict[int, float]:
        """The median latency of each round."""
        latencies, rounds = self.latencies_ms(), np.asarray(self.rounds)
        return {int(number): float(np.median(latencies[rounds == number])) for number in np.unique(rounds)}

    @property
    def _made(self) -> Path:
        return self.place.work / self.entry.folder.name

    @property
    def _own(self) -> bool:
        """It is edgeseg itself, from this checkout."""
        return not (self.entry.folder / "requirements.txt").is_file()

    def _process(self) -> WorkerProcess:
        self._made.mkdir(parents=True, exist_ok=True)
        return WorkerProcess(
            self._python,
            self.entry.folder,
            self.entry.variant,
            given=self.place.given,
            made=self._made,
            cores=self.place.cores,
            log=self._made / f"{self.entry.name.rpartition('/')[2]}.log",
            sees_edgeseg=self._own,
        )

    def _state(self) -> str:
        """Changes with what its files are made of."""
        files = [self.place.given / "material.json", self.entry.folder / "peer.py"]
        if self._own:
            package = Path(edgeseg.__file__).parent
            files += sorted(path for path in package.rglob("*") if path.suffix in (".py", ".onnx", ".npz"))
        else:
            files.append(self.entry.folder / "requirements.txt")
        return sha256_bytes(b"".join(path.read_bytes() for path in files))
