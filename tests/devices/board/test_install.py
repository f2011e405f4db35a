"""install.sh of a package, run with a program that installs in a second; tests/boards runs it with wav2edge."""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from wav2edge.devices import profile
from wav2edge.devices.board.install import BoardPackage, install_script, requirements, service_unit
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.errors import InputError

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"

if os.name == "nt":
    pytest.skip("install.sh is for Linux", allow_module_level=True)


@pytest.fixture(scope="session")
def pip_wheel() -> Path:
    bundled = Path(str(importlib.resources.files("ensurepip"))) / "_bundled"
    found = sorted(bundled.glob("pip-*.whl"))
    if not found:
        pytest.skip("this Python has no wheel of pip of its own (Debian's has none)")
    return found[-1]


@pytest.fixture
def unpacked(tmp_path: Path, shapes_bundle: Bundle, stand_in: Path, pip_wheel: Path) -> Callable[..., Path]:
    """What unpacking gives, with everything in it real but the program."""

    def make(name: str, vocabulary: str, service: bool = False, bundle: str = "my model") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        shutil.copytree(shapes_bundle.path, folder / bundle)
        set_vocabulary(folder / bundle, vocabulary)
        (folder / "wheels").mkdir()
        shutil.copy(pip_wheel, folder / "wheels")
        shutil.copy(stand_in, folder)
        package = BoardPackage(
            "captions", bundle, profile.load("x86-64"), stand_in, (pip_wheel,), (HERE,), service, bytes=1000
        )
        script = install_script(package).replace("MACHINE=x86_64", "MACHINE=any")
        script = script.replace("platform.machine() in ('x86_64', 'X86_64')", "True")  # the tests run anywhere
        script = script.replace("libportaudio.so.2", "libc.so.6")  # a system package, which the tests may lack
        (folder / "install.sh").write_text(script)
        (folder / "install.sh").chmod(0o755)
        if service:
            (folder / "captions.service").write_text(service_unit(package))
        sums(folder)
        return folder

    return make


def set_vocabulary(bundle: Path, text: str) -> None:
    """Change the bundle's vocab.json, and its listing in bundle.json."""
    (bundle / "vocab.json").write_text(text)
    document = json.loads((bundle / "bundle.json").read_text("utf-8"))
    entry = document["files"]["vocab.json"]
    entry["bytes"], entry["sha256"] = len(text), hashlib.sha256(text.encode()).hexdigest()
    (bundle / "bundle.json").write_text(json.dumps(document))


def sums(folder: Path) -> None:
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    with (folder / "SHA256SUMS").open("w") as out:
        subprocess.run(["sha256sum", *(name for name in files if name != "SHA256SUMS")], cwd=folder, stdout=out)


def environment(home: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {"HOME": str(home), "PATH": path}


def install(folder: Path, place: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["./install.sh", str(place)], cwd=folder, env=environment(place.parent), capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip


def says(place: Path, bundle: str = "my model") -> str:
    """What the installed program says of the installed bundle."""
    current = place / "current"
    command = [str(current / "env/bin/wav2edge"), "selftest", str(current / bundle)]
    done = subprocess.run(command, env=environment(place.parent), capture_output=True, text=True, timeout=60)
    return done.stdout.strip()


def releases(place: Path) -> list[str]:
    return sorted(path.name for path in (place / "releases").iterdir())


@pytest.mark.slow
def test_install_update_and_an_update_that_fails(unpacked: Callable[..., Path], tmp_path: Path) -> None:
    place = tmp_path / "place with spaces"
    first = install(unpacked("one", "one"), place)
    assert first.returncode == 0, first.stderr
    assert says(place) == "one"
    assert install(unpacked("two", "two"), place).returncode == 0
    assert says(place) == "two" and len(releases(place)) == 2, "the release before is kept"
    refused = install(unpacked("three", "broken"), place)
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1] == (
        "install.sh: the selftest failed; the installation of before stays in use"
    )
    assert says(place) == "two" and len(releases(place)) == 2
    assert install(unpacked("four", "four"), place).returncode == 0
    assert says(place) == "four" and len(releases(place)) == 2, "of older ones nothing is left"
    again = install(tmp_path / "four", place)
    assert again.returncode == 0 and "making the environment" not in again.stdout
    assert says(place) == "four" and len(releases(place)) == 2, "run again, the release before is still kept"


def test_a_first_installation_that_fails_leaves_nothing_in_use(unpacked: Callable[..., Path], tmp_path: Path) -> None:
    refused = install(unpacked("one", "broken"), tmp_path / "place")
    assert refused.returncode == 1 and "nothing was installed" in refused.stderr
    assert not (tmp_path / "place" / "current").exists() and releases(tmp_path / "place") == []


@pytest.mark.slow
def test_killed_at_five_moments_the_old_or_the_new_is_in_use(unpacked: Callable[..., Path], tmp_path: Path) -> None:
    """Kill -9 to the installer and everything that it started; twenty moments of the real program: tests/boards."""
    place = tmp_path / "place"
    assert install(unpacked("one", "one"), place).returncode == 0
    began = time.monotonic()
    assert install(unpacked("two", "two"), place).returncode == 0
    whole = time.monotonic() - began
    texts = {"one", "two"}
    for moment in range(5):
        name = f"more-{moment}"
        process = subprocess.Popen(
            ["./install.sh", str(place)], cwd=unpacked(name, name), env=environment(tmp_path), start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(whole * moment / 4)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        texts.add(name)
        assert says(place) in texts, f"killed after {whole * moment / 4:.2f} s"
    assert install(unpacked("last", "last"), place).returncode == 0
    assert says(place) == "last" and len(releases(place)) == 2, "what was interrupted is removed"


def test_a_damaged_copy_installs_nothing(unpacked: Callable[..., Path], tmp_path: Path) -> None:
    folder = unpacked("one", "one")
    (folder / "my model" / "fp32.onnx").write_bytes(b"x")
    done = install(folder, tmp_path / "place")
    assert done.returncode == 2 and "copy and unpack the archive again" in done.stderr
    assert not (tmp_path / "place" / "current").exists()


def test_what_is_missing_is_one_line(unpacked: Callable[..., Path], tmp_path: Path) -> None:
    folder = unpacked("one", "one")
    script = (folder / "install.sh").read_text()
    for before, after, line in (
        ("sys.version_info[:2]", "(3, 99)", f"no Python here fits (Python {HERE}, 64 bits, any); pack again with"),
        ("MEGABYTES=", "MEGABYTES=999999999 #", "MB free, 999999999 MB are needed"),
    ):
        (folder / "install.sh").write_text(script.replace(before, after))
        sums(folder)
        done = install(folder, tmp_path / "place")
        assert done.returncode == 3 and line in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


def test_what_a_users_shell_exports_does_not_matter(unpacked: Callable[..., Path], tmp_path: Path) -> None:
    """With CDPATH, `cd` printed where it went, and the archive was said to be damaged."""
    folder = unpacked("one", "one")
    command = ["sh", "one/install.sh", str(tmp_path / "a place")]
    told = {**environment(tmp_path), "CDPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=folder.parent, env=told, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    [line] = [line for line in done.stdout.splitlines() if "use it: " in line]
    program, there = (str(tmp_path / "a place/current" / name) for name in ("env/bin/wav2edge", "my model"))
    assert shlex.split(line.partition("use it: ")[2]) == [program, "transcribe", "talk.wav", "-m", there]


def test_without_a_home_the_folder_must_be_named(unpacked: Callable[..., Path], tmp_path: Path) -> None:
    """The shell's own message did not say what to do, and one for the service came after the installation."""
    folder = unpacked("one", "one", service=True)
    path = {"PATH": environment(tmp_path)["PATH"]}
    for words, said in (
        ([], "HOME is not set; name the folder: ./install.sh FOLDER"),
        ([str(tmp_path / "place")], "HOME is not set, where a service's unit goes; set it"),
    ):
        done = subprocess.run(
            ["./install.sh", *words], cwd=folder, env=path, capture_output=True, text=True, timeout=60
        )
        assert (done.returncode, done.stderr) == (2, f"install.sh: {said}\n")
    assert not (tmp_path / "place").exists()


def test_an_option_is_answered_with_the_usage(unpacked: Callable[..., Path], tmp_path: Path) -> None:
    """`--help` was taken for the folder, and answered by mkdir."""
    done = subprocess.run(
        ["./install.sh", "--help"], cwd=unpacked("one", "one"), env=environment(tmp_path), capture_output=True,
        text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (2, "install.sh: usage: ./install.sh [FOLDER]\n")


def test_files_where_a_user_stands_are_not_imported(unpacked: Callable[..., Path], tmp_path: Path) -> None:
    """A platform.py in the working directory was run by the Python that install.sh started."""
    folder, working = unpacked("one", "one"), tmp_path / "working"
    working.mkdir()
    for name in ("platform", "venv", "ctypes", "os", "shutil"):
        (working / f"{name}.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'a').write({name!r})\n")
    command = [str(folder / "install.sh"), str(tmp_path / "place")]
    done = subprocess.run(command, cwd=working, env=environment(tmp_path), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "imported").exists()


def test_two_installers_do_not_mix(unpacked: Callable[..., Path], tmp_path: Path) -> None:
    if shutil.which("flock") is None:
        pytest.skip("no flock here")
    place = tmp_path / "place"
    place.mkdir()
    with subprocess.Popen(["flock", str(place / ".lock"), "sleep", "60"]) as holder:
        time.sleep(0.3)
        try:
            done = install(unpacked("one", "one"), place)
        finally:
            holder.kill()
    assert done.returncode == 2 and "another install.sh is at work" in done.stderr


def test_the_unit_names_its_place_and_survives_odd_names(unpacked: Callable[..., Path], tmp_path: Path) -> None:
    place = tmp_path / "a b 100%"
    folder = unpacked("one", "one", service=True)
    done = install(folder, place)
    assert done.returncode == 0, done.stderr
    unit = (tmp_path / ".config/systemd/user/captions.service").read_text()
    (line,) = (line for line in unit.splitlines() if line.startswith("ExecStart="))
    written = str(tmp_path / "a b 100%%")
    assert line == (
        f'ExecStart="{written}/current/env/bin/wav2edge" listen -m "{written}/current/my model" --json %t/captions.sock'
    )
    assert "\nWatchdogSec=2min\n" in unit and "\nRestart=always\n" in unit and "\nLogRateLimitBurst=200\n" in unit


def test_systemd_takes_the_unit(tmp_path: Path, stand_in: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd here")
    package = BoardPackage("captions", "my-model", profile.load("raspberry-pi-5"), stand_in, (), (), True, bytes=1000)
    program = tmp_path / "current" / "env" / "bin" / "wav2edge"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / "captions.service"
    unit.write_text(service_unit(package).replace("@FOLDER@", str(tmp_path)))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "captions.service" not in done.stderr, done.stderr


def test_a_service_is_refused_where_no_unit_can_run(stand_in: Path) -> None:
    package = BoardPackage("captions", "a\nb", profile.load("raspberry-pi-5"), stand_in, (), (), True, bytes=1000)
    with pytest.raises(InputError, match="rename its folder"):
        service_unit(package)


def test_requirements_are_the_profiles(stand_in: Path) -> None:
    package = BoardPackage("c", "m", profile.load("jetson-agx-thor"), stand_in, (), (), False, bytes=1000)
    assert requirements(package) == "cuda-bindings==13.*\n"
    assert "SYSTEM_SITE=yes" in install_script(package)


def test_an_archive_unpacked_over_another_installs_its_own_files_only(
    unpacked: Callable[..., Path], tmp_path: Path
) -> None:
    """What the older archive held beside was installed too, and a signed bundle refused for it."""
    folder = unpacked("one", "one")
    (folder / "my model" / "older.onnx").write_text("of an older archive")
    (folder / "wheels" / "numpy-99-py3-none-any.whl").write_text("of an older archive")
    (folder / "requirements.txt").write_text("a-package-that-does-not-exist\n")
    assert install(folder, tmp_path / "place").returncode == 0
    current = tmp_path / "place" / "current"
    assert (current / "my model" / "bundle.json").exists() and not (current / "my model" / "older.onnx").exists()
    assert not (current / "wheels").exists()


@pytest.mark.slow
def test_a_service_that_does_not_start_gets_its_old_release_and_unit_back(
    unpacked: Callable[..., Path], tmp_path: Path
) -> None:
    """The bundle's folder may have another name in the new archive, and the unit names it."""
    place = tmp_path / "place"
    systemctl = tmp_path / "bin" / "systemctl"
    systemctl.parent.mkdir()
    unit = tmp_path / ".config" / "systemd" / "user" / "captions.service"
    systemctl.write_text(
        textwrap.dedent(
            f"""\
            #!/bin/sh
            case "$*" in *is-active*|*daemon-reload*) exit 0 ;; esac
            folder=$(sed -n 's/^ExecStart=.* -m "\\([^"]*\\)".*/\\1/p' "{unit}")
            echo "$folder" >>"$HOME/started"
            [ -e "$folder/bundle.json" ] && ! grep -q crashes "$folder/vocab.json"
            """
        )
    )
    systemctl.chmod(0o755)

    def run(folder: Path) -> subprocess.CompletedProcess[str]:
        there = environment(tmp_path)
        there["PATH"] = f"{systemctl.parent}{os.pathsep}{there['PATH']}"
        return subprocess.run(
            ["./install.sh", str(place)], cwd=folder, env=there, capture_output=True, text=True, timeout=120
        )

    assert run(unpacked("one", "one", True, "model-v1")).returncode == 0
    second = unpacked("two", "crashes", True, "model-v2")
    for _ in range(2):
        refused = run(second)
        assert refused.returncode == 1
        assert refused.stderr.splitlines()[-1].endswith("; the one of before is in use again")
        assert says(place, "model-v1") == "one"
        assert '/current/model-v1"' in unit.read_text()
    started = (tmp_path / "started").read_text().splitlines()
    assert [name.rpartition("/")[2] for name in started[-2:]] == ["model-v2", "model-v1"]
    assert run(unpacked("three", "three", True, "model-v3")).returncode == 0
    assert says(place, "model-v3") == "three" and len(releases(place)) == 2
