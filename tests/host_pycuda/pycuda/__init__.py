"""A pycuda on the processor's own memory: the calls that edgeseg makes, each done at once."""

VERSION_TEXT = "0.0.0"
