"""Wheels for a board are those that the board's Python needs, not this one's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from wav2edge.devices.board.wheels import Target, gather
from wav2edge.devices.profile import Installation
from wav2edge.runtime.errors import InputError

MakeWheel = Callable[..., Path]
OLD = Target("3.10", "manylinux_2_35_aarch64")
NEW = Target("3.13", "manylinux_2_36_aarch64")
LINUX = "manylinux_2_28_aarch64"


@pytest.fixture
def index(tmp_path: Path, make_wheel: MakeWheel, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes instead of a package index."""
    folder = tmp_path / "index"
    make_wheel(folder, "pip", "26.0")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


def names(paths: tuple[Path, ...]) -> set[str]:
    return {path.name.split("-")[0] for path in paths}


def test_what_only_the_boards_python_needs_comes_along_and_what_only_ours_needs_does_not(
    index: Path, tmp_path: Path, make_wheel: MakeWheel
) -> None:
    """Pip evaluates markers for the Python that runs it, so what only 3.10 needs was missing on a board with 3.10."""
    program = make_wheel(tmp_path, "wav2edge", requires=('engine; extra == "cpu"', 'viewer; extra == "report"'))
    make_wheel(index, "engine", requires=('backport; python_version < "3.11"', 'here; platform_machine == "x86_64"'))
    make_wheel(index, "backport", requires=('deeper; sys_platform == "linux" and platform_machine == "aarch64"',))
    for name in ("deeper", "here", "viewer"):
        make_wheel(index, name)
    folder = tmp_path / "work"
    folder.mkdir()
    install = Installation(extras=("cpu",))
    assert names(gather(program, install, OLD, folder)) == {"pip", "engine", "backport", "deeper"}
    assert names(gather(program, install, NEW, folder)) == {"pip", "engine"}


def test_wheels_are_the_newest_that_the_boards_glibc_takes(index: Path, tmp_path: Path, make_wheel: MakeWheel) -> None:
    program = make_wheel(tmp_path, "wav2edge", requires=('engine; extra == "cpu"',))
    make_wheel(index, "engine", "1.0", tag=f"cp310-cp310-{LINUX}")
    make_wheel(index, "engine", "2.0", tag="cp310-cp310-manylinux_2_39_aarch64")
    make_wheel(index, "engine", "3.0", tag=f"cp311-cp311-{LINUX}")
    (found,) = (path for path in gather(program, Installation(("cpu",)), OLD, tmp_path) if "engine" in path.name)
    assert found.name == f"engine-1.0-cp310-cp310-{LINUX}.whl"


def test_requirements_of_a_profile_hold_for_their_python(index: Path, tmp_path: Path, make_wheel: MakeWheel) -> None:
    program = make_wheel(tmp_path, "wav2edge")
    for version in ("12.9", "13.1"):
        make_wheel(index, "cuda-bindings", version)
    install = Installation(
        extras=("cpu",),
        requires=('cuda-bindings==12.*; python_version < "3.12"', 'cuda-bindings==13.*; python_version >= "3.12"'),
    )
    assert any(path.name.startswith("cuda_bindings-12.9-") for path in gather(program, install, OLD, tmp_path))
    assert any(path.name.startswith("cuda_bindings-13.1-") for path in gather(program, install, NEW, tmp_path))


def test_a_package_without_a_wheel_for_the_board_is_one_line(
    index: Path, tmp_path: Path, make_wheel: MakeWheel
) -> None:
    program = make_wheel(tmp_path, "wav2edge", requires=('engine; extra == "cpu"',))
    make_wheel(index, "engine", "1.0", tag="cp310-cp310-manylinux_2_28_x86_64")
    with pytest.raises(InputError, match=r"no wheels for Python 3\.10 on manylinux_2_35_aarch64: .*engine") as caught:
        gather(program, Installation(("cpu",)), OLD, tmp_path)
    assert "\n" not in str(caught.value)


def test_tags_go_down_to_the_oldest() -> None:
    assert OLD.tags[0] == "manylinux_2_35_aarch64" and "manylinux2014_aarch64" in OLD.tags
    assert "manylinux1_x86_64" in Target("3.11", "manylinux_2_35_x86_64").tags
    assert set(Target("3.12", "macosx_14_0_arm64").tags) >= {"macosx_14_0_arm64", "macosx_11_0_arm64"}
    assert Target("3.12", "win_arm64").tags == ("win_arm64",)
    assert Target("3.12", "win_arm64").environment["platform_machine"] == "ARM64"
