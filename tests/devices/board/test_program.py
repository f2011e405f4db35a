"""wav2edge's own wheel, made on the spot: from source, and from what is installed."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import importlib.util
import sys
import zipfile
from pathlib import Path

import pytest

from wav2edge.devices.board import program

pytestmark = pytest.mark.slow


def modules(path: Path) -> dict[str, int]:
    with zipfile.ZipFile(path) as archive:
        return {entry.filename: entry.CRC for entry in archive.infolist() if entry.filename.startswith("wav2edge/")}


def test_the_rebuilt_wheel_holds_what_the_built_one_holds(tmp_path: Path) -> None:
    """The package is in no registry: a board can only get the program from where it is packed."""
    if program.source_folder() is None or importlib.util.find_spec("hatchling") is None:
        pytest.skip("needs the source and hatchling")
    (tmp_path / "a").mkdir()
    built, again = program.wheel(tmp_path), program.rebuilt(tmp_path / "a")
    assert modules(built) == modules(again)
    assert "wav2edge/devices/board/install.sh" in modules(again)


def test_a_rebuilt_wheel_is_whole_and_the_same_each_time(tmp_path: Path) -> None:
    if sys.version_info < (3, 11):
        pytest.skip("the metadata of an editable installation")
    first = program.rebuilt(tmp_path)
    digest = hashlib.sha256(first.read_bytes()).digest()
    assert hashlib.sha256(program.rebuilt(tmp_path).read_bytes()).digest() == digest
    with zipfile.ZipFile(first) as archive:
        (record,) = (name for name in archive.namelist() if name.endswith(".dist-info/RECORD"))
        rows = [line.rsplit(",", 2) for line in archive.read(record).decode().splitlines()]
        assert {row[0] for row in rows} == set(archive.namelist())
        for name, digest_text, size in rows:
            if name != record:
                content = archive.read(name)
                expected = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
                assert (digest_text, int(size)) == (f"sha256={expected}", len(content))
        folder = record.partition("/")[0]
        assert f"{folder}/entry_points.txt" in archive.namelist()
        metadata = archive.read(f"{folder}/METADATA").decode()
    assert f"Version: {importlib.metadata.version('wav2edge')}" in metadata
