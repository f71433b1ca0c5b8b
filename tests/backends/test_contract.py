"""What every backend promises, tried on each that is installed."""

from __future__ import annotations

import os
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgeseg.backends import BACKENDS, Backend, Engine, EngineOptions, Session, Ticket, open_backend
from edgeseg.card import PixelFormat, Precision
from edgeseg.errors import EdgesegError, EngineMismatch, ModelFileError, UsageError

pytest.importorskip("onnx_ir")
from tests.backends.frame_graphs import SIZE, write_frame_graph
from tests.engines import host_gpu, runnable
from tests.graphs import CLASSES

#: So large that one array stands out among Python's small objects.
LARGE = (384, 512)


#: TensorRT's session on a GPU that is none, with memory of its own and with the processor's.
HOSTED = {"tensorrt on the host, copied": False, "tensorrt on the host, mapped": True}


@pytest.fixture(params=[*BACKENDS, *HOSTED], scope="module")
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    if request.param not in HOSTED:
        yield runnable(request.param)
        return
    with host_gpu(integrated=HOSTED[request.param]):
        yield open_backend("tensorrt")


@pytest.fixture(scope="module")
def engine(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return build(backend, tmp_path_factory.mktemp(backend.name))


@pytest.fixture
def session(backend: Backend, engine: Engine) -> Iterator[Session]:
    with backend.load(engine) as session:
        yield session


def lacking_precision(backend: Backend) -> Precision:
    return "bf16" if "fp16" in backend.floats else "fp16"


def build(
    backend: Backend,
    folder: Path,
    size_hw: tuple[int, int] = SIZE,
    *,
    batch: int = 1,
    pixel_format: PixelFormat = "bgr",
) -> Engine:
    graph = write_frame_graph(folder / "graph.onnx", size_hw, batch=batch, pixel_format=pixel_format, head=backend.head)
    built = backend.build(graph, folder / f"engine{backend.suffix}", EngineOptions())
    return Engine.open(built.path)


def frames(seed: int, size_hw: tuple[int, int] = SIZE, *, batch: int = 1, channels: int = 3) -> np.ndarray:
    """Patches of random colours, so that several classes occur."""
    patches = np.random.default_rng(seed).integers(0, 256, (batch, 4, 6, channels), np.uint8)
    rows, columns = (np.arange(size) * count // size for size, count in zip(size_hw, (4, 6), strict=True))
    return patches[:, rows][:, :, columns]


class TestBuild:
    def test_the_card_says_what_was_built(self, backend: Backend, engine: Engine) -> None:
        card = engine.card
        assert (card.kind, card.backend, card.precision, card.dialect) == ("engine", backend.name, "fp32", "float")
        assert card.tools[backend.name] == backend.version()
        assert card.measured["execution"]["precision"] == "fp32"
        assert card.measured["execution"].get("threads", 1) >= 1
        assert engine.path.suffix == backend.suffix

    def test_a_second_build_gives_the_same_file(self, backend: Backend, engine: Engine, tmp_path: Path) -> None:
        assert build(backend, tmp_path).card.sha256 == engine.card.sha256

    def test_a_refused_graph_leaves_the_old_engine(self, backend: Backend, tmp_path: Path) -> None:
        old = build(backend, tmp_path)
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        (tmp_path / "graph.onnx").write_bytes(before["graph.onnx"][:-100])
        with pytest.raises(ModelFileError, match=r"graph\.onnx"):
            backend.build(tmp_path / "graph.onnx", old.path, EngineOptions())
        (tmp_path / "graph.onnx").write_bytes(before["graph.onnx"])
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before

    def test_a_precision_that_it_lacks_is_refused(self, backend: Backend, tmp_path: Path) -> None:
        graph = write_frame_graph(tmp_path / "graph.onnx")
        lacking = lacking_precision(backend)
        with pytest.raises(UsageError, match=lacking) as caught:
            backend.build(graph, tmp_path / "engine", EngineOptions(lacking))
        assert "fp32" in caught.value.hint
        assert os.listdir(tmp_path) == ["graph.onnx"]


class TestLoad:
    def test_a_changed_engine_is_refused(self, backend: Backend, tmp_path: Path) -> None:
        path = build(backend, tmp_path).path
        path.write_bytes(path.read_bytes() + b"\0")
        with pytest.raises(ModelFileError, match="damaged"):
            Engine.open(path)

    def test_another_backend_s_engine_is_refused(self, backend: Backend, engine: Engine) -> None:
        other = "fake" if backend.name != "fake" else "onnxruntime"
        card = msgspec.structs.replace(engine.card, backend=other)
        with pytest.raises(EngineMismatch, match=f"built for {other}"):
            backend.load(Engine(engine.path, card))

    def test_an_engine_of_a_precision_that_is_lacking_here_is_refused(self, backend: Backend, engine: Engine) -> None:
        lacking = lacking_precision(backend)
        card = msgspec.structs.replace(engine.card, float_precision=lacking)
        with pytest.raises(EngineMismatch, match=lacking):
            backend.load(Engine(engine.path, card))


class TestAnswers:
    @pytest.mark.parametrize("batch", [1, 3], ids=["one frame", "three frames"])
    @pytest.mark.parametrize("pixel_format", ["bgr", "bgrx"])
    def test_the_class_map_is_the_best_of_the_logits(
        self, backend: Backend, tmp_path: Path, batch: int, pixel_format: PixelFormat
    ) -> None:
        engine = build(backend, tmp_path, batch=batch, pixel_format=pixel_format)
        given = frames(1, batch=batch, channels=len(pixel_format))
        with backend.load(engine) as session, backend.load(engine, "logits") as inner:
            class_map, logits = session.infer(given), inner.infer(given)
        assert (class_map.shape, class_map.dtype) == ((batch, *SIZE), np.uint8)
        assert (logits.shape[:2], logits.dtype) == ((batch, CLASSES), np.float32)
        best = logits.argmax(1).astype(np.uint8)
        factor = SIZE[0] // best.shape[1]
        np.testing.assert_array_equal(class_map, best.repeat(factor, 1).repeat(factor, 2))
        assert len(np.unique(class_map)) > 1, "one class everywhere would prove nothing"

    def test_each_frame_of_a_batch_has_its_own_answer(self, backend: Backend, engine: Engine, tmp_path: Path) -> None:
        given = frames(2, batch=2)
        with backend.load(engine) as single, backend.load(build(backend, tmp_path, batch=2)) as double:
            alone = [single.infer(given[index : index + 1])[0] for index in range(2)]
            np.testing.assert_array_equal(double.infer(given), alone)
        assert (alone[0] != alone[1]).any()

    def test_answers_come_in_order(self, session: Session) -> None:
        given = [frames(seed) for seed in range(6)]
        wanted = [session.infer(frame) for frame in given]
        got, tickets = [], []
        for frame in given:
            np.copyto(session.input_buffer(), frame)
            tickets.append(session.submit())
            if len(tickets) == 2:
                got.append(tickets.pop(0).result().copy())
        got.append(tickets.pop().result())
        np.testing.assert_array_equal(got, wanted)

    def test_the_times_of_frames_that_follow_do_not_overlap(self, backend: Backend, tmp_path: Path) -> None:
        with backend.load(build(backend, tmp_path, LARGE)) as session:
            begin = time.perf_counter_ns()
            tickets = [session.submit(), session.submit()]
            assert tickets[0].stage_ms == {}, "times are told with the result"
            tickets[0].result()
            tickets.append(session.submit())
            for ticket in tickets[1:]:
                ticket.result()
            elapsed_ms = (time.perf_counter_ns() - begin) / 1e6
        assert 0 < sum(ticket.stage_ms["inference"] for ticket in tickets) <= elapsed_ms


class TestBuffers:
    def test_an_answer_is_valid_until_the_second_submit_after_its_own(self, session: Session) -> None:
        first, second, third = (frames(seed) for seed in range(3))
        wanted = session.infer(first)
        answer = _submit(session, first).result()
        _submit(session, second).result()
        np.testing.assert_array_equal(answer, wanted)
        assert _submit(session, third).result() is answer, "the buffer is used again from here on"

    def test_the_input_buffer_stays_the_same_until_it_is_submitted(self, session: Session) -> None:
        first = session.input_buffer()
        assert session.input_buffer() is first
        session.submit()
        assert session.input_buffer() is not first

    def test_infer_returns_an_array_to_keep(self, session: Session) -> None:
        kept = session.infer(frames(0))
        copy = kept.copy()
        for seed in range(1, 4):
            session.infer(frames(seed))
        np.testing.assert_array_equal(kept, copy)

    def test_an_answer_goes_to_the_array_that_was_given(self, session: Session) -> None:
        wanted = session.infer(frames(0))
        out = np.full_like(wanted, 255)
        assert session.infer(frames(0), out) is out
        np.testing.assert_array_equal(out, wanted)

    @pytest.mark.parametrize("output", ["class_map", "logits"])
    def test_no_array_is_made_for_a_frame(self, backend: Backend, tmp_path: Path, output: str) -> None:
        given = frames(0, LARGE)
        with backend.load(build(backend, tmp_path, LARGE), output) as session:
            out = session.infer(given)
            session.infer(given, out)
            smallest = min(out.nbytes, given.nbytes)
            assert _peak(lambda: session.infer(given)) >= smallest, "the copy to keep is seen, so the measure works"
            assert _peak(lambda: [session.infer(given, out) for _ in range(4)]) < smallest // 2


def _submit(session: Session, frame: np.ndarray) -> Ticket:
    np.copyto(session.input_buffer(), frame)
    return session.submit()


def _peak(run: Callable[[], object]) -> int:
    """Bytes that Python and numpy held at most during a run, beyond what they held before."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        run()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


WRONG = {
    "no batch axis": frames(0)[0],
    "another size": frames(0, (16, 48)),
    "four channels": frames(0, channels=4),
    "two frames": frames(0, batch=2),
    "floats": frames(0).astype(np.float32),
    "signed bytes": frames(0).view(np.int8),
}


class TestRules:
    @pytest.mark.parametrize("given", WRONG.values(), ids=WRONG)
    def test_frames_that_do_not_fit_are_refused(self, session: Session, given: np.ndarray) -> None:
        with pytest.raises(UsageError, match=r"takes uint8 \(1, 32, 48, 3\)"):
            session.infer(given)
        session.infer(frames(0))

    @pytest.mark.parametrize(
        "out", [np.zeros((1, 32, 47), np.uint8), np.zeros((1, 32, 48), np.int64)], ids=["shape", "dtype"]
    )
    def test_an_out_that_does_not_fit_is_refused_and_loses_nothing(self, session: Session, out: np.ndarray) -> None:
        wanted = session.infer(frames(0))
        ticket = _submit(session, frames(0))
        with pytest.raises(UsageError, match=r"the answer is uint8 \(1, 32, 48\)"):
            ticket.result(out)
        np.testing.assert_array_equal(ticket.result(), wanted)

    def test_a_third_ticket_is_refused(self, session: Session) -> None:
        older, younger = session.submit(), session.submit()
        for call in (session.submit, session.input_buffer, lambda: session.infer(frames(0))):
            with pytest.raises(EdgesegError, match="Two tickets"):
                call()
        older.result()
        session.submit()
        younger.result()

    def test_an_answer_is_taken_once(self, session: Session) -> None:
        ticket = session.submit()
        ticket.result()
        session.submit()
        session.submit()
        with pytest.raises(EdgesegError, match="taken before"):
            ticket.result()

    def test_two_threads_at_once_are_refused_and_disturb_nothing(self, session: Session) -> None:
        given = [frames(seed) for seed in range(2)]
        wanted = [session.infer(frame) for frame in given]
        start, refused, wrong = threading.Barrier(2), threading.Event(), threading.Event()

        def work(index: int) -> None:
            start.wait()
            for _ in islice(iter(refused.is_set, True), 20_000):
                try:
                    if (session.infer(given[index]) != wanted[index]).any():
                        wrong.set()
                except EdgesegError as error:
                    (refused if "Two threads" in error.message else wrong).set()

        threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert refused.is_set() and not wrong.is_set()
        np.testing.assert_array_equal(session.infer(given[0]), wanted[0])

    def test_closing_waits_for_tickets_and_may_be_repeated(self, backend: Backend, engine: Engine) -> None:
        session = backend.load(engine)
        ticket = session.submit()
        session.submit()
        session.close()
        session.close()
        for call in (session.input_buffer, session.submit, ticket.result, lambda: session.infer(frames(0))):
            with pytest.raises(EdgesegError, match="closed"):
                call()

    def test_sessions_leave_no_thread_behind(self, backend: Backend, engine: Engine) -> None:
        before = threading.active_count()
        with backend.load(engine) as one, backend.load(engine) as two:
            np.testing.assert_array_equal(one.infer(frames(0)), two.infer(frames(0)))
        assert threading.active_count() == before
