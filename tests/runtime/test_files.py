"""A file is written whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from wav2edge.runtime.files import exchange, remove_left_over, replace_whole, staging, write_whole


def test_text_and_bytes_replace_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "report.txt"
    write_whole(path, "é")
    assert path.read_bytes() == "é".encode()
    write_whole(path, b"new")
    assert path.read_bytes() == b"new" and os.listdir(tmp_path) == ["report.txt"]


def test_a_new_file_has_a_new_files_permissions_and_a_replaced_one_keeps_its_own(tmp_path: Path) -> None:
    path, plain = tmp_path / "a", tmp_path / "plain"
    plain.touch()
    write_whole(path, "x")
    assert path.stat().st_mode == plain.stat().st_mode
    path.chmod(0o640)
    write_whole(path, "y")
    assert path.stat().st_mode & 0o777 == 0o640


def test_an_error_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(RuntimeError), replace_whole(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a"]


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are of Unix")
def test_a_disk_that_is_full_is_named(tmp_path: Path) -> None:
    """The line was: No space left on device. A limit on the size of files stands for the disk."""
    import resource

    limits, kept = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OSError, match=r"report\.html"):
            write_whole(tmp_path / "report.html", b"x" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, kept)
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_taken_by_a_folder_is_named_itself(tmp_path: Path) -> None:
    """The error named the temporary: .talk.txt.43ygrs2s.tmp: Is a directory."""
    (tmp_path / "talk.txt").mkdir()
    with pytest.raises(OSError) as caught:
        write_whole(tmp_path / "talk.txt", "x")
    assert caught.value.filename == str(tmp_path / "talk.txt") and caught.value.filename2 is None
    assert os.listdir(tmp_path) == ["talk.txt"]


def test_a_folder_that_is_missing_is_an_error_of_the_target(tmp_path: Path) -> None:
    """The error named a temporary with a random name."""
    with pytest.raises(FileNotFoundError) as caught:
        write_whole(tmp_path / "gone" / "talk.txt", "x")
    assert caught.value.filename == str(tmp_path / "gone" / "talk.txt")


def test_an_error_of_another_file_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, replace_whole(tmp_path / "a"):
        (tmp_path / "b").read_text()
    assert caught.value.filename == str(tmp_path / "b")


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    """A bundle of unknown origin may hold links; what is written into it must stay in it."""
    victim, link = tmp_path / "victim", tmp_path / "bundle.json"
    victim.write_text("precious")
    link.symlink_to(victim)
    write_whole(link, "{}")
    assert victim.read_text() == "precious" and link.read_text() == "{}" and not link.is_symlink()


def test_killed_at_any_moment_the_old_or_the_new_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a"
    script = textwrap.dedent(
        f"""
        from wav2edge.runtime.files import write_whole
        for n in range(100000):
            write_whole({str(path)!r}, str(n % 10) * 100_000)
        """
    )
    writer = subprocess.Popen([sys.executable, "-c", script])
    while not path.exists():
        assert writer.poll() is None
    for _ in range(200):
        text = path.read_text()
        assert len(text) == 100_000 and len(set(text)) == 1
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    text = path.read_text()
    assert len(text) == 100_000 and len(set(text)) == 1


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_uses_stays(tmp_path: Path) -> None:
    target = tmp_path / "model"
    script = textwrap.dedent(
        f"""
        import sys, time
        from pathlib import Path
        from wav2edge.runtime.files import replace_whole, staging
        with staging({str(target)!r}) as folder, replace_whole({str(target) + ".json"!r}) as file:
            (folder / "half").write_text("x")
            print("ready", flush=True)
            time.sleep(60)
        """
    )

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        return process

    dead, living = start(), start()
    dead.kill()
    dead.wait()
    assert len(os.listdir(tmp_path)) == 4
    with staging(target) as folder:
        assert sorted(os.listdir(folder)) == []
        write_whole(f"{target}.json", "{}")
        assert len([name for name in os.listdir(tmp_path) if name.startswith(".")]) == 3
    living.kill()
    living.wait()
    with staging(target):
        write_whole(f"{target}.json", "{}")
    assert os.listdir(tmp_path) == ["model.json"]


def test_folders_are_exchanged_at_once(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        folder.mkdir()
        (folder / folder.name).touch()
    exchange(first, second)
    assert (os.listdir(first), os.listdir(second)) == (["b"], ["a"])


def test_folders_are_exchanged_where_the_system_cannot_do_it_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wav2edge.runtime.files._exchange_at_once", lambda *_: False)
    test_folders_are_exchanged_at_once(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("name", ["../d", "."])
def test_a_folder_is_replaced_from_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, at_once: bool
) -> None:
    """The working directory moved with the old folder: its relative name meant another place from then on."""
    if not at_once:
        monkeypatch.setattr("wav2edge.runtime.files._exchange_at_once", lambda *_: False)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "old").touch()
    monkeypatch.chdir(tmp_path / "d")
    with staging(name) as folder:
        (folder / "made").mkdir()
        (folder / "made" / "new").touch()
        exchange(folder / "made", Path(name))
    assert os.listdir(tmp_path) == ["d"] and os.listdir(tmp_path / "d") == ["new"]


@pytest.mark.parametrize("name", ["n" * 251 + ".srt", "\u8a71" * 80 + ".srt"])
def test_a_name_as_long_as_names_may_be(tmp_path: Path, name: str) -> None:
    """That of the temporary file was longer."""
    for text in ("one", "two"):
        write_whole(tmp_path / name, text)
        assert [path.name for path in tmp_path.iterdir()] == [name] and (tmp_path / name).read_text() == text
    (tmp_path / f".{name[:60]}.x.tmp").write_text("another's")
    remove_left_over(tmp_path / name)
    assert len(list(tmp_path.iterdir())) == 2


def test_only_names_of_temporaries_are_removed(tmp_path: Path) -> None:
    """A folder that merely looked like one was removed with what was in it."""
    others = [".out.tar.notes.tmp", ".out.tar.sig.ab12cd34.tmp", ".out.tar.AB12CD34.tmp"]
    for name in others:
        (tmp_path / name).mkdir()
    (tmp_path / ".out.tar.ab12cd34.tmp").write_text("left over")
    write_whole(tmp_path / "out.tar", "new")
    assert sorted(os.listdir(tmp_path)) == sorted([*others, "out.tar"])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
def test_writers_of_one_file_do_not_take_each_others_temporaries(tmp_path: Path) -> None:
    """One was removed between its making and its lock: the writer failed, and once its content was lost."""
    script = textwrap.dedent(
        f"""
        from wav2edge.runtime.files import staging, write_whole
        for number in range(300):
            write_whole({str(tmp_path / "x")!r}, "y" * 10)
            with staging({str(tmp_path / "folder")!r}) as folder:
                (folder / "half").write_text("z")
                assert (folder / "half").exists()
        """
    )
    writers = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(4)]
    assert [writer.wait(120) for writer in writers] == [0] * 4
    assert os.listdir(tmp_path) == ["x"]
