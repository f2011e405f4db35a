"""The same functions as ``wav2edge.runtime.bundle.embedded``, for programs that import this name."""

from __future__ import annotations

from .bundle.embedded import bundle_path as bundle_path
from .bundle.embedded import clips_manifest as clips_manifest
from .bundle.embedded import resolve as resolve
