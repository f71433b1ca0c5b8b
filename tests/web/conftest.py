"""Settings of the page's tests."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not live is drawn anew more often, so that the tests wait less for it."""
    monkeypatch.setattr("edgeseg.web.painter.BANNER_S", 0.05)
