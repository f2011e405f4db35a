"""Bundles: written whole or not at all, checked on reading, one clear error for each kind of damage."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wav2edge.runtime import engines
from wav2edge.runtime.bundle.documents import MetricsJson
from wav2edge.runtime.bundle.read import FORMAT, Bundle, Variant
from wav2edge.runtime.bundle.spec import ModelSpec
from wav2edge.runtime.bundle.write import add_variants, describe_variant, free_stem, new_bundle, write_manifest
from wav2edge.runtime.errors import BundleError, InputError


def rewrite(bundle: Bundle, **changes: object) -> None:
    (bundle.path / "bundle.json").write_text(json.dumps({**bundle.document, **changes}))


def stage(bundle: Bundle, directory: Path, name: str, content: bytes) -> Variant:
    stem = free_stem(bundle, name)
    (directory / f"{stem}.onnx").write_bytes(content)
    (directory / f"{stem}.data").write_bytes(content * 2)
    return describe_variant(
        directory, name, "int8", {"full": f"{stem}.onnx"}, scheme="u8s8", data=[f"{stem}.data"], made_from="fp32"
    )


def staging(bundle: Bundle) -> Path:
    directory = bundle.path.parent / "staged"
    directory.mkdir(exist_ok=True)
    return directory


def test_a_bundle_comes_back_as_it_was_written(shapes_bundle: Bundle, ctc_spec: ModelSpec) -> None:
    assert shapes_bundle.spec == ctc_spec
    assert [variant.name for variant in shapes_bundle.variants] == ["fp32"]
    assert shapes_bundle.variant("fp32").bytes == 800
    assert shapes_bundle.file("vocab.json").read_text() == "{}"
    shapes_bundle.verify(shapes_bundle.variant("fp32"))


def test_a_new_variant_joins_and_unknown_keys_survive(shapes_bundle: Bundle) -> None:
    rewrite(shapes_bundle, colour="green")
    bundle = Bundle.open(shapes_bundle.path)
    directory = staging(bundle)
    added = [stage(bundle, directory, "int8-u8s8", b"one")]
    bundle = add_variants(bundle, directory, added, files=lambda now: {"calibration.json": "{}"}, extra={"a": 1})
    assert [variant.name for variant in bundle.variants] == ["fp32", "int8-u8s8"]
    assert {"colour": "green", "a": 1}.items() <= dict(bundle.document).items()
    assert bundle.file("calibration.json").read_text() == "{}"
    assert bundle.file("vocab.json").exists()


def test_replacing_a_variant_keeps_the_old_files_until_the_new_ones_are_listed(shapes_bundle: Bundle) -> None:
    directory = staging(shapes_bundle)
    once = [stage(shapes_bundle, directory, "int8", b"one")]
    first = add_variants(shapes_bundle, directory, once, files=lambda now: {"calibration.json": "1"})
    again = stage(first, directory, "int8", b"three")
    assert not set(again.files) & set(first.variant("int8").files)
    second = add_variants(first, directory, [again], files=lambda now: {"calibration.json": "22"})
    assert second.file("calibration.json").read_text() == "22"
    assert (second.path / second.variant("int8").graphs["full"]).read_bytes() == b"three"
    assert not any((second.path / name).exists() for name in first.variant("int8").files)


def test_staged_names_that_are_in_use_are_refused(shapes_bundle: Bundle) -> None:
    directory = staging(shapes_bundle)
    (directory / "fp32.onnx").write_bytes(b"other")
    with pytest.raises(BundleError, match="free_stem"):
        add_variants(shapes_bundle, directory, [describe_variant(directory, "fp32", "fp32", {"full": "fp32.onnx"})])
    Bundle.open(shapes_bundle.path).verify(shapes_bundle.variant("fp32"))


def test_an_error_while_writing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), new_bundle(tmp_path / "b") as directory:
        (directory / "fp32.onnx").write_bytes(b"x")
        raise RuntimeError("torch fell over")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_directory_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(InputError, match="exists"), new_bundle(tmp_path / "b", overwrite):
            raise AssertionError("never reached")
    assert (tmp_path / "b" / "thesis.txt").read_text() == "years of work"


def test_overwriting_a_bundle_swaps_it_whole(shapes_bundle: Bundle, ctc_spec: ModelSpec) -> None:
    with new_bundle(shapes_bundle.path, overwrite=True) as directory:
        (directory / "fp32.onnx").write_bytes(b"new")
        write_manifest(directory, ctc_spec, [describe_variant(directory, "fp32", "fp32", {"full": "fp32.onnx"})], {})
    assert Bundle.open(shapes_bundle.path).variant("fp32").bytes == 3
    assert [path.name for path in shapes_bundle.path.parent.iterdir()] == ["shapes"]


@pytest.mark.parametrize("there", ["nothing", "empty", "bundle"])
def test_a_link_is_followed(shapes_bundle: Bundle, ctc_spec: ModelSpec, tmp_path: Path, there: str) -> None:
    """A link to an empty folder, or to nothing, was refused after the export, with the bundle under another name.

    One to a bundle was replaced by a folder, which left the old bundle where it was.
    """
    real = shapes_bundle.path if there == "bundle" else tmp_path / "elsewhere" / "real"
    if there == "empty":
        real.mkdir(parents=True)
    link = tmp_path / "link"
    link.symlink_to(real)
    with new_bundle(link, overwrite=there == "bundle") as directory:
        (directory / "fp32.onnx").write_bytes(b"new")
        write_manifest(directory, ctc_spec, [describe_variant(directory, "fp32", "fp32", {"full": "fp32.onnx"})], {})
    assert link.is_symlink()
    assert Bundle.open(real).variant("fp32").bytes == 3
    assert {path.name for path in real.parent.iterdir()} <= {real.name, link.name}


@pytest.mark.skipif(sys.platform != "linux", reason="file names of any bytes")
def test_a_name_that_is_not_utf8_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    """``export`` ended, after minutes, in an error of torch about incompatible arguments."""
    named = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    with pytest.raises(InputError, match="this path is not UTF-8"), new_bundle(named):
        raise AssertionError("never reached")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_overwrite_leaves_the_old_bundle_and_nothing_beside_it(shapes_bundle: Bundle) -> None:
    beside = sorted(path.name for path in shapes_bundle.path.parent.iterdir())
    with pytest.raises(RuntimeError), new_bundle(shapes_bundle.path, overwrite=True) as directory:
        (directory / "bundle.json").write_text("half")
        raise RuntimeError("the export failed")
    assert Bundle.open(shapes_bundle.path).document == shapes_bundle.document
    assert sorted(path.name for path in shapes_bundle.path.parent.iterdir()) == beside


def test_missing_truncated_changed_newer(shapes_bundle: Bundle, tmp_path: Path) -> None:
    graph = shapes_bundle.path / "fp32.onnx"
    whole = graph.read_bytes()
    graph.write_bytes(whole[:-1])
    with pytest.raises(BundleError, match="799 bytes where 800 are listed"):
        Bundle.open(shapes_bundle.path)
    graph.write_bytes(whole[:-1] + b"X")
    with pytest.raises(BundleError, match="wrong SHA-256"):
        engines.load(Bundle.open(shapes_bundle.path), shapes_bundle.variant("fp32"), "null")
    graph.unlink()
    with pytest.raises(BundleError, match="missing from the bundle"):
        Bundle.open(shapes_bundle.path)
    graph.write_bytes(whole)
    rewrite(shapes_bundle, format=FORMAT + 1)
    with pytest.raises(BundleError, match="upgrade wav2edge"):
        Bundle.open(shapes_bundle.path)
    with pytest.raises(BundleError, match="no such bundle"):
        Bundle.open(tmp_path / "nowhere")
    with pytest.raises(BundleError, match="this is a file"):
        Bundle.open(graph)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": 1}', '{"format": 1, "spec": {}, "variants": 3}'])
def test_a_damaged_manifest_is_one_error(shapes_bundle: Bundle, content: str) -> None:
    (shapes_bundle.path / "bundle.json").write_text(content)
    with pytest.raises(BundleError):
        Bundle.open(shapes_bundle.path)


def test_a_manifest_cannot_point_outside(shapes_bundle: Bundle) -> None:
    variant = {**shapes_bundle.document["variants"][0], "graphs": {"full": "../secret"}}
    variant |= {"sizes": {"../secret": 1}, "sha256": {"../secret": "0" * 64}}
    rewrite(shapes_bundle, variants=[variant])
    with pytest.raises(BundleError, match="outside the bundle"):
        Bundle.open(shapes_bundle.path)


def test_unlisted_leftovers_are_ignored(shapes_bundle: Bundle) -> None:
    (shapes_bundle.path / "int8.onnx.tmp").write_bytes(b"left by a power cut")
    (shapes_bundle.path / "notes").mkdir()
    assert len(Bundle.open(shapes_bundle.path).variants) == 1


def test_a_checkpoint_given_for_a_bundle_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BundleError, match="wav2edge export"):
        Bundle.open(tmp_path)


def test_a_read_only_bundle_works(shapes_bundle: Bundle, tmp_path: Path) -> None:
    """Root may write anywhere, so what is shown is that reading leaves no trace in the directory."""
    before = sorted((path.name, path.stat().st_mtime_ns) for path in shapes_bundle.path.iterdir())
    bundle = Bundle.open(shapes_bundle.path)
    engines.load(bundle, bundle.variant("fp32"), "null").close()
    assert sorted((path.name, path.stat().st_mtime_ns) for path in shapes_bundle.path.iterdir()) == before


def test_disk_full_leaves_the_bundle_as_it_was(shapes_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = staging(shapes_bundle)
    variant = stage(shapes_bundle, directory, "int8", b"one")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left on device"):
        add_variants(shapes_bundle, directory, [variant])
    monkeypatch.undo()
    assert [variant.name for variant in Bundle.open(shapes_bundle.path).variants] == ["fp32"]


def test_a_full_disk_for_real(tmp_path: Path) -> None:
    """/dev/full answers every write with ENOSPC; a limit on file size stands for a disk that fills midway."""
    script = textwrap.dedent("""
        import resource, signal, sys
        from pathlib import Path
        from wav2edge.runtime.bundle.write import new_bundle
        from wav2edge.runtime.errors import InputError
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            with new_bundle(Path(sys.argv[1]) / "b") as directory:
                (directory / "fp32.onnx").write_bytes(bytes(5000))
        except InputError as error:
            print(error)
    """)
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert "cannot be written (File too large)" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_kill_midway_leaves_the_old_bundle(shapes_bundle: Bundle) -> None:
    """The writer is killed (SIGKILL) between the moving of its files and the replacing of bundle.json."""
    script = textwrap.dedent("""
        import os, signal, sys
        from pathlib import Path
        from wav2edge.runtime.bundle import write as bundle_writer
        from wav2edge.runtime.bundle.read import Bundle
        bundle_writer._replace_json = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        bundle = Bundle.open(sys.argv[1])
        staged = Path(sys.argv[1]).parent / "staged"
        staged.mkdir()
        (staged / "fp32-2.onnx").write_bytes(b"new")
        variant = bundle_writer.describe_variant(staged, "fp32", "fp32", {"full": "fp32-2.onnx"})
        bundle_writer.add_variants(bundle, staged, [variant])
    """)
    done = subprocess.run([sys.executable, "-c", script, str(shapes_bundle.path)], timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert (shapes_bundle.path / "fp32-2.onnx").exists()
    bundle = Bundle.open(shapes_bundle.path)
    bundle.verify(bundle.variant("fp32"))
    assert bundle.document == shapes_bundle.document


@settings(deadline=None)  # it writes files, which takes longer on a busy machine
@given(
    name=st.text("abcdefgh0123456789-", min_size=1, max_size=12),
    blob=st.binary(min_size=1, max_size=50),
    metrics=st.dictionaries(st.text(max_size=5), st.floats(allow_nan=False) | st.text(max_size=5), max_size=3),
)
def test_round_trip(
    ctc_spec: ModelSpec,
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    blob: bytes,
    metrics: dict[str, float | str],
) -> None:
    root = tmp_path_factory.mktemp("round")
    with new_bundle(root / "b") as directory:
        (directory / f"{name}.onnx").write_bytes(blob)
        variant = describe_variant(
            directory, name, "fp32", {"full": f"{name}.onnx"}, metrics=cast(MetricsJson, metrics)
        )
        write_manifest(directory, ctc_spec, [variant], {"metrics": metrics})
    bundle = Bundle.open(root / "b")
    assert bundle.variants == (variant,)
    assert bundle.document["provenance"] == {"metrics": metrics}
    bundle.verify(variant)
    shutil.rmtree(root)


def test_a_listed_file_without_its_digest_is_damage(shapes_bundle: Bundle) -> None:
    path = shapes_bundle.path / "bundle.json"
    values = json.loads(path.read_text("utf-8"))
    del values["files"]["vocab.json"]["sha256"]
    path.write_text(json.dumps(values))
    with pytest.raises(BundleError, match="damaged"):
        Bundle.open(shapes_bundle.path)


@pytest.mark.parametrize("digest", ["\ud800", "", "a" * 63, "g" * 64, "A" * 64])
def test_a_digest_that_is_none_is_damage(shapes_bundle: Bundle, digest: str) -> None:
    """A lone surrogate was an internal error of what hashed it."""
    [fp32] = shapes_bundle.document["variants"]
    rewrite(shapes_bundle, variants=[{**fp32, "sha256": {**shapes_bundle.variants[0].sha256, "fp32.onnx": digest}}])
    with pytest.raises(BundleError, match=r"\(fp32\): the digest of fp32\.onnx is not a SHA-256"):
        Bundle.open(shapes_bundle.path)


def test_what_appears_at_the_destination_meanwhile_is_kept(tmp_path: Path, ctc_spec: ModelSpec) -> None:
    """An export takes minutes; a folder that came to its place meanwhile was deleted at its end."""
    place = tmp_path / "thesis"
    refusal = r"appeared while the bundle was made; the new bundle is .*thesis-2"
    with pytest.raises(InputError, match=refusal), new_bundle(place) as directory:
        write_manifest(directory, ctc_spec, [], {})
        place.mkdir()
        (place / "thesis.tex").write_text("ten years of work")
    assert (place / "thesis.tex").read_text() == "ten years of work"
    assert Bundle.open(tmp_path / "thesis-2").spec == ctc_spec
    assert sorted(path.name for path in tmp_path.iterdir()) == ["thesis", "thesis-2"]


def test_killed_while_a_bundle_is_overwritten_the_old_or_the_new_is_there(
    tmp_path: Path, shapes_bundle: Bundle
) -> None:
    """The old bundle was moved away before the new one came: killed between the two, there was none."""
    path = shapes_bundle.path
    script = textwrap.dedent(
        f"""
        import shutil
        from pathlib import Path
        from wav2edge.runtime.bundle.write import new_bundle
        path, source = Path({str(path)!r}), Path({str(tmp_path / "source")!r})
        shutil.copytree(path, source)
        while True:
            with new_bundle(path, overwrite=True) as made:
                shutil.copytree(source, made, dirs_exist_ok=True)
        """
    )
    for _ in range(5):
        shutil.rmtree(tmp_path / "source", ignore_errors=True)
        writer = subprocess.Popen([sys.executable, "-c", script])
        for _ in range(200):
            assert (path / "bundle.json").is_file()
            assert writer.poll() is None
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        Bundle.open(path)
    with new_bundle(path, overwrite=True) as made:
        write_manifest(made, shapes_bundle.spec, [], {})
    assert not [left for left in path.parent.iterdir() if left.name.startswith(".")]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"provenance": {"parameters": "many"}}, "provenance.parameters must be a whole number"),
        ({"provenance": {"parity": {"tolerance": 1e-3, "engine": "x", "points": [{}]}}}, r"points\[0\].\w+ must be"),
    ],
)
def test_known_figures_have_their_type(shapes_bundle: Bundle, change: dict[str, object], says: str) -> None:
    """``inspect`` divided the number of parameters, and fell over a text."""
    manifest = shapes_bundle.path / "bundle.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text("utf-8")), **change}), "utf-8")
    with pytest.raises(BundleError, match=says):
        Bundle.open(shapes_bundle.path)


@pytest.mark.parametrize("content", ['{"name": "my web app"}', "[]", "no JSON", '{"format": 1}'])
def test_another_programs_folder_with_a_bundle_json_is_not_overwritten(tmp_path: Path, content: str) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "bundle.json").write_text(content)
    (tmp_path / "app" / "thesis.tex").write_text("years")
    with pytest.raises(InputError, match="is not a wav2edge bundle"), new_bundle(tmp_path / "app", overwrite=True):
        pass
    assert (tmp_path / "app" / "thesis.tex").read_text() == "years"
