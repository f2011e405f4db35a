"""Memory that is given back is that of a model's files, and of no others."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path

import pytest

pytest.importorskip("openvino", reason='needs `pip install "wav2edge[openvino]"`')

from wav2edge.runtime import engines
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.engines import _mapped


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is mapped")
def test_releases_the_named_files_and_those_of_named_folders(tmp_path: Path) -> None:
    names = ("weights", "folder/blob", "libother.so")
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(mmap.PAGESIZE))
    maps = []
    for name in names:
        with (tmp_path / name).open("rb") as file:
            maps.append(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    place = tmp_path.resolve()
    assert _mapped.release(place / "weights") == mmap.PAGESIZE
    assert _mapped.release(place / "weights", place / "folder") == 2 * mmap.PAGESIZE
    for each in maps:
        each.close()


def test_nothing_but_the_variants_files_and_what_was_compiled_is_given_back(
    small_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle in the folder of a project, with its Python environment below: libraries lost what the loader wrote.

    The process then ended with a segmentation fault. A cache behind a symbolic link was not given back at all.
    """
    (tmp_path / "disk").mkdir(mode=0o700)
    (tmp_path / "cache").symlink_to(tmp_path / "disk")
    monkeypatch.setenv("WAV2EDGE_CACHE", str(tmp_path / "cache"))
    given: set[Path] = set()

    def release(*places: Path) -> int:
        given.update(places)
        return 0

    monkeypatch.setattr(_mapped, "release", release)
    variant = small_bundle.variant("fp32")
    engines.load(small_bundle, variant, "openvino").close()
    ours = {small_bundle.directory.resolve() / name for name in variant.files}
    assert ours <= given
    assert given - ours and all(place.is_relative_to((tmp_path / "disk").resolve()) for place in given - ours)
