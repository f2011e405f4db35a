"""The commands that scripts/test --kill kills, each on something small, and what must hold of their results."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import soundfile

from wav2edge.cli import main
from wav2edge.runtime import engines
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.engines import EngineOptions

from .killing import Target

ROOT = Path(__file__).parents[3]
CHECKPOINT = ROOT / "tests" / "data" / "group_norm"
OLD = "last month's report"
CLIP = "smart-mirror.opus"


def whole_bundle(path: Path) -> None:
    """Everything that a bundle lists is there and has its digest."""
    bundle = Bundle.open(path)
    for variant in bundle.variants:
        bundle.verify(variant)
    for name in bundle.files:
        bundle.file(name)


def whole_file(path: Path) -> None:
    """A report, transcript or figure is the old one, or ends as the new one does."""
    if not path.exists():
        return
    text = path.read_text("utf-8")
    if text == OLD:
        return
    if path.suffix == ".json":
        json.loads(text)
    elif path.suffix == ".html":
        assert text.rstrip().endswith("</html>"), f"{path.name} is cut"
    else:
        assert text.endswith("\n"), f"{path.name} is cut"


def _clips(folder: Path, count: int) -> None:
    """A manifest of clips from the package."""
    manifest = embedded.clips_manifest()
    lines = manifest.read_text("utf-8").splitlines()
    rows = sorted((json.loads(line) for line in lines), key=lambda row: (manifest.parent / row["path"]).stat().st_size)
    for row in rows[:count]:
        shutil.copy(manifest.parent / row["path"], folder)
    (folder / "clips.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:count]))


def _bundle(folder: Path) -> None:
    shutil.copytree(embedded.bundle_path(), folder / "b")


def _fp32_bundle(folder: Path) -> None:
    """The embedded bundle with fp32 alone."""
    _bundle(folder)
    path = folder / "b" / "bundle.json"
    document = json.loads(path.read_text())
    dropped = [variant for variant in document["variants"] if variant["name"] != "fp32"]
    document["variants"] = [variant for variant in document["variants"] if variant["name"] == "fp32"]
    path.write_text(json.dumps(document))
    for variant in dropped:
        for name in variant["sizes"]:
            (folder / "b" / name).unlink()
    _clips(folder, 5)


def _check_export(folder: Path) -> None:
    if (folder / "b").exists():
        whole_bundle(folder / "b")


def _check_quantized(folder: Path) -> None:
    whole_bundle(folder / "b")
    for path in (folder / "b.quantization").glob("*.*"):
        whole_file(path)


def _check_tar(folder: Path) -> None:
    """The file is the old one, or a tar whose sums are right."""
    path = folder / "b.tar"
    if not path.exists() or path.read_bytes() == OLD.encode():
        return
    with tarfile.open(path) as archive:
        content = {item.name: archive.extractfile(item) for item in archive.getmembers() if item.isfile()}
        read = {name: file.read() for name, file in content.items() if file is not None}
    sums = [line.split("  ", 1) for line in read["SHA256SUMS"].decode().splitlines()]
    assert sums and all(hashlib.sha256(read[name]).hexdigest() == digest for digest, name in sums)


def _old_tar(folder: Path) -> None:
    _bundle(folder)
    (folder / "b.tar").write_text(OLD)


def _check_transcripts(folder: Path) -> None:
    for path in (folder / "out").glob("[!.]*"):
        whole_file(path)


def _with_report(folder: Path) -> None:
    _bundle(folder)
    _clips(folder, 2)
    (folder / "report").mkdir()
    for name in ("index.html", "bench.json", "bench.csv", "bench.md", "evaluate.json"):
        (folder / "report" / name).write_text(OLD)


def _check_report(folder: Path) -> None:
    for path in (folder / "report").glob("[!.]*"):
        whole_file(path)


def _bundle_and_clip(folder: Path) -> None:
    _bundle(folder)
    _clips(folder, 1)


def _sound(folder: Path) -> None:
    _clips(folder, 2)


def _remove_captions(folder: Path) -> None:
    for name in ("x.jsonl", "x.srt", "x.wav"):
        (folder / name).unlink(missing_ok=True)


def _check_captions(folder: Path) -> None:
    """Every whole line is an event, every cue but the last is whole, and the sound can be read up to its end."""
    if (folder / "x.jsonl").exists():
        lines = (folder / "x.jsonl").read_text("utf-8").split("\n")
        for line in lines[:-1]:
            json.loads(line)
        assert not lines[-1], "a line of captions is cut"
    if (folder / "x.srt").exists():
        cues = [cue for cue in (folder / "x.srt").read_text("utf-8").split("\n\n") if cue.strip()]
        assert all(len(cue.strip().splitlines()) >= 3 and " --> " in cue for cue in cues)
    wav = folder / "x.wav"
    if wav.exists() and wav.stat().st_size >= 44:
        (announced,) = struct.unpack("<I", wav.read_bytes()[40:44])
        assert announced <= wav.stat().st_size - 44 or announced == 0xFFFFFFFF, "the header announces too much"
        soundfile.info(wav)


def _command(*words: str) -> Callable[[Path], int]:
    return lambda folder: main(words)


def _transcribe(folder: Path) -> int:
    return main(["transcribe", *sorted(path.name for path in folder.glob("*.opus")), "-f", "json", "-o", "out"])


def _build(folder: Path) -> int:
    """TensorRT for RTX builds with no GPU; ``wav2edge build`` asks for one, so that what is built is proven."""
    bundle = Bundle.open("b")
    build = engines.get("tensorrt-rtx").build
    assert build is not None
    build(bundle, bundle.variant("fp32"), "full", EngineOptions(longest_seconds=1.0), lambda line: None)
    return 0


def _check_engines(folder: Path) -> None:
    """Every engine in the cache is whole, with the digest that its header has."""
    for path in (folder / "cache" / "engines").glob("*.engine"):
        _, header, plan = path.read_bytes().split(b"\n", 2)
        assert hashlib.sha256(plan).hexdigest() == json.loads(header)["sha256"], f"{path.name} is cut"


_OPENVINO = ("transcribe", CLIP, "-m", "b", "--engine", "openvino", "--variant", "fp32", "-f", "json", "-o", "out")
_SAVED = ("--save", "x.jsonl", "--save", "x.srt", "--record", "x.wav")
_BENCH = ("--quick", "--runs", "1", "--limit", "0.1", "--seconds", "1", "--engine", "onnxruntime", "--variant", "fp32")
_QUANTIZE = ("--dev", "clips.jsonl", "--variant", "int8-dynamic", "--no-search", "--force", "--longest", "3")
_EVALUATE = ("evaluate", "clips.jsonl", "-m", "b", "--engine", "onnxruntime", "--variant", "fp32", "--report", "report")
_PACK = ("pack", "b", "b.tar", "--for", "generic", "--overwrite")
_ALL = (
    Target("export", lambda folder: None, _command("export", str(CHECKPOINT), "b", "--overwrite"), _check_export),
    Target("quantize", _fp32_bundle, _command("quantize", "b", *_QUANTIZE), _check_quantized),
    Target("build", _bundle, _build, _check_engines),
    Target("compile and cache", _bundle_and_clip, _command(*_OPENVINO), _check_transcripts),
    Target("pack", _bundle, _command(*_PACK), _check_tar),
    Target("pack over an old file", _old_tar, _command(*_PACK), _check_tar),
    Target("transcribe -o", lambda folder: _clips(folder, 3), _transcribe, _check_transcripts),
    Target(
        "listen --save",
        _sound,
        _command("listen", "--file", CLIP, "--fast", *_SAVED),
        _check_captions,
        _remove_captions,
    ),
    Target("bench --report", _with_report, _command("bench", "-m", "b", *_BENCH, "--report", "report"), _check_report),
    Target("evaluate --report", _with_report, _command(*_EVALUATE), _check_report),
)
TARGETS = {target.name: target for target in _ALL}
"""By name."""


def missing(name: str) -> str:
    """Why a command cannot be attacked here; empty where it can."""
    needs = {"export": "torch", "quantize": "onnx", "build": "tensorrt_rtx", "compile and cache": "openvino"}
    needed = needs.get(name, "onnxruntime")
    return "" if importlib.util.find_spec(needed) is not None else f"{needed} is not installed"
