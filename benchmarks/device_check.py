"""What only a GPU can show, on the machine at hand: run it on a board, and keep the record.

    python benchmarks/device_check.py -o benchmarks/records/2026-11-23-jetson-orin-nano

It builds the default network in float32, FP16 and INT8, gates and times them; runs the kept engine with its memory
mapped and copied, with and without CUDA graph, asleep and spinning, and with a camera's frame resized by the processor
and on the GPU; streams frames for ten minutes and opens a thousand sessions, and looks at the memory of process and
GPU meanwhile. Nothing is changed but the folder that is named.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from edgeseg import __version__
from edgeseg.backends import Engine, Session, open_backend
from edgeseg.backends.tensorrt.options import TensorRtOptions
from edgeseg.build import BuildRecipe, BuildReport, build_engine
from edgeseg.build.boards import board_recipe
from edgeseg.build.golden import read_golden
from edgeseg.data.resize import frame_for_card
from edgeseg.data.scene import Scene
from edgeseg.device import Device, describe_device
from edgeseg.device.cuda import CudaDevice, open_cuda
from edgeseg.errors import EdgesegError
from edgeseg.files import write_bytes
from edgeseg.recipes import decode_toml, find_toml
from edgeseg.timing import Latency, latency, time_in_turns

UInt8 = npt.NDArray[np.uint8]
#: Bytes by which memory may differ at the end, for what libraries keep at their first use.
SLACK = 8 << 20
#: Height and width of a camera's frame, and the share of pixels that must have their class wherever it is resized.
CAMERA_HW, ALIKE = (1080, 1920), 0.99


class Way(msgspec.Struct, frozen=True):
    """One way to run the engine, its time, and whether it answers as the first."""

    memory: str
    cuda_graph: bool
    spin: bool
    latency: Latency
    same_answer: bool


class Resized(msgspec.Struct, frozen=True):
    """From a camera's frame to a class map, and the share of pixels that are equal to the processor's way."""

    where: str
    camera_hw: tuple[int, int]
    latency: Latency
    equal: float


class Endurance(msgspec.Struct, frozen=True):
    """Bytes of process and GPU that were gained from after the first tenth to the end; frames or sessions."""

    what: str
    count: int
    seconds: float
    process_bytes: int
    gpu_bytes: int
    gpu_shared: bool

    @property
    def passed(self) -> bool:
        """Memory that the GPU shares is all processes', and says nothing of this one: there its own has to do."""
        return max(self.process_bytes, 0 if self.gpu_shared else self.gpu_bytes) <= SLACK


class Record(msgspec.Struct):
    """All that was found, and what could not be, by step."""

    edgeseg: str
    device: Device
    gpu: CudaDevice
    cuda: str
    build: BuildReport | None = None
    ways: list[Way] = []
    resized: list[Resized] = []
    endurance: list[Endurance] = []
    failed: dict[str, str] = {}

    @property
    def passed(self) -> bool:
        same = all(way.same_answer for way in self.ways)
        alike = all(one.equal >= ALIKE for one in self.resized)
        whole = self.build is not None and self.build.verdict == "pass" and len(self.endurance) == 2
        return whole and not self.failed and same and alike and all(one.passed for one in self.endurance)


def main() -> int:
    options = _parse()
    cuda = open_cuda()
    record = Record(edgeseg=__version__, device=describe_device(), gpu=cuda.device, cuda=cuda.binding)

    def step(name: str, work: Callable[[], None]) -> None:
        """Do one part, and write down all that is known so far."""
        try:
            work()
        except EdgesegError as error:
            record.failed[name] = error.message
            _say(f"{name} failed: {error.message}")
        text = msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n"
        write_bytes(options.out / "device_check.json", text)

    with tempfile.TemporaryDirectory(prefix="edgeseg-device-check-") as folder:

        def build() -> None:
            record.build = build_engine(_recipe(options, record.device), Path(folder), _tell_build)

        step("build", build)
        if record.build is not None:
            engine = Engine.open(record.build.engine)
            step("ways to run", lambda: record.ways.extend(_ways(engine, options.seconds)))
            step("resizing", lambda: record.resized.extend(_resized(engine, options.seconds / 2)))
            step("streaming", lambda: record.endurance.append(_stream(engine, 60 * options.minutes)))
            step("sessions", lambda: record.endurance.append(_cycle(engine, options.cycles)))
    _tell(record)
    _say(f"Wrote {options.out / 'device_check.json'}.")
    return 0 if record.passed else 1


def _recipe(options: argparse.Namespace, device: Device) -> BuildRecipe:
    """The board's own, with what is asked for."""
    name = board_recipe(device)
    own = decode_toml(find_toml(name, "engines"), BuildRecipe) if name else BuildRecipe()
    return msgspec.structs.replace(
        own, model=options.model, backend=options.backend, data=options.data, even_if_slower=True
    )


def _tell_build(share: float, note: str) -> None:
    _say(f"{100 * share:3.0f} % {note}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for device_check.json")
    parser.add_argument("--backend", default="tensorrt", choices=["tensorrt", "tensorrt-rtx"])
    parser.add_argument("--model", default=BuildRecipe().model)
    parser.add_argument("--data", default="", help="labelled frames to gate on; without, rendered ones")
    parser.add_argument("--seconds", type=float, default=20, help="of timing all ways together")
    parser.add_argument("--minutes", type=float, default=10, help="of streaming")
    parser.add_argument("--cycles", type=int, default=1000, help="sessions to open and close")
    return parser.parse_args()


def _open(engine: Engine, **changes: Any) -> Session:
    """A session of the engine, run otherwise than it was built to."""
    execution = engine.card.measured["execution"]
    told = msgspec.convert(execution["options"], TensorRtOptions)
    options = msgspec.to_builtins(msgspec.structs.replace(told, **changes))
    measured = {**engine.card.measured, "execution": {**execution, "options": options}}
    card = msgspec.structs.replace(engine.card, measured=measured)
    return open_backend(card.backend).load(Engine(engine.path, card))


def _ways(engine: Engine, seconds: float) -> list[Way]:
    frame = read_golden(engine)[0][None]
    kinds = list(itertools.product(("mapped", "copied"), (True, False), (False, True)))
    with ExitStack() as stack:
        sessions = [
            stack.enter_context(_open(engine, memory=memory, cuda_graph=graph, spin=spin))
            for memory, graph, spin in kinds
        ]
        answers = [session.infer(frame) for session in sessions]
        runs = {str(index): lambda one=one: one.infer(frame) for index, one in enumerate(sessions)}
        times = time_in_turns(runs, seconds=seconds, on_round=lambda share: _say(f"{100 * share:3.0f} % ways to run"))
        return [
            Way(session.execution["memory"], session.execution["cuda_graph"], spin, latency(samples), bool(same))
            for session, (_, _, spin), samples, same in zip(
                sessions, kinds, times.values(), ((one == answers[0]).all() for one in answers), strict=True
            )
        ]


def _resized(engine: Engine, seconds: float) -> list[Resized]:
    """A camera's frame resized by the processor, and on the GPU."""
    camera = Scene(CAMERA_HW, seed=0).render(0)
    backend = open_backend(engine.card.backend)

    def run(session: Session) -> Any:
        frame_for_card(camera, session.card.preprocess, session.input_buffer()[0])
        return session.submit().result()

    with backend.load(engine) as before, backend.load(engine, frame_hw=CAMERA_HW) as after:
        sessions = {"processor": before, "GPU": after}
        answers = {where: run(session).copy() for where, session in sessions.items()}
        runs = {where: lambda one=one: run(one) for where, one in sessions.items()}
        times = time_in_turns(runs, seconds=seconds, on_round=lambda share: _say(f"{100 * share:3.0f} % resizing"))
    return [
        Resized(where, CAMERA_HW, latency(samples), float((answers[where] == answers["processor"]).mean()))
        for where, samples in times.items()
    ]


def _stream(engine: Engine, seconds: float) -> Endurance:
    """Frames without end, two under way."""
    rng = np.random.default_rng(0)
    with open_backend(engine.card.backend).load(engine) as session:
        shape = session.input_buffer().shape
        frames: list[UInt8] = [rng.integers(0, 256, shape, np.uint8) for _ in range(8)]

        def step(index: int) -> None:
            np.copyto(session.input_buffer(), frames[index % 8])
            tickets.append(session.submit())
            if len(tickets) == 2:
                tickets.pop(0).result()

        tickets: list[Any] = []
        found = _endure("streaming", step, seconds=seconds)
        for ticket in tickets:
            ticket.result()
    return found


def _cycle(engine: Engine, count: int) -> Endurance:
    frame = read_golden(engine)[0][None]

    def step(_: int) -> None:
        with open_backend(engine.card.backend).load(engine) as session:
            session.infer(frame)

    return _endure("open, infer, close", step, count=count)


def _endure(what: str, step: Any, *, seconds: float = float("inf"), count: int | None = None) -> Endurance:
    """Do `step` for so long or so often; memory is compared from after the first tenth on."""
    begun, done, first, told = time.monotonic(), 0, None, 0.0
    while (elapsed := time.monotonic() - begun) < seconds and (count is None or done < count):
        step(done)
        done += 1
        share = done / count if count else elapsed / seconds
        if first is None and share >= 0.1:
            first = _memory()
        if elapsed - told > 5:
            told = elapsed
            _say(f"{100 * share:3.0f} % {what}")
    process, gpu = (now - then for now, then in zip(_memory(), first or _memory(), strict=True))
    return Endurance(what, done, time.monotonic() - begun, process, gpu, open_cuda().device.integrated)


def _memory() -> tuple[int, int]:
    """Bytes that the process has in memory, and that are taken on the GPU."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    cuda = open_cuda()
    return pages * 4096, cuda.device.memory_bytes - cuda.free_bytes()


def _tell(record: Record) -> None:
    print(f"# {record.device.board or record.gpu.name}, {record.cuda}\n")
    print("| engine | ms p50 | ms p99 | verdict |\n| --- | ---: | ---: | --- |")
    for row in record.build.candidates if record.build else ():
        times = f"{row.speed.p50_ms:.2f} | {row.speed.p99_ms:.2f}" if row.speed else "- | -"
        spared = ", depthwise in float" if row.spare_depthwise else ""
        tail = ", own tail" if row.own_tail else ""
        print(f"| {row.backend} {row.precision}{spared}{tail} | {times} | {row.verdict}: {row.reason} |")
    print("\n| memory | CUDA graph | wait | ms p50 | ms p99 | same answer |\n| --- | --- | --- | ---: | ---: | --- |")
    for way in record.ways:
        wait = "spin" if way.spin else "sleep"
        graph, same = ("yes" if one else "no" for one in (way.cuda_graph, way.same_answer))
        print(f"| {way.memory} | {graph} | {wait} | {way.latency.p50_ms:.2f} | {way.latency.p99_ms:.2f} | {same} |")
    height, width = CAMERA_HW
    print(f"\n| {width}x{height} resized on | ms p50 | ms p99 | equal % |\n| --- | ---: | ---: | ---: |")
    for taken in record.resized:
        print(f"| {taken.where} | {taken.latency.p50_ms:.2f} | {taken.latency.p99_ms:.2f} | {100 * taken.equal:.2f} |")
    for one in record.endurance:
        gained = f"process {one.process_bytes / 1e6:+.1f} MB, GPU {one.gpu_bytes / 1e6:+.1f} MB"
        print(f"\n{one.what}: {one.count} in {one.seconds:.0f} s, {gained}: {'pass' if one.passed else 'fail'}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EdgesegError as error:
        _say(f"error: {error}")
        sys.exit(error.exit_code)
