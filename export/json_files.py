"""The small files of a checkpoint: JSON objects, with one clear error for each way they can be wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..runtime.errors import CheckpointError


def read_json(path: Path, required: str | None = None) -> dict[str, Any]:
    """A JSON object; empty when the file is missing, unless ``required`` says what that means."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if required is None:
            return {}
        raise CheckpointError(f"{path.parent}: no {path.name}; {required}") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot be read ({one_line(error)})") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: no JSON object")
    return values


def one_line(error: BaseException) -> str:
    """The first line of an error's message; two where the first only announces the second."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
