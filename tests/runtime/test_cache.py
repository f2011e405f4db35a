"""The cache: where it is, files that are whole or absent, locks that end with their owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wav2edge.runtime import cache
from wav2edge.runtime.errors import InputError


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WAV2EDGE_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache.root() == tmp_path / ".cache" / "wav2edge"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/invalid")
    assert cache.root() == tmp_path / ".cache" / "wav2edge"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.root() == tmp_path / "xdg" / "wav2edge"
    monkeypatch.setenv("WAV2EDGE_CACHE", str(tmp_path / "mine"))
    assert cache.directory("engines", "a") == tmp_path / "mine" / "engines" / "a"
    assert (tmp_path / "mine" / "engines" / "a").is_dir()


def test_keys_depend_on_values_not_on_order() -> None:
    assert cache.key({"a": 1, "b": [2, "ü"]}) == cache.key({"b": [2, "ü"], "a": 1})
    assert cache.key({"a": 1}) != cache.key({"a": 2})
    assert len(cache.key({})) == 20


def test_a_file_that_cannot_be_written_says_which_variable_to_set(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="WAV2EDGE_CACHE"):
        cache.atomic_write(tmp_path / "file" / "below", "x")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "tuning.json"
    cache.atomic_write(target, '{"a": 1}')

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left"):
        cache.atomic_write(target, '{"a": 2}')
    assert cache.read_json(target) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["tuning.json"]


def test_damaged_json_is_as_good_as_none(tmp_path: Path) -> None:
    assert cache.read_json(tmp_path / "missing.json") is None
    for content in (b'{"a": ', b"\xff\xfe", b"[1]", b"", b"[" * 100_000, b'{"a":' * 100_000):
        (tmp_path / "x.json").write_bytes(content)
        assert cache.read_json(tmp_path / "x.json") is None


HOLDER = """
import sys, time
from pathlib import Path
from wav2edge.runtime import cache
with cache.lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_ends_with_its_owner(tmp_path: Path) -> None:
    """A builder that is killed with -9 must not lock the machine out of its engine for ever."""
    path = tmp_path / "engine.lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        told: list[bool] = []
        with pytest.raises(TimeoutError), cache.lock(path, waiting=lambda: told.append(True), timeout=0.3):
            pass
        assert told == [True]
        holder.send_signal(signal.SIGKILL)
        holder.wait(10)
        started = time.monotonic()
        with cache.lock(path, timeout=5):
            assert time.monotonic() - started < 2
    finally:
        holder.kill()
        holder.wait(10)
        if holder.stdout is not None:
            holder.stdout.close()


def test_a_user_without_a_home_has_a_cache_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in (cache.ENVIRONMENT, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", without_home)
    assert cache.root().name.startswith("wav2edge-")


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="POSIX permissions")
def test_a_cache_that_others_may_write_to_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In containers without a home the cache was a name in /tmp that anybody could make first."""
    monkeypatch.setenv(cache.ENVIRONMENT, str(tmp_path / "cache"))
    assert cache.directory("a").stat().st_mode & 0o077 in (0o000, 0o055)
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700
    (tmp_path / "cache").chmod(0o777)
    with pytest.raises(InputError, match="others may write to it"):
        cache.directory("a")
    monkeypatch.setenv(cache.ENVIRONMENT, "~nobody-of-this-name/x")
    with pytest.raises(InputError, match="WAV2EDGE_CACHE=~nobody"):
        cache.directory("a")


def test_files_of_a_library_are_used_as_they_were_written_or_made_again(tmp_path: Path) -> None:
    for name in ("a.blob", "b.blob"):
        (tmp_path / name).write_bytes(name.encode())
    cache.record_digests(tmp_path, "*.blob", {})
    (tmp_path / "b.blob").write_bytes(b"changed")
    (tmp_path / "c.blob").write_bytes(b"unknown")
    kept = cache.drop_changed(tmp_path, "*.blob")
    assert [path.name for path in sorted(tmp_path.glob("*.blob"))] == ["a.blob"] == list(kept)


def test_files_that_were_checked_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading base shape read 95 MB of compiled weights six times over, which took longer than all else together."""
    (tmp_path / "a.blob").write_bytes(b"a")
    cache.record_digests(tmp_path, "*.blob", {})
    kept = cache.drop_changed(tmp_path, "*.blob")
    (tmp_path / "new.blob").write_bytes(b"new")
    read: list[str] = []
    digest = cache._digest

    def noted(path: Path) -> str | None:
        read.append(path.name)
        return digest(path)

    monkeypatch.setattr(cache, "_digest", noted)
    cache.record_digests(tmp_path, "*.blob", kept)
    assert read == ["new.blob"]
    assert list(cache.drop_changed(tmp_path, "*.blob")) == ["a.blob", "new.blob"]
