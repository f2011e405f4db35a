"""Rewrites that make INT8 and FP16 variants of a graph; a pass is a file."""
