"""Run the stages of the recipe as separate commands, each once, resumed after an interruption."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .speech.clips import ClipStore

PACKAGE = "recipes.embedded"
ROOT = Path(__file__).resolve().parents[2]


def stage(module: str, *arguments: object, processes: int = 1) -> None:
    """Run one module of the recipe as a command; where it fails or is ended, stop with its exit code.

    More than one process train together (`student.replicas`).
    """
    together = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    line = [sys.executable, *(together if processes > 1 else []), "-m", f"{PACKAGE}.{module}", *map(str, arguments)]
    print("+", " ".join(line[1:]), flush=True)
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    code = subprocess.run(line, env={**os.environ, "PYTHONPATH": paths}).returncode
    if code:
        print(f"error: {module} ended with {code}; run the same command again to go on from there", file=sys.stderr)
        sys.exit(code if code > 0 else 128 - code)


def once(marker: Path, stores: Sequence[Path], module: str, *arguments: object) -> None:
    """Run a stage that rewrites `stores`, unless `marker` says that it finished with just these clips in them."""
    clips = "".join(f"{folder.name} {len(ClipStore(folder))}\n" for folder in stores)
    if marker.exists() and marker.read_text("utf-8") == clips:
        return
    marker.unlink(missing_ok=True)
    stage(module, *arguments)
    marker.write_text(clips, "utf-8")
