"""Cached engines are trusted only when whole, ours and made of the same things."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from wav2edge.runtime.engines._profiles import ShapeProfile
from wav2edge.runtime.engines._tensorrt import store
from wav2edge.runtime.engines._tensorrt.store import Key
from wav2edge.runtime.errors import InputError

KEY = Key(
    graph=("aa", "bb"),
    stage="full",
    library="tensorrt",
    version="10.3.0",
    profiles=(ShapeProfile(400, 16000), ShapeProfile(16001, 32000)),
    gpu="Orin (nvgpu)",
    capability="8.7",
    driver="CUDA 12.6",
)
PLAN = b"\x00ptrt\n" * 1000


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WAV2EDGE_CACHE", str(tmp_path))
    return tmp_path


def test_what_was_written_is_read() -> None:
    assert store.read(KEY) == store.Found()
    store.write(KEY, PLAN, proven=False)
    assert store.read(KEY) == store.Found(PLAN, proven=False)
    store.write(KEY, PLAN, proven=True)
    assert store.read(KEY) == store.Found(PLAN, proven=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": "10.16.2"}, "version 10.3.0, here it is 10.16.2"),
        ({"driver": "CUDA 13.2"}, "driver CUDA 12.6, here it is CUDA 13.2"),
    ],
)
def test_an_outdated_engine_is_not_used_and_the_reason_is_given(change: dict[str, str], words: str) -> None:
    store.write(KEY, PLAN, proven=True)
    found = store.read(dataclasses.replace(KEY, **change))  # type: ignore[arg-type]
    assert found.plan is None
    assert words in str(found.reason)


@pytest.mark.parametrize(
    "change",
    [
        {"graph": ("aa", "cc")},
        {"stage": "encoder"},
        {"gpu": "NVIDIA GeForce RTX 4090"},
        {"capability": "8.9"},
        {"profiles": (ShapeProfile(400, 16000),)},
        {"library": "tensorrt-rtx"},
    ],
)
def test_another_engine_has_another_file(change: dict[str, object]) -> None:
    store.write(KEY, PLAN, proven=True)
    other = dataclasses.replace(KEY, **change)  # type: ignore[arg-type]
    assert other.path != KEY.path
    assert store.read(other) == store.Found()


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="POSIX permissions")
def test_a_cache_that_others_may_write_to_is_neither_read_nor_written(own_cache: Path) -> None:
    """A plan is code that is run; it was read from such a cache before anything looked at its permissions."""
    store.write(KEY, PLAN, proven=True)
    own_cache.chmod(0o777)
    with pytest.raises(InputError, match="others may write to it"):
        store.read(KEY)
    with pytest.raises(InputError, match="others may write to it"):
        store.write(KEY, PLAN, proven=True)


@pytest.mark.parametrize("header", [b"[" * 100_000, b'{"key": {}, "bytes": Infinity, "sha256": "", "proven": true}'])
def test_a_damaged_header_is_a_reason_to_build_again(header: bytes) -> None:
    """Nested deeply, or with an infinite size, it was an internal error for good."""
    store.write(KEY, PLAN, proven=True)
    KEY.path.write_bytes(b"wav2edge engine 1\n" + header + b"\n" + PLAN)
    assert store.read(KEY) == store.Found(reason="the cached engine's header is damaged")


def test_a_file_cut_anywhere_is_never_trusted() -> None:
    store.write(KEY, PLAN, proven=True)
    whole = KEY.path.read_bytes()
    for size in (0, 1, 17, 18, 60, len(whole) // 2, len(whole) - 1):
        KEY.path.write_bytes(whole[:size])
        found = store.read(KEY)
        assert found.plan is None
        assert found.reason


def test_a_changed_byte_a_longer_file_and_a_foreign_one_are_noticed() -> None:
    store.write(KEY, PLAN, proven=True)
    whole = KEY.path.read_bytes()
    KEY.path.write_bytes(whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:])
    assert "SHA-256" in str(store.read(KEY).reason)
    KEY.path.write_bytes(whole + b"x")
    assert "truncated" in str(store.read(KEY).reason) or "bytes" in str(store.read(KEY).reason)
    KEY.path.write_bytes(PLAN)
    assert "not an engine of wav2edge" in str(store.read(KEY).reason)
    KEY.path.write_bytes(b"wav2edge engine 1\n{}\n" + PLAN)
    assert "header is damaged" in str(store.read(KEY).reason)
