"""What the exporter's operators are called in the graph, for the passes that take them out again."""

from __future__ import annotations

DOMAIN = "wav2edge"
"""The domain of operators that no engine has (export/operators.py)."""
NAME = "Name"
"""A copy of a value that gives it a name."""
