"""Remedies name lines that work where they are read: no index has wav2edge, an environment may not be activated."""

from __future__ import annotations

import importlib.metadata
import re
import shlex
import sys
from pathlib import Path

import pytest

from wav2edge.runtime import remedies

ROOT = Path(__file__).parents[2]
METADATA = [
    "numpy>=1.26",
    "sounddevice>=0.5; extra == 'mic'",
    'rich>=13; extra == "mic"',
    "beams>=0.2; ((platform_machine == 'pdp11') or platform_machine == 'vax') and extra == 'lm'",
    "kenlm>=1; python_version >= '3.0' and extra == 'lm'",
]


@pytest.fixture(autouse=True)
def metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: METADATA)
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)


def test_packages_are_named_one_by_one() -> None:
    """`pip install "wav2edge[mic]"` failed on every board: no index has wav2edge."""
    assert remedies.install("mic").endswith('pip install "sounddevice>=0.5" "rich>=13"')
    assert remedies.install("mic", "lm").endswith('pip install "sounddevice>=0.5" "rich>=13" "kenlm>=1"')


def test_an_environment_that_is_not_activated_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian's own pip refuses ("externally managed"), and would install where wav2edge does not look."""
    monkeypatch.delenv("VIRTUAL_ENV")
    monkeypatch.delenv("CONDA_PREFIX", raising=False)
    words = shlex.split(remedies.install("mic"))
    assert words[0] == sys.executable or words[:4] == ["uv", "pip", "--python", sys.executable]


def test_without_metadata_the_source_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> list[str]:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", missing)
    assert remedies.install("cpu", "mic").endswith('[cpu,mic]"')


def test_no_message_asks_for_wav2edge_from_an_index() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for folder in ("runtime", "devices", "measure", "graphs", "calibration", "export", "src", "serving")
        for path in (ROOT / folder).rglob("*.py")
        for line in path.read_text("utf-8").splitlines()
        if re.search(r"pip install[^`]*\bwav2edge\[", line)
    ]
    assert wrong == []
