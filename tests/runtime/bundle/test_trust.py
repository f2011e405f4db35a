"""A bundle of unknown origin: one line for whatever it holds, and nothing outside it is opened."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.trust import check_external_data, contained, sha256
from wav2edge.runtime.bundle.write import add_variants, describe_variant
from wav2edge.runtime.errors import BundleError


def change(bundle: Bundle, edit: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads((bundle.path / "bundle.json").read_text())
    edit(document)
    (bundle.path / "bundle.json").write_text(json.dumps(document))


def listed(name: str) -> Callable[[dict[str, Any]], None]:
    def edit(document: dict[str, Any]) -> None:
        document["files"]["vocab.json"] = {"file": name, "bytes": 0, "sha256": "0" * 64}

    return edit


def test_a_file_is_hashed_again_when_it_changed(tmp_path: Path) -> None:
    """The weights were read once for each stage, 0.2 s of the time in which a base model loads."""
    path = tmp_path / "weights"
    path.write_bytes(b"before")
    os.utime(path, (0, 0))
    settled = os.stat(path).st_ctime_ns + 10**10
    with mock.patch("time.time_ns", return_value=settled):
        before = sha256(path)
        with mock.patch("hashlib.sha256") as hashing:
            hashing.return_value.hexdigest.return_value = "read again"
            assert sha256(path) == before
            path.write_bytes(b"behind")
            os.utime(path, (1, 1))
            assert sha256(path) == "read again"


def test_a_file_that_was_just_written_is_hashed_every_time(tmp_path: Path) -> None:
    """A change within the steps of the file system's clock leaves size and times as they were."""
    path = tmp_path / "weights"
    path.write_bytes(b"before")
    first = sha256(path)
    status = path.stat()
    with mock.patch("wav2edge.runtime.bundle.trust._identity", return_value=(0, 0, 6, status.st_ctime_ns)):
        assert sha256(path) == first
        path.write_bytes(b"behind")
        assert sha256(path) != first


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "a/../../x", "a\\..\\x", "C:x", "x\0y", "x\ny", ".", "", " x", "x\ud800"]
)
def test_names_that_could_lead_out_are_refused(shapes_bundle: Bundle, name: str) -> None:
    change(shapes_bundle, listed(name))
    with pytest.raises(BundleError, match="do not trust it"):
        Bundle.open(shapes_bundle.path)


@pytest.mark.parametrize("where", ["file", "folder", "bundle.json"])
def test_links_are_refused(shapes_bundle: Bundle, tmp_path: Path, where: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x").write_bytes(b"")
    if where == "file":
        (shapes_bundle.path / "x").symlink_to(outside / "x")
        change(shapes_bundle, listed("x"))
    elif where == "folder":
        (shapes_bundle.path / "y").symlink_to(outside)
        change(shapes_bundle, listed("y/x"))
    else:
        (shapes_bundle.path / "bundle.json").rename(outside / "bundle.json")
        (shapes_bundle.path / "bundle.json").symlink_to(outside / "bundle.json")
    with pytest.raises(BundleError, match="symbolic link"):
        Bundle.open(shapes_bundle.path)


def test_a_pipe_is_not_opened(shapes_bundle: Bundle) -> None:
    os.mkfifo(shapes_bundle.path / "x")
    change(shapes_bundle, listed("x"))
    with pytest.raises(BundleError, match="not a plain file"):
        Bundle.open(shapes_bundle.path)


def test_a_file_that_became_a_link_after_opening_is_not_read(shapes_bundle: Bundle, tmp_path: Path) -> None:
    graph = shapes_bundle.path / "fp32.onnx"
    graph.rename(tmp_path / "fp32.onnx")
    graph.symlink_to(tmp_path / "fp32.onnx")
    with pytest.raises(BundleError, match="symbolic link"):
        shapes_bundle.verify(shapes_bundle.variants[0])


def test_writing_follows_no_link(shapes_bundle: Bundle, tmp_path: Path) -> None:
    """A link under the name of a temporary file once made ``quantize`` overwrite whatever it led to."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (shapes_bundle.path / "bundle.json.tmp").symlink_to(victim)
    staged = tmp_path / "staged"
    staged.mkdir()
    (staged / "int8.onnx").write_bytes(b"x")
    add_variants(shapes_bundle, staged, [describe_variant(staged, "int8", "int8", {"full": "int8.onnx"})])
    assert victim.read_text() == "precious"
    assert not (shapes_bundle.path / "bundle.json").is_symlink()


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        (("spec", "labels"), {}, "spec.labels must be a list"),
        (("spec", "labels", 3), 7, "spec.labels[3] must be text"),
        (("spec", "blank"), 99, "spec.blank is 99"),
        (("spec", "blank"), None, "spec.blank is missing"),
        (("spec", "norm"), "batch", "spec.norm must be one of group, layer"),
        (("spec", "sample_rate"), 1, "sample_rate is 1"),
        (("spec", "sample_rate"), True, "spec.sample_rate must be a whole number"),
        (("spec", "time"), [], "time must hold 1 to"),
        (("spec", "time"), [[10, 0, 0]], "time must hold 1 to"),
        (("spec", "time"), [[10, 5]], "kernel, stride and padding"),
        (("spec", "time"), [[10**9, 5, 0]], "time must hold 1 to"),
        (("spec", "head"), "../ctc", "not the name of a head"),
        (("spec", "head"), "juggling", "no head 'juggling'"),
        (("spec", "head_options"), {"silent": "x"}, "head_options.silent must be a list"),
        (("spec", "outputs"), [], "outputs must have names"),
        (("spec", "trained_seconds"), -1.0, "trained_seconds is -1"),
        (("variants", 0, "graphs"), {"whole": "fp32.onnx"}, "must be one of full, frontend, encoder"),
        (("variants", 0, "graphs"), {}, "a variant needs a name and the graph"),
        (("variants", 0, "sizes"), {"fp32.onnx": "800"}, "sizes.fp32.onnx must be a whole number"),
        (("variants", 0, "sha256"), {}, "no size or digest"),
        (("files",), [], "files must be an object"),
        (("format",), "1", "no format version"),
    ],
)
def test_a_wrong_field_is_named(shapes_bundle: Bundle, path: tuple[Any, ...], value: object, line: str) -> None:
    def edit(document: dict[str, Any]) -> None:
        place: Any = document
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    change(shapes_bundle, edit)
    with pytest.raises(BundleError) as caught:
        Bundle.open(shapes_bundle.path)
    assert line in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b"1" * 10_000, b"\xff\xfe", b"\0", b'{"format": 1e999}', b'{"format": ' + b"9" * 5000]
)
def test_documents_that_break_parsers_are_one_line(shapes_bundle: Bundle, content: bytes) -> None:
    (shapes_bundle.path / "bundle.json").write_bytes(content)
    with pytest.raises(BundleError) as caught:
        Bundle.open(shapes_bundle.path)
    assert "\n" not in str(caught.value)


def test_a_huge_document_is_not_read(shapes_bundle: Bundle) -> None:
    with (shapes_bundle.path / "bundle.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(BundleError, match="more than 16 MB"):
        Bundle.open(shapes_bundle.path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)


@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],  # an emulated processor is slow
    deadline=None,
)
@given(data=st.data())
def test_any_change_of_any_field_is_taken_or_is_one_line(shapes_bundle: Bundle, data: st.DataObject) -> None:
    original = (shapes_bundle.path / "bundle.json").read_text()
    document = json.loads(original)
    place: Any = document
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], (dict, list)) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    if data.draw(st.booleans()):
        place[key] = data.draw(JSON)
    else:
        del place[key]
    try:
        (shapes_bundle.path / "bundle.json").write_text(json.dumps(document))
        Bundle.open(shapes_bundle.path)
    except BundleError as error:
        assert "\n" not in str(error)
    finally:
        (shapes_bundle.path / "bundle.json").write_text(original)


def external(name: bytes, key: bytes = b"location") -> bytes:
    """An entry of a tensor's external data, as protobuf writes it."""
    entry = b"\n" + bytes([len(key)]) + key + b"\x12" + bytes([len(name)]) + name
    return b"j" + bytes([len(entry)]) + entry


def test_graphs_take_weights_from_their_variants_files_only(tmp_path: Path) -> None:
    graph = tmp_path / "g.onnx"
    inside = b"\x08\x07" + external(b"fp32.data") + external(b"0", b"offset")
    for name in (b"", b"allocation", b"x.location.y"):
        graph.write_bytes(inside + name)
        check_external_data(tmp_path, "g.onnx", ("fp32.data",))
    attacks = [
        inside + external(b"../secret"),
        inside + external(b"/etc/passwd"),
        inside + external(b"unlisted.data"),
        inside + b"j\x2a\n\x08location\x12\x09fp32.data\x12\x09../secret",  # the last value wins
        inside + b"j\x15\x12\x09../secret\n\x08location",  # the value first
        inside + b"j\x94\x00\n\x88\x00location\x12\x08../secre",  # lengths written the long way
        inside + external(b"x" * 120),
        b"location\x12",
    ]
    for content in attacks[:-1]:
        graph.write_bytes(content)
        with pytest.raises(BundleError, match="outside its variant"):
            check_external_data(tmp_path, "g.onnx", ("fp32.data",))
    graph.write_bytes(attacks[-1])
    check_external_data(tmp_path, "g.onnx", ())


def test_graphs_in_a_folder_take_weights_from_it(tmp_path: Path) -> None:
    """A graph's names are read from its own folder, but were compared with names read from the bundle's."""
    (tmp_path / "sub").mkdir()
    graph = tmp_path / "sub/g.onnx"
    graph.write_bytes(external(b"fp32.data"))
    check_external_data(tmp_path, "sub/g.onnx", ("fp32.data", "sub/fp32.data"))
    for name, allowed in (
        (b"fp32.data", "fp32.data"),
        (b"../fp32.data", "fp32.data"),
        (b"../sub/fp32.data", "sub/../sub/fp32.data"),
        (b"/fp32.data", "/fp32.data"),
    ):
        graph.write_bytes(external(name))
        with pytest.raises(BundleError, match="outside its variant"):
            check_external_data(tmp_path, "sub/g.onnx", (allowed,))


def test_an_unlisted_file_beside_a_graph_in_a_folder_is_refused(tmp_path: Path) -> None:
    """The listed file was verified, and the engine took its weights from the one in the graph's folder."""
    folder = Path(shutil.copytree(embedded.bundle_path(), tmp_path / "bundle"))
    (folder / "sub").mkdir()
    document = json.loads((folder / "bundle.json").read_text())
    variant = document["variants"][0]
    for stage, name in variant["graphs"].items():
        (folder / name).rename(folder / "sub" / name)
        variant["graphs"][stage] = f"sub/{name}"
        for figures in (variant["sha256"], variant["sizes"]):
            figures[f"sub/{name}"] = figures.pop(name)
    for name in variant["data"]:
        (folder / "sub" / name).write_bytes(bytes((folder / name).stat().st_size))
    document["variants"] = [variant]
    (folder / "bundle.json").write_text(json.dumps(document))
    bundle = Bundle.open(folder)
    assert variant["data"]
    with pytest.raises(BundleError, match="outside its variant"):
        bundle.verify(bundle.variants[0])


def test_contained_gives_path_and_size(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b").write_bytes(b"123")
    assert contained(tmp_path, "a/b") == (tmp_path / "a" / "b", 3)
    with pytest.raises(BundleError, match="missing"):
        contained(tmp_path, "a/c")
    with pytest.raises(BundleError, match="not a plain file"):
        contained(tmp_path, "a")
