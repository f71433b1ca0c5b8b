"""Ranges measured once, and Q/DQ graphs emitted from them per dialect."""
