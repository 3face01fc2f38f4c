"""Quantising with calibration: exact smoothing, error feedback, one layer in memory at a time."""
