"""Bundles of unknown origin: bundle.json, selftest.npz, vocabularies, language models, graphs, links and pipes."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from wav2edge.cli import main
from wav2edge.devices import pack, profile
from wav2edge.runtime import selftest
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import MANIFEST, SELFTEST, Bundle
from wav2edge.runtime.bundle.reference import read_archive
from wav2edge.runtime.errors import InputError
from wav2edge.runtime.model import Model
from wav2edge.runtime.recordings.transcriber import Transcriber
from wav2edge.runtime.text.language_model import BeamDecoder, open_language_model

from ..mutation import NAMES, NUMBERS, damaged, edited, pick, value, written

ATTRS = {"alpha": 0.5, "beta": 1.5, "unk_score_offset": -10.0, "score_boundary": True}
ARPA = "\\data\\\nngram 1=4\n\n\\1-grams:\n-1\t<unk>\n0\t<s>\n-1\t</s>\n-1\thello\n\n\\end\\\n"


class Inputs:
    """Changed copies of the embedded bundle; its large files are hard links to one copy."""

    def __init__(self, scratch: Path) -> None:
        """Copy the bundle beside the inputs, with a language model in it."""
        self.base = scratch / "bundle"
        shutil.copytree(embedded.bundle_path(), self.base)
        self.document: dict[str, Any] = json.loads((self.base / MANIFEST).read_text())
        for path in self.base.glob("*.data"):  # no engine reads the weights here, and digests of small files are quick
            path.write_bytes(path.read_bytes()[:4096])
            self._list(self.base, self.document, path.name)
        (self.base / "language_model").mkdir()
        for name, text in (("attrs.json", json.dumps(ATTRS)), ("unigrams.txt", "hello\n"), ("lm.arpa", ARPA)):
            (self.base / "language_model" / name).write_text(text)
            self._list(self.base, self.document, f"language_model/{name}")
        (self.base / MANIFEST).write_text(json.dumps(self.document))
        self.wheel = scratch / "wav2edge-0-py3-none-any.whl"
        self.wheel.write_bytes(b"")
        self.profile = profile.load("generic")

    def __call__(self, random: Generator, folder: Path) -> str:
        """Change a bundle in one way, and use it in one way."""
        bundle = folder / "bundle"
        _linked(self.base, bundle)
        ways: tuple[Callable[[Generator, Path], None], ...] = (
            self._document,
            self._document,
            self._content,
            self._listed_content,
            self._archive,
            self._language_model,
            self._tree,
        )
        pick(random, ways)(random, bundle)
        uses: tuple[Callable[[Generator, Bundle], str], ...] = (
            _verify,
            _selftest,
            _transcribe,
            _inspect,
            _decode_with_model,
            self._pack,
        )
        opened = Bundle.open(bundle)
        return pick(random, uses if opened.variants else (_inspect,))(random, opened)

    def _document(self, random: Generator, bundle: Path) -> None:
        document = edited(random, self.document, int(random.integers(1, 4)))
        _replace(bundle / MANIFEST, written(random, document))

    def _content(self, random: Generator, bundle: Path) -> None:
        """Damage that the digests tell."""
        name = pick(random, sorted(str(path.relative_to(bundle)) for path in bundle.rglob("*.*") if path.is_file()))
        _replace(bundle / name, damaged(random, (bundle / name).read_bytes()[:200_000]))

    def _listed_content(self, random: Generator, bundle: Path) -> None:
        """Damage of an author, who lists its digest."""
        name = pick(random, ("vocab.json", SELFTEST, "fp32.onnx", "fp32.frontend.onnx", "language_model/unigrams.txt"))
        data = (bundle / name).read_bytes()
        if name.endswith(".onnx") and random.random() < 0.5:
            place = str(pick(random, NAMES)).encode("utf-8", "surrogatepass")[:100]
            data = data.replace(b"fp32.data", place)
        self._relist(bundle, name, damaged(random, data) if random.random() < 0.8 else data)

    def _archive(self, random: Generator, bundle: Path) -> None:
        """selftest.npz as a program writes it, with arrays of other types and shapes, or headers that announce more."""
        with np.load(bundle / SELFTEST) as archive:
            arrays: dict[str, Any] = dict(archive)
        for _ in range(int(random.integers(1, 3))):
            name = pick(random, sorted(arrays))
            arrays[name] = pick(random, _ARRAYS)(random, arrays[name])
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, content in arrays.items():
                inner = io.BytesIO()
                with contextlib.suppress(RuntimeError):  # more dimensions than numpy writes
                    np.lib.format.write_array(inner, np.asanyarray(content), allow_pickle=True)
                data = inner.getvalue()
                if random.random() < 0.1:
                    data = data.replace(b"'shape': (", b"'shape': (999999999, ")
                if random.random() < 0.1:
                    data = damaged(random, data)
                entry = pick(random, (name, name, name, name, f"../{name}", "clip_0", "clip_99", "clip_x"))
                packed.writestr(f"{entry}.npy", data)
            if random.random() < 0.003:
                packed.writestr("clip_0.npy", bytes(300_000_000))
        self._relist(bundle, SELFTEST, file.getvalue())

    def _language_model(self, random: Generator, bundle: Path) -> None:
        name, data = pick(
            random, (("attrs.json", written(random, edited(random, ATTRS, 1))), ("lm.arpa", ARPA.encode()))
        )
        if name == "attrs.json" and random.random() < 0.3:
            data = written(random, value(random))
        if name != "attrs.json":
            data = damaged(random, data)
        self._relist(bundle, f"language_model/{name}", data)

    def _tree(self, random: Generator, bundle: Path) -> None:
        """Links, pipes and folders in the place of files, and under names that a writer may use."""
        listed = [MANIFEST, "vocab.json", SELFTEST, "fp32.onnx", "fp32.data", "language_model/attrs.json"]
        name = pick(random, [*listed, "bundle.json.tmp", ".bundle.json.x.tmp", "int8.onnx", "language_model"])
        path = bundle / name
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        way = int(random.integers(5))
        if way == 0:
            path.symlink_to(pick(random, ("../../victim.txt", "../../secret.fifo", "/dev/zero", name, ".", "/etc")))
        elif way == 1:
            os.mkfifo(path)
        elif way == 2:
            path.mkdir()
        elif way == 3:
            path.write_bytes(random.bytes(int(random.integers(0, 100))))

    def _pack(self, random: Generator, bundle: Bundle) -> str:
        target = bundle.path.parent / pick(random, ("x.tar", "x.tar.gz", "x.tgz"))
        pack.pack(bundle, self.profile, target, pack.PackOptions(wheel=self.wheel))
        return "packed"

    def _relist(self, bundle: Path, name: str, data: bytes) -> None:
        """Replace a file and list its size and digest, as an author would."""
        _replace(bundle / name, data)
        document: dict[str, Any] = json.loads(json.dumps(self.document))
        self._list(bundle, document, name)
        _replace(bundle / MANIFEST, json.dumps(document).encode())

    def _list(self, bundle: Path, document: dict[str, Any], name: str) -> None:
        data = (bundle / name).read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        for variant in document["variants"]:
            if name in variant["sizes"]:
                variant["sizes"][name], variant["sha256"][name] = len(data), digest
                return
        document["files"][name] = {"file": name, "bytes": len(data), "sha256": digest}


def _kinds_of_array() -> tuple[Callable[[Generator, Any], Any], ...]:
    types = ("f2", "f8", "i1", "i8", "u8", "c16", "?", "U5", "S3", "M8[s]", ">f4", "O")
    return (
        lambda random, array: np.zeros(tuple(int(n) for n in random.integers(0, 6, int(random.integers(0, 5))))),
        lambda random, array: array.astype(pick(random, types)) if array.dtype.kind in "fi" else array,
        lambda random, array: array[..., :0] if array.ndim else np.array(""),
        lambda random, array: np.full(array.shape, pick(random, (np.nan, np.inf, 1e38)), np.float32),
        lambda random, array: np.array(value(random), dtype=object),
        lambda random, array: array[:1] if array.ndim else array,
        lambda random, array: np.zeros(3, dtype=[("a", "f4"), ("b", "i2")]),
        lambda random, array: np.array(str(pick(random, NUMBERS))),
    )


_ARRAYS = _kinds_of_array()


def _linked(source: Path, target: Path) -> None:
    for path in source.rglob("*"):
        other = target / path.relative_to(source)
        if path.is_dir():
            other.mkdir(parents=True, exist_ok=True)
        else:
            other.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, other)


def _replace(path: Path, data: bytes) -> None:
    """Write a new file under a name, so that the copies it was linked to stay as they are."""
    path.unlink()
    path.write_bytes(data)


def _verify(random: Generator, bundle: Bundle) -> str:
    for name in bundle.files:
        bundle.file(name)
    bundle.verify(pick(random, bundle.variants))
    return "verified"


def _selftest(random: Generator, bundle: Bundle) -> str:
    reference = read_archive(bundle)
    with Model(bundle, "null", pick(random, bundle.variants)) as model:
        result = selftest.check(model, reference)
    assert result.status in ("passed", "failed") and "\n" not in result.reason
    return f"selftest {result.status}"


def _transcribe(random: Generator, bundle: Bundle) -> str:
    with Transcriber(Model(bundle, "null", pick(random, bundle.variants))) as transcriber:
        transcriber(np.zeros(bundle.spec.sample_rate, np.float32), sample_rate=bundle.spec.sample_rate)
    return "transcribed"


def _inspect(random: Generator, bundle: Bundle) -> str:
    said, warned = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(warned):
        code = main(["inspect", str(bundle.path), *pick(random, ([], ["--verify"], ["--json"]))])
    assert "internal error" not in warned.getvalue(), warned.getvalue()
    assert "\x1b" not in said.getvalue() + warned.getvalue(), "control characters reach the terminal"
    if code:
        raise InputError(warned.getvalue().strip())
    return "inspected"


def _decode_with_model(random: Generator, bundle: Bundle) -> str:
    decoder = BeamDecoder(bundle.spec, open_language_model("bundle", bundle), beam_width=4)
    logits = random.normal(0, 3, (20, len(bundle.spec.labels))).astype(np.float32)
    words = decoder(logits, bundle.spec)
    assert all(word.end >= word.start for word in words)
    return "beam search"
