"""Recordings in, float32 samples at the model's rate out."""
