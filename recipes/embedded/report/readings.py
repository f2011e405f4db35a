"""The log of uses of the eval split."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from pathlib import Path

from ..error_rates import Rates


def log_reading(log: Path, why: str, sha256: str, rates: Mapping[str, Rates]) -> None:
    """Add a line: when and why the eval split was read, with which weights, and the error rates of its corpora."""
    when = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="minutes")
    with open(log, "a", encoding="utf-8") as file:
        file.write(json.dumps({"when": when, "why": why, "sha256": sha256, "eval": rates}) + "\n")
