"""Every decoder on every backbone, from torch to INT8."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from edgeseg.graph.export import TOLERANCE
from edgeseg.graph.verify import LEAST_EQUAL
from edgeseg.models import list_models
from edgeseg.models.registry import BACKBONES
from tests.models.pairs import SIZES, TESTED, Found, check_backbone

#: This backbone is tried at every run, the others by `make test-slow`: each takes minutes.
QUICK = "-shufflenetv2"
PAIRS = pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name.endswith(QUICK) else pytest.mark.slow) for name in list_models()],
)
#: Decibels. Untrained networks that saw two frames lose more than trained ones do.
LEAST_SNR = 6


@pytest.fixture(scope="module")
def checked(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[dict[str, Found]]]]:
    """What became of each backbone that is tried under all decoders, on all cores."""
    own = [item for item in request.session.items if getattr(item, "module", None) is request.module]
    names = {str(item.callspec.params["name"]) for item in own}  # type: ignore[attr-defined]
    tried = [backbone for backbone in BACKBONES if any(name.endswith(f"-{backbone}") for name in names)]
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        yield {backbone: pool.submit(check_backbone, backbone) for backbone in tried}
        pool.shutdown(cancel_futures=True)


@pytest.fixture
def found(name: str, checked: dict[str, Future[dict[str, Found]]]) -> Found:
    decoder, backbone = name.split("-", 1)
    return checked[backbone].result()[decoder]


@PAIRS
def test_logits_and_classes_are_those_of_torch_at_any_size(found: Found) -> None:
    assert list(found.error) == list(found.equal) == ["{}x{}".format(*size) for size in SIZES]
    assert max(found.error.values()) < TOLERANCE
    assert min(found.equal.values()) >= LEAST_EQUAL


@PAIRS
@pytest.mark.parametrize("dialect", TESTED)
def test_all_weights_are_in_eight_bits_and_the_signal_survives(found: Found, dialect: str) -> None:
    assert found.in_float[dialect] == []
    assert found.snr_db[dialect] > LEAST_SNR
    assert found.fused[dialect]


@PAIRS
def test_ranges_serve_at_another_size(found: Found) -> None:
    assert found.other_size.startswith("The ranges were measured at {}x{}".format(*SIZES[1]))


@PAIRS
def test_tensorrt_has_nothing_against_the_signed_dialect(found: Found) -> None:
    assert found.findings == []
