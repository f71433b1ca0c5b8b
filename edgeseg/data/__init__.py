"""Frames and labels: data sets, calibration sets, and the one place where frames are resized."""
