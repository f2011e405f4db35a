"""The branches for Windows and macOS, as far as they can run here; scripts/check has mypy look at all of them.

No test was run on those systems: what is stood in for here is the name of the system and the modules that it lacks.
"""

from __future__ import annotations

import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from wav2edge.runtime import cache, files
from wav2edge.runtime.bundle import write
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.errors import InputError
from wav2edge.runtime.live.broadcast import EventSocket
from wav2edge.runtime.live.watchdog import Watchdog
from wav2edge.serving import decode_worker, memory, server

UNIX_MODULES = ("fcntl", "resource", "termios", "tty", "pwd", "grp", "pty")

IMPORTS = f"""
import importlib, pkgutil, sys
import wav2edge
names = [name for _, name, _ in pkgutil.walk_packages(wav2edge.__path__, "wav2edge.") if ".engines.torch" not in name
         and not name.startswith(("wav2edge.export", "wav2edge.calibration", "wav2edge.graphs"))
         and not name.endswith("__main__")]
def load():
    found = []
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            found.append((name, str(error)))
    return found
before = load()  # with it, what is not ours
for name in [name for name in sys.modules if name.partition(".")[0] == "wav2edge"]:
    del sys.modules[name]
for name in {UNIX_MODULES}:
    sys.modules[name] = None
sys.platform = "win32"
print([found for found in load() if found not in before])
"""


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name, and without the modules of Unix."""
    for name in UNIX_MODULES:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(sys, "platform", "win32")


def test_every_module_of_a_device_is_imported_without_those_of_unix() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, timeout=120)
    assert done.stdout == "[]\n", done.stdout + done.stderr


def test_files_and_bundles_are_written_whole_on_windows(
    windows: None, monkeypatch: pytest.MonkeyPatch, shapes_bundle: Bundle, tmp_path: Path
) -> None:
    """There a folder cannot be opened, an open file cannot be renamed, and one that is only read cannot be flushed."""
    opened, replaced = os.open, os.replace

    def open_file(path: str | Path, flags: int, *rest: int) -> int:
        assert not Path(path).is_dir()
        assert flags & (os.O_RDWR | os.O_WRONLY)
        return opened(path, flags, *rest)

    def replace(source: Path, target: Path) -> None:
        descriptors = Path("/proc/self/fd")
        assert str(source) not in [os.readlink(each) for each in descriptors.iterdir() if each.is_symlink()]
        replaced(source, target)

    monkeypatch.setattr(os, "open", open_file)
    monkeypatch.setattr(os, "replace", replace)
    files.write_whole(tmp_path / "file", b"content")
    assert (tmp_path / "file").read_bytes() == b"content"
    with files.staging(tmp_path / "target") as folder:
        (folder / "added.onnx").write_bytes(b"graph")
        variant = write.describe_variant(folder, "added", "int8", {"full": "added.onnx"}, made_from="fp32")
        made = write.add_variants(shapes_bundle, folder, [variant])
    assert [each.name for each in made.variants] == ["fp32", "added"]


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_two_folders_change_places_without_renameat2(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, system: str
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    for name in ("new", "old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    files.exchange(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old" / "file").read_text() == "new"
    assert (tmp_path / "new" / "file").read_text() == "old"


def test_a_cache_without_a_home_on_windows(windows: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", home)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    for name in (cache.ENVIRONMENT, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert cache.root() == tmp_path / "wav2edge"


def test_the_lock_of_a_cache_is_msvcrts_on_windows(windows: None, monkeypatch: pytest.MonkeyPatch) -> None:
    held: set[int] = set()

    def locking(handle: int, mode: int, count: int) -> None:
        assert (mode, count) == (2, 1)
        if handle in held:
            raise OSError(36, "Resource deadlock avoided")
        held.add(handle)

    module = types.ModuleType("msvcrt")
    module.__dict__.update(locking=locking, LK_NBLCK=2)
    monkeypatch.setitem(sys.modules, "msvcrt", module)
    assert cache._locked(5)
    assert not cache._locked(5)


def test_the_server_has_no_bounds_where_windows_knows_none(windows: None) -> None:
    assert memory.resident() == 0
    assert memory.bound() > 2**40
    decode_worker._bound_memory()
    server._allow_many_files()


def test_local_sockets_are_refused_where_there_are_none(
    windows: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="no local sockets; name a file"):
        EventSocket(tmp_path / "captions.sock")
    monkeypatch.delattr("socket.AF_UNIX")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    Watchdog.from_environment().ready()


def test_no_proc_and_no_sysctl(tmp_path: Path) -> None:
    """A system of neither kind: what cannot be read is left out."""
    from wav2edge.devices.detect import detect

    found = detect(str(tmp_path))
    assert found.cpu.cores >= 1 and found.model is None
