"""The bundles that ship with the package: reached by name, and doing what the commands show on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from wav2edge.cli import main
from wav2edge.runtime.bundle import embedded, shipped
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.errors import BundleError


@pytest.mark.parametrize("name", shipped.NAMES)
def test_a_name_opens_a_shipped_bundle(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bundle = Bundle.open(name)
    assert bundle.path == shipped.root() / name
    assert {variant.name for variant in bundle.variants} == {"fp32", "int8-u8s8"}
    for variant in bundle.variants:
        bundle.verify(variant)
    (tmp_path / name).mkdir()
    with pytest.raises(BundleError, match=r"no bundle\.json"):
        Bundle.open(name)  # what is there comes first


def test_a_phrase_is_classified_and_another_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra [cpu]")
    monkeypatch.chdir(tmp_path)
    clips = embedded.clips_manifest().parent
    assert (
        main(["classify", str(clips / "smart-mirror.opus"), str(clips / "librispeech-211.flac"), "-m", "keyword"]) == 0
    )
    first, second = capsys.readouterr().out.splitlines()
    assert ": smart mirror " in first and ": other " in second


def test_speakers_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra [cpu]")
    monkeypatch.chdir(tmp_path)
    clips = embedded.clips_manifest().parent
    pair = [str(clips / name) for name in ("librispeech-211.flac", "librispeech-5339.flac")]
    assert main(["verify", *pair, "-m", "speaker"]) == 1
    assert main(["verify", pair[0], pair[0], "-m", "speaker"]) == 0
    assert "different speakers: cosine" in capsys.readouterr().out


def test_a_phrase_is_a_label_of_listen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra [cpu]")
    monkeypatch.chdir(tmp_path)
    clip = embedded.clips_manifest().parent / "smart-mirror.opus"
    assert main(["listen", "-m", "keyword", "--file", str(clip), "--fast", "--json"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if '"label"' in line]
    assert len(lines) == 1 and "smart mirror" in lines[0]
