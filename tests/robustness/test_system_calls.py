"""What a writer asks of the system: in which order, and what is left when it is killed at any of these calls."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path

import pytest

from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.write import new_bundle
from wav2edge.runtime.files import write_whole

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace: apt-get install strace")

CHANGES = "rename,renameat,renameat2,fsync,fdatasync,unlink,unlinkat,rmdir,mkdir,mkdirat,flock,openat,write,sendfile"
"""The system calls by which a file or folder changes, is locked, or is made durable."""


def strace(folder: Path, script: str, *options: str) -> tuple[int, list[tuple[int, str, str]]]:
    """Run Python code under strace; its exit code, and its calls that change something in ``folder``.

    Each with its number among the process's calls of that name, its name, and its path: of its open file, or the first
    in quotes.
    """
    log = folder.parent / "calls.txt"
    words = ["strace", "-y", "-qq", "-o", str(log), "-e", f"trace={CHANGES}", "-e", "signal=none", *options]
    done = subprocess.run([*words, sys.executable, "-c", textwrap.dedent(script)], capture_output=True, timeout=60)
    numbers, calls = Counter[str](), []
    for line in log.read_text("utf-8").splitlines():
        found = re.match(r'(\w+)\((?:\d+<([^>]*)>|(?:AT_FDCWD(?:<[^>]*>)?, )?"([^"]*)")', line)
        if found is None:
            continue
        name, path = found[1], found[2] or found[3]
        numbers[name] += 1
        if path.startswith(str(folder)) and "= -1 " not in line and "O_RDONLY" not in line:
            calls.append((numbers[name], name, path))
    return done.returncode, calls


def test_a_file_is_durable_before_it_has_its_name_and_the_folder_after(tmp_path: Path) -> None:
    folder = tmp_path / "of"
    folder.mkdir()
    script = f"from wav2edge.runtime.files import write_whole; write_whole({str(folder / 'a')!r}, 'new')"
    code, calls = strace(folder, script)
    assert code == 0
    order = [(name, path) for _, name, path in calls if name not in ("openat", "flock", "unlink")]
    temporary = order[0][1]
    assert temporary != str(folder / "a")
    assert order == [("write", temporary), ("fsync", temporary), ("rename", temporary), ("fsync", str(folder))]


def test_everything_in_a_bundle_is_durable_before_it_replaces_another(shapes_bundle: Bundle, tmp_path: Path) -> None:
    source, folder = shapes_bundle.path, tmp_path / "of"
    target = shutil.copytree(source, folder / "bundle")
    code, calls = strace(folder, overwriting(target, source))
    assert code == 0
    order = [(name, path) for _, name, path in calls]
    exchange = next(at for at, (name, _) in enumerate(order) if name.startswith("rename"))
    changes = ("write", "sendfile")
    changed = {path: at for at, (name, path) in enumerate(order) if name in changes and at < exchange}
    durable = {path: at for at, (name, path) in enumerate(order[:exchange]) if name == "fsync"}
    assert {Path(path).name for path in changed} == set(os.listdir(source))
    assert all(durable.get(path, -1) > at for path, at in changed.items())
    made = {str(Path(path).parent) for path in changed}
    assert all(durable.get(path, -1) > max(changed.values()) for path in made)
    after = [path for name, path in order[exchange + 1 :] if name == "fsync"]
    assert str(folder) in after


def overwriting(target: Path, source: Path) -> str:
    """Code that overwrites a bundle with another."""
    return f"""
        import shutil
        from pathlib import Path
        from wav2edge.runtime.bundle.write import new_bundle
        with new_bundle(Path({str(target)!r}), overwrite=True) as made:
            shutil.copytree({str(source)!r}, made, dirs_exist_ok=True)
    """


@pytest.mark.slow
def test_killed_at_any_call_the_old_or_the_new_is_there_and_the_next_run_leaves_nothing(
    shapes_bundle: Bundle, tmp_path: Path
) -> None:
    """Killed between two renames, ``export --overwrite`` left no bundle at all."""
    folder = tmp_path / "of"
    old, new = (shutil.copytree(shapes_bundle.path, tmp_path / name) for name in ("old", "new"))
    for path in (old, new):
        write_whole(path / "which.txt", path.name)
    target = shutil.copytree(old, folder / "bundle")
    code, calls = strace(folder, overwriting(target, new))
    assert code == 0 and len(calls) > 20
    for number, name, _ in calls:
        shutil.rmtree(target)
        shutil.copytree(old, target)
        code, _ = strace(folder, overwriting(target, new), "-e", f"inject={name}:signal=KILL:when={number}")
        assert code == -9
        Bundle.open(target)
        assert (target / "which.txt").read_text() in ("old", "new")
        with new_bundle(target, overwrite=True) as made:
            shutil.copytree(new, made, dirs_exist_ok=True)
        assert os.listdir(folder) == [target.name]
