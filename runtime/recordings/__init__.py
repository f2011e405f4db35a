"""Whole recordings of any length through a model: chunks, batches, segments."""
