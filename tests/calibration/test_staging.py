"""Which errors of a run are those of its folder."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from wav2edge.calibration.staging import staging
from wav2edge.runtime import files
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.errors import InputError


@pytest.mark.parametrize("error", [BrokenPipeError(errno.EPIPE, "Broken pipe"), PermissionError(13, "no", "/other")])
def test_errors_of_other_files_pass(shapes_bundle: Bundle, error: OSError) -> None:
    """A pipe that was closed while the figures of a variant were printed was told as a disk without space."""
    beside = sorted(shapes_bundle.path.parent.iterdir())
    with pytest.raises(OSError) as raised, staging(shapes_bundle):
        raise error
    assert raised.value is error and sorted(shapes_bundle.path.parent.iterdir()) == beside


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG])
def test_a_full_disk_is_said(shapes_bundle: Bundle, code: int) -> None:
    with pytest.raises(InputError, match="the bundle is unchanged, free some space"), staging(shapes_bundle):
        raise OSError(code, "of the disk")


def test_a_file_of_the_folder_that_cannot_be_written_is_said(shapes_bundle: Bundle) -> None:
    with pytest.raises(InputError, match="cannot be written"), staging(shapes_bundle) as folder:
        (folder / "none" / "int8.onnx").write_bytes(b"")


def test_a_folder_that_cannot_be_made_is_said(shapes_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(target: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(target))

    monkeypatch.setattr(files, "staging", fails)
    with pytest.raises(InputError, match=r"cannot be written \(Permission denied\)"), staging(shapes_bundle):
        pass
