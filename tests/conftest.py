"""Settings for all tests."""

from __future__ import annotations

from hypothesis import settings

# A loaded machine is slow now and then; no test asserts a time.
settings.register_profile("edgeseg", deadline=None)
settings.load_profile("edgeseg")
