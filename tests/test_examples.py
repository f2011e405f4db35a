"""Every script of examples/ runs, on the embedded model or on a checkpoint that ships, and prints what it promises."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CHECKPOINT = ROOT / "recipes" / "embedded" / "checkpoint"


@dataclass(frozen=True)
class Run:
    """How an example is run: its arguments, and what must be in its output or its files."""

    arguments: tuple[str, ...]
    expected: str
    file: str | None = None


RUNS: dict[str, Run] = {
    "transcribe_file": Run(("talk.wav", "bundle"), "milk"),
    "stream_segments": Run(("talk.wav",), "milk"),
    "live_captions": Run(("talk.wav", "bundle"), "milk"),
    "subtitles": Run(("talk.wav",), "00:00:0", "talk.srt"),
    "batch_of_files": Run(("talk.wav", "talk.wav"), '"path": "talk.wav"'),
    "own_audio_loop": Run(("talk.wav", "bundle"), "Final("),
    "export_checkpoint": Run((str(CHECKPOINT), "exported"), "passed"),
    "quantize_bundle": Run(("bundle", "calibration.jsonl", "dev.jsonl"), "int8-u8s8"),
}
SLOW = {"export_checkpoint", "quantize_bundle"}


def test_every_example_is_run() -> None:
    assert set(RUNS) == {path.stem for path in (ROOT / "examples").glob("*.py")}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in sorted(RUNS)]
)
def test_example(name: str, workspace: Path) -> None:
    run = RUNS[name]
    result = subprocess.run(
        [sys.executable, ROOT / "examples" / f"{name}.py", *run.arguments],
        cwd=workspace,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "WAV2EDGE_CACHE": str(workspace / "cache")},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert result.returncode == 0, result.stderr
    assert run.expected in ((workspace / run.file).read_text("utf-8") if run.file else result.stdout)
