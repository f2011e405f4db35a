"""Whole recordings of any length through a model: windows, batches, segments."""
