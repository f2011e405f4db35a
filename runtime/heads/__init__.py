"""Heads: what a model's outputs mean. A file in this folder is a head; each has an ``Options`` dataclass."""
