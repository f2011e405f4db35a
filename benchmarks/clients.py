"""Whether packed layouts give the words of ``wav2edge transcribe`` in the tools that load them.

    scripts/test --clients                  # once: makes the environments of optimum and transformers.js in .clients
    python benchmarks/clients.py MANIFEST [-m BUNDLE…] [--json docs/figures/clients.json]

Fifty clips of MANIFEST, evenly of its corpora (never of a split ``eval``), are run by each tool one by one, and in
batches of different lengths. Counted are clips whose words differ from those of ONNX Runtime in wav2edge, and words
that start more than a frame away. Triton's graphs are run in ONNX Runtime, fed as its backend feeds them; fixed
lengths with each clip cut to at most that length. What differs is listed. As a control, wav2edge runs the clips at 0.9
of their loudness, which a model with normalised input takes out but for the last digits.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path

import _kit
import numpy as np
import onnxruntime
from _packed_graphs import Clip, decoded, flat, padded
from numpy.typing import NDArray

from wav2edge.devices.open import open_model
from wav2edge.export import layouts
from wav2edge.export.layouts import static
from wav2edge.measure import manifest
from wav2edge.runtime.audio import read
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.spec import ModelSpec
from wav2edge.runtime.files import write_whole
from wav2edge.runtime.heads import ctc
from wav2edge.runtime.model import Model
from wav2edge.runtime.recordings.transcriber import Transcriber

ROOT = Path(__file__).parents[1]
PROGRAMS, ENVIRONMENTS = ROOT / "tests" / "clients", ROOT / ".clients"
MODULES = ENVIRONMENTS / "node" / "node_modules"
OPTIMUM = ENVIRONMENTS / "optimum" / "bin" / "python"
CLIPS, BATCH = 50, 10
QUIETER = 0.9
LENGTHS = (1, 5, 10, 30)
"""Seconds of the fixed graphs."""

Feeds = Callable[[Sequence[Clip]], dict[str, NDArray[np.generic]]]


@dataclass(frozen=True)
class Result:
    """One way to run one variant: how many clips have other words, how many words start elsewhere, and which."""

    model: str
    client: str
    variant: str
    way: str
    clips: int
    different: int
    words_timed: int
    words_moved: int
    seconds_off: float
    """The largest difference of a word's start, s."""
    examples: tuple[tuple[str, str], ...]
    """The first few that differ: wav2edge's text and the client's."""


Reference = list[tuple[str, list[float]]]
"""Text and the starts of its words, for each clip."""


def programs(variant: str) -> dict[str, list[str]]:
    """The command of each tool, and its arguments after the folder, the clips and the result, by layout."""
    quantised = variant.startswith("int8")
    node = shutil.which("node") or str(ENVIRONMENTS / "node" / "node")
    return {
        "onnx-asr": [sys.executable, "run_onnx_asr.py", *(["int8"] if quantised else [])],
        "sherpa-onnx": [sys.executable, "run_sherpa_onnx.py", "model.int8.onnx" if quantised else "model.onnx"],
        "transformers.js": [node, "run_transformers_js.mjs", "q8" if quantised else "fp32", str(MODULES)],
        "optimum": [str(OPTIMUM), "run_optimum.py", "model_quantized.onnx" if quantised else "model.onnx"],
    }


def main() -> None:
    """Run everything, print the table, write the JSON."""
    parser = _kit.parser(__doc__)
    parser.add_argument("manifest")
    parser.add_argument("-m", "--model", action="append", metavar="BUNDLE", help="default: the embedded demo model")
    parser.add_argument("--json", type=Path, metavar="FILE.json", help="write the results")
    parser.add_argument("--onnx-asr-source", type=Path, metavar="DIR", help="src of onnx-asr's repository, run too")
    parser.add_argument("--only", action="append", metavar="CLIENT", help="run only these clients")
    parser.add_argument("--variant", action="append", help="run only these variants")
    parser.add_argument("--seconds", type=int, nargs="+", default=LENGTHS, help="lengths of the fixed graphs")
    options = parser.parse_args()
    clips = chosen(options.manifest)
    with _kit.Output(options) as output:
        for path in options.model or [embedded.bundle_path()]:
            bundle = Bundle.open(path)
            for result in measured(bundle, clips, options):
                if options.json:
                    add(options.json, result)
                output.say(
                    f"{result.model:12} {result.client[:52]:52} {result.variant:10} {result.way:12} "
                    f"{result.different:3d} of {result.clips} differ, {result.words_moved:3d} of {result.words_timed} "
                    f"words moved, at most {result.seconds_off:.3f} s"
                )


def add(path: Path, result: Result) -> None:
    """Write a result to the JSON file, in place of one of the same client, variant and way."""
    old = json.loads(path.read_text("utf-8"))["results"] if path.exists() else []
    new = asdict(result)
    same = ("model", "client", "variant", "way")
    rows = [*(row for row in old if any(row[key] != new[key] for key in same)), new]
    rows.sort(key=lambda row: (row["model"], row["client"], row["variant"]))
    words = ["python", "benchmarks/clients.py", "MANIFEST"]
    values = {"date": date.today().isoformat(), "machine": _kit.machine(), "command": " ".join(words)}
    write_whole(path, json.dumps({**values, "results": rows}, indent=1, ensure_ascii=False) + "\n")


def chosen(path: str) -> list[Clip]:
    """Fifty clips, the corpora in turn."""
    by_corpus: dict[str, list[manifest.Row]] = {}
    for row in manifest.read(path):
        if row.split != "eval":
            by_corpus.setdefault(row.corpus or "", []).append(row)
    random = np.random.default_rng(0)
    queues = [[rows[n] for n in random.permutation(len(rows))] for _, rows in sorted(by_corpus.items())]
    picked: list[manifest.Row] = []
    while len(picked) < CLIPS and any(queues):
        picked += [queue.pop() for queue in queues if queue]
    return [read.load(row.audio, _kit.RATE) for row in picked[:CLIPS]]


def measured(bundle: Bundle, clips: Sequence[Clip], options: argparse.Namespace) -> Iterator[Result]:
    """Every client and variant of a bundle."""
    name = "embedded" if bundle.path == embedded.bundle_path() else bundle.path.name
    wanted = options.variant or ("fp32", "int8-u8s8", "int8-s8s8")
    for variant in [each.name for each in bundle.variants if each.name in wanted]:
        if variant != "int8-s8s8":
            expected = reference(bundle, variant, clips) if options.only != ["static"] else []
            for layout, command in programs(variant).items():
                if not options.only or layout in options.only:
                    yield from in_client(name, bundle, variant, layout, command, clips, expected)
            if options.onnx_asr_source and (not options.only or "onnx-asr" in options.only):
                with tempfile.TemporaryDirectory() as place:
                    os.environ["PYTHONPATH"] = str(with_data_of_the_release(options.onnx_asr_source, Path(place)))
                    command = programs(variant)["onnx-asr"]
                    for result in in_client(name, bundle, variant, "onnx-asr", command, clips, expected):
                        yield replace(result, client="onnx-asr, its repository")
                    del os.environ["PYTHONPATH"]
            if bundle.spec.normalize and (not options.only or "control" in options.only):
                softer = reference(bundle, variant, [clip * np.float32(QUIETER) for clip in clips])
                client = f"wav2edge itself, clips {QUIETER} times as loud"
                yield compared(name, client, variant, "one by one", softer, expected, _frame(bundle.spec))
            if not options.only or "triton" in options.only:
                yield from in_triton(name, bundle, variant, clips, expected)
        if not options.only or "static" in options.only:
            yield from in_fixed_length(name, bundle, variant, clips, options.seconds)


def with_data_of_the_release(source: Path, place: Path) -> Path:
    """A copy of onnx-asr's source with the resampling graphs that its build makes: the installed release's."""
    found = importlib.util.find_spec("onnx_asr")
    assert found is not None and found.origin is not None
    data = Path("onnx_asr", "preprocessors", "data")
    shutil.copytree(source, place / "src")
    shutil.copytree(Path(found.origin).parents[1] / data, place / "src" / data, dirs_exist_ok=True)
    return place / "src"


def reference(bundle: Bundle, variant: str, clips: Sequence[Clip]) -> Reference:
    """The text of ``wav2edge transcribe``; for INT8 with the whole graph in one run, as in the clients.

    On CPUs it runs the convolutions in pieces (runtime/tiling.py), for which INT8 rounds some last digits differently.
    """
    model = open_model(bundle, "onnxruntime", variant, threads=1)
    if variant != "fp32":
        model = Model(
            model.bundle, model.engine, model.variant, model.options, sessions={"full": model.session("full")}
        )
    with Transcriber(model) as transcriber:
        found = [transcriber(clip, _kit.RATE) for clip in clips]
    return [(each.text, [word.start for word in each.words]) for each in found]


def in_client(
    model: str,
    bundle: Bundle,
    variant: str,
    layout: str,
    command: list[str],
    clips: Sequence[Clip],
    expected: Reference,
) -> Iterator[Result]:
    """A tool's own program in its environment."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        layouts.pack(bundle, layout, folder / "packed", variants=[variant])
        paths = [folder / f"{number}.f32" for number in range(len(clips))]
        for path, clip in zip(paths, clips):
            clip.astype(np.float32).tofile(path)
        (folder / "clips.json").write_text(json.dumps([str(path) for path in paths]))
        interpreter, program, *last = command
        files = [str(folder / name) for name in ("packed", "clips.json", "out.json")]
        words = [str(interpreter), str(PROGRAMS / program), *files, *(str(argument) for argument in last)]
        environment = dict(os.environ)
        if "onnx_asr" not in program:
            environment.pop("PYTHONPATH", None)
        subprocess.run(words, check=True, env=environment, stdout=subprocess.DEVNULL)
        found = json.loads((folder / "out.json").read_text())
    for way, title in (("alone", "one by one"), ("batch", "in batches")):
        rows = [(row["text"], word_starts(row)) for row in found[way]]
        yield compared(model, found["client"], variant, title, rows, expected, _frame(bundle.spec))


def word_starts(row: dict[str, list[list[float]] | list[str] | list[float] | str]) -> list[float]:
    """When each word of a client's result starts, s; nothing where it gives no times."""
    words, tokens, times = row.get("words"), row.get("tokens"), row.get("times")
    if isinstance(words, list):
        return [float(word[1]) for word in words if isinstance(word, list)]
    if not (isinstance(tokens, list) and isinstance(times, list)):
        return []
    found = []
    for last, token, time in zip([" ", *tokens], tokens, times):
        if last == " " and token != " " and isinstance(time, float | int):
            found.append(float(time))
    return found


def compared(
    model: str, client: str, variant: str, way: str, found: Reference, expected: Reference, frame: float
) -> Result:
    """Count the clips and words that differ."""
    examples = []
    off: list[float] = []
    for (text, starts), (own, own_starts) in zip(found, expected):
        if text.split() != own.split():
            examples.append((own, text))
        elif len(starts) == len(own_starts):
            off += [abs(a - b) for a, b in zip(starts, own_starts)]
    moved = sum(difference > frame + 1e-6 for difference in off)
    count = len(examples)
    return Result(
        model, client, variant, way, len(expected), count, len(off), moved, max(off, default=0.0), tuple(examples[:5])
    )


def in_triton(model: str, bundle: Bundle, variant: str, clips: Sequence[Clip], expected: Reference) -> Iterator[Result]:
    """Both of Triton's graphs, fed as its ONNX Runtime backend feeds them, decoded as a client would."""
    spec = bundle.spec
    ways: dict[str, Callable[[Sequence[Clip]], dict[str, NDArray[np.generic]]]] = {
        "triton": padded,
        "triton:ragged": flat,
    }
    for layout, feeds in ways.items():
        with tempfile.TemporaryDirectory() as place:
            made = layouts.pack(bundle, layout, Path(place) / "packed", variants=[variant])
            graph = onnxruntime.InferenceSession(
                str(made.path / "models" / "packed" / "1" / "model.onnx"), providers=["CPUExecutionProvider"]
            )
        for size, way in ((1, "one by one"), (BATCH, "in batches")):
            found: Reference = []
            for first in range(0, len(clips), size):
                logits = np.asarray(graph.run([spec.outputs[0].name], feeds(clips[first : first + size]))[0])
                found += [decoded(row, spec) for row in logits]
            client = f"{layout}, graph in ONNX Runtime {onnxruntime.__version__}"
            yield compared(model, client, variant, way, found, expected, _frame(spec))


def in_fixed_length(
    model: str, bundle: Bundle, variant: str, clips: Sequence[Clip], lengths: Sequence[int]
) -> Iterator[Result]:
    """Graphs of fixed lengths; each clip is cut to at most the length, and padded with noise."""
    spec = bundle.spec
    noise = np.random.default_rng(1)
    for seconds in lengths:
        samples = seconds * spec.sample_rate
        cut = [clip[: samples - n] for n, clip in enumerate(clips)]
        expected = reference(bundle, variant, cut)
        with tempfile.TemporaryDirectory() as place:
            made = layouts.pack(bundle, f"static:{seconds}s", Path(place) / "packed", variants=[variant])
            without = [*static.FUSIONS] if variant == "int8-s8s8" else []  # as its README says
            file = str(made.path / f"{variant}.onnx")
            graph = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"], disabled_optimizers=without)
        found: Reference = []
        for clip in cut:
            whole = noise.normal(size=(1, samples)).astype(np.float32)
            whole[0, : len(clip)] = clip
            logits, lengths = graph.run(None, {"input_values": whole, "input_lengths": np.array([len(clip)])})
            words = ctc.greedy(np.asarray(logits)[0, : int(np.asarray(lengths)[0])], spec)
            found.append((ctc.joined(words, spec), [word.start for word in words]))
        client = f"static:{seconds}s, graph in ONNX Runtime {onnxruntime.__version__}"
        client += "".join(f" without {name}" for name in without)
        yield compared(model, client, variant, "one by one", found, expected, _frame(spec))


def _frame(spec: ModelSpec) -> float:
    return spec.stride / spec.sample_rate


if __name__ == "__main__":
    main()
