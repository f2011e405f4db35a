"""Names of the exporter's operators in the graph, for the passes that remove them."""

from __future__ import annotations

DOMAIN = "wav2edge"
"""The domain of operators that no engine has (export/operators.py)."""
NAME = "Name"
"""The operator that copies a value and names it."""
