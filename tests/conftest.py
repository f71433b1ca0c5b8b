"""Settings for all tests."""

from __future__ import annotations

import os
import signal

# Read when torch is imported. Its networks are small here, and a second thread would mostly wait for the first.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import settings

# A shell has jobs in the background ignore Ctrl-C, and so would the processes that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A loaded machine is slow now and then; no test asserts a time.
settings.register_profile("edgeseg", deadline=None, max_examples=40)
settings.load_profile("edgeseg")
