"""Two that write one bundle, and a directory that cannot take its new place: nothing is lost."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from wav2edge.calibration import quantize as library
from wav2edge.calibration.options import Options
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle, Variant
from wav2edge.runtime.bundle.spec import ModelSpec
from wav2edge.runtime.bundle.write import add_variants, describe_variant, free_stem, new_bundle, write_manifest
from wav2edge.runtime.errors import BundleError, InputError


def staged(bundle: Bundle, folder: Path, name: str) -> tuple[Path, Variant]:
    """A folder with the one file of a variant made from fp32."""
    folder.mkdir()
    file = f"{free_stem(bundle, name)}.onnx"
    (folder / file).write_bytes(name.encode())
    return folder, describe_variant(folder, name, "int8", {"full": file}, made_from="fp32")


def test_two_runs_keep_each_others_variants(shapes_bundle: Bundle, tmp_path: Path) -> None:
    """Both opened the bundle before the other was done."""
    for name in ("one", "two"):
        folder, variant = staged(shapes_bundle, tmp_path / name, name)
        made = add_variants(shapes_bundle, folder, [variant], files=names_of_variants)
    assert [variant.name for variant in made.variants] == ["fp32", "one", "two"]
    for variant in made.variants:
        made.verify(variant)
    assert made.file("calibration.json").read_text() == "fp32, one"


def names_of_variants(bundle: Bundle) -> dict[str, str]:
    """A file with the names of the variants that a bundle has."""
    return {"calibration.json": ", ".join(variant.name for variant in bundle.variants)}


def test_a_run_that_ends_while_another_adds_stays_recorded(
    own_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """calibration.json was composed before the bundle was locked: the run that came second lost the other's entry."""
    clips = shutil.copytree(embedded.clips_manifest().parent, tmp_path / "clips")
    monkeypatch.setenv("WAV2EDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("wav2edge.calibration.judge.Judge.latency_ratio", lambda *_: (0.5, 1.0))
    fast = Options(variants=("fp16",), smooth=False, searching=False, force=True, limit=1, dev_limit=3)
    arguments = (clips / embedded.clips_manifest().name, embedded.clips_manifest())

    def other_first(*given: object, **named: object) -> Bundle:
        monkeypatch.setattr(library, "add_variants", add_variants)
        library.quantize(own_bundle, *arguments, dataclasses.replace(fast, variants=("int8-dynamic",)))
        return add_variants(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(library, "add_variants", other_first)
    made = library.quantize(own_bundle, *arguments, fast)
    assert [variant.name for variant in made.bundle.variants] == ["fp32", "int8-dynamic", "fp16"]
    recorded = json.loads(made.bundle.file("calibration.json").read_text("utf-8"))["variants"]
    assert list(recorded) == ["int8-dynamic", "fp16"]


def test_two_runs_of_one_variant(shapes_bundle: Bundle, tmp_path: Path) -> None:
    first, second = (staged(shapes_bundle, tmp_path / place, "int8") for place in ("first", "second"))
    add_variants(shapes_bundle, first[0], [first[1]])
    with pytest.raises(BundleError, match="added by another process meanwhile; run this again"):
        add_variants(shapes_bundle, second[0], [second[1]])
    Bundle.open(shapes_bundle.path).verify(first[1])


def test_a_model_that_was_exported_anew_takes_no_variant_of_the_old_one(
    shapes_bundle: Bundle, tmp_path: Path, ctc_spec: ModelSpec
) -> None:
    folder, variant = staged(shapes_bundle, tmp_path / "late", "int8")
    with new_bundle(shapes_bundle.path, overwrite=True) as directory:
        (directory / "fp32.onnx").write_bytes(b"another model")
        write_manifest(directory, ctc_spec, [describe_variant(directory, "fp32", "fp32", {"full": "fp32.onnx"})], {})
    with pytest.raises(BundleError, match="exported anew meanwhile"):
        add_variants(shapes_bundle, folder, [variant])
    assert [variant.name for variant in Bundle.open(shapes_bundle.path).variants] == ["fp32"]


@pytest.mark.parametrize("failing", [1, 2])
def test_an_overwrite_that_fails_brings_the_old_bundle_back(
    shapes_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    rename, calls = os.rename, 0

    def fails(source: Path, target: Path) -> None:
        nonlocal calls
        calls += 1
        if calls == failing:
            raise OSError(errno.EIO, "Input/output error")
        rename(source, target)

    beside = sorted(shapes_bundle.path.parent.iterdir())
    with pytest.raises(InputError, match="cannot be written"), new_bundle(shapes_bundle.path, True) as directory:
        monkeypatch.setattr("wav2edge.runtime.files._exchange_at_once", lambda *_: False)
        monkeypatch.setattr(os, "rename", fails)
        (directory / "bundle.json").write_text("{}")
    monkeypatch.undo()
    bundle = Bundle.open(shapes_bundle.path)
    bundle.verify(bundle.variant("fp32"))
    assert sorted(shapes_bundle.path.parent.iterdir()) == beside
