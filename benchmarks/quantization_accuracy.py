"""Word error rates of the embedded model's quantised variants, with and without a search, on dev and each eval corpus.

    python benchmarks/quantization_accuracy.py --speech CAL --dev DEV --eval EVAL [--bundle BUNDLE] [--haswell]
    python benchmarks/quantization_accuracy.py --dev DEV --bundle BUNDLE --as-is --haswell

CAL and DEV are manifests that share nothing with EVAL; EVAL is transcribed once, by the variants that the gate kept.
In brackets beside the figures is what is expected: at least of the token agreement, at most of rise and size.
``--haswell`` runs the u8s8 and u7s8 variants again under ``qemu-x86_64 -cpu Haswell``, x86 without VNNI, where u8s8 can
saturate (needs Debian's qemu-user; slow: one minute for each minute of speech). ``--as-is`` takes the variants that
BUNDLE has, and neither quantises nor searches.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import _kit
import numpy as np

from wav2edge.calibration.clips import Clips, dev_clips
from wav2edge.calibration.closeness import agreement
from wav2edge.calibration.judge import Judge
from wav2edge.calibration.quantize import Calibration, Options, quantize
from wav2edge.calibration.ranges import Method
from wav2edge.calibration.sites import find_sites
from wav2edge.graphs.graph import Graph
from wav2edge.measure import manifest
from wav2edge.measure.scoring import difference, score
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.reference import write_archive
from wav2edge.runtime.heads import ctc

STATIC = ("int8-u8s8", "int8-s8s8", "int8-u7s8")
EMULATOR = ("qemu-x86_64", "-cpu", "Haswell")
CHILD = """
import sys, numpy as np
from wav2edge.runtime import engines
from wav2edge.runtime.bundle.read import Bundle
bundle = Bundle.open(sys.argv[1])
session = engines.load(bundle, bundle.variant(sys.argv[2]), "onnxruntime")
clips, out = np.load(sys.argv[3]), {}
for name in clips.files:
    values = session.run(engines.as_feeds(clips[name][None], np.array([len(clips[name])])))
    out[name] = values["logits"][0, : values["output_lengths"][0]]
np.savez(sys.argv[4], **out)
"""


def show(output: _kit.Output, title: str, made: Calibration) -> None:
    """The table of one run on dev."""
    output.say("", f"{title}: fp32 {made.judge.reference.run.estimates()[0]} on {made.judge.dev.amount} words of dev")
    graph = Graph.load(made.bundle.graph(made.bundle.variant("fp32"), "full"))
    for outcome in made.outcomes:
        measured = outcome.measured
        size = 0.27 + 0.75 * float_share(graph, outcome.kept_float)
        output.say(
            f"  {outcome.variant.name:13} {measured.figure}  rise {measured.change} ({at_most(0.5)})  "
            f"tokens {100 * measured.likeness:.2f} % (98)  SQNR {measured.sqnr_db:5.1f} dB  "
            f"size {outcome.variant.bytes / (4 * graph.parameters):.4f} ({size:.4f})  "
            f"time {outcome.latency_ratio:.2f}  {outcome.verdict.text}"
        )
        kept = ", ".join(f"{layer} ({why})" for layer, why in outcome.kept_float.items())
        output.say(f"  {'':13} {outcome.trials} candidates; in float: {kept or 'nothing'}")


def at_most(points: float) -> str:
    """What is expected, beside a rise."""
    return f"expected: at most {points:g}"


def float_share(graph: Graph, layers: Mapping[str, str]) -> float:
    """The share of all parameters that stays in float: these layers, and every bias and norm."""
    return 1 - sum(site.parameters for site in find_sites(graph) if site.layer not in layers) / graph.parameters


def by_corpus(clips: Clips) -> dict[str, Clips]:
    """The clips of each corpus."""
    names = dict.fromkeys(row.corpus for row in clips.rows)
    return {
        name: Clips(tuple(row for row in clips.rows if row.corpus == name), clips.spec, clips.longest) for name in names
    }


def closing(output: _kit.Output, bundle: Bundle, path: str) -> None:
    """fp32 and every variant on each corpus of EVAL."""
    rows = manifest.read(path)
    # Of a manifest with several splits the test split is used; of one with one split or none, all of it.
    rows = tuple(row for row in rows if manifest.part_of(row.split or "") == "test") or rows
    for corpus, clips in by_corpus(Clips(rows, bundle.spec, 10.0)).items():
        judge = Judge(bundle, clips, None)
        output.say(
            "", f"{corpus}: {len(clips.rows)} clips, {clips.amount} words, fp32 {judge.reference.run.estimates()[0]}"
        )
        for variant in bundle.variants:
            if variant.name != "fp32":
                measured = judge.judge(bundle, variant)
                output.say(
                    f"  {variant.name:13} {measured.figure}  rise {measured.change} ({at_most(1.0)})  tokens "
                    f"{100 * measured.likeness:.2f} % (98)  SQNR {measured.sqnr_db:.1f} dB  "
                    f"({measured.engine})"
                )


def haswell(output: _kit.Output, bundle: Bundle, dev: Clips, folder: Path) -> None:
    """u8s8 and u7s8 natively and without VNNI, on the same clips."""
    samples = [clip for _, clip in dev.whole()]
    write_archive(folder / "clips.npz", {f"{index:04d}": clip for index, clip in enumerate(samples)})
    references = [row.text for row in dev.rows]
    logits_of: dict[tuple[str, str], list[np.ndarray]] = {}
    places: tuple[tuple[str, tuple[str, ...]], ...] = (("native", ()), ("Haswell", EMULATOR))
    kept = {variant.name for variant in bundle.variants}
    for name in ("fp32", "int8-u8s8", "int8-u7s8"):
        if name not in kept:
            output.say("", f"{name} was not kept, so it is not run without VNNI")
            continue
        for place, prefix in places:
            if name == "fp32" and prefix:
                continue
            target = folder / f"{name}-{place}.npz"
            arguments = [str(bundle.path), name, str(folder / "clips.npz"), str(target)]
            done = subprocess.run(
                [*prefix, sys.executable, "-c", CHILD, *arguments], check=False, capture_output=True, text=True
            )
            if done.returncode:
                sys.exit(f"{name} on {place}: {done.stderr.strip() or f'ended with {done.returncode}'}")
            stored = np.load(target)
            logits_of[name, place] = [stored[key] for key in sorted(stored.files)]

    def texts(logits: list[np.ndarray]) -> list[str]:
        return [ctc.joined(ctc.greedy(values, bundle.spec), bundle.spec) for values in logits]

    reference = score(references, texts(logits_of["fp32", "native"]))
    output.say("", f"without VNNI: {len(samples)} clips, {dev.amount} words, fp32 {reference.wer}")
    for (name, place), logits in logits_of.items():
        scores = score(references, texts(logits))
        rise = difference(reference.words, scores.words)
        output.say(
            f"  {name:10} {place:8} {scores.wer}  rise {rise} ({at_most(0.5)})  tokens "
            f"{100 * agreement(logits_of['fp32', 'native'], logits):.2f} %"
        )


def searched(output: _kit.Output, source: Path, folder: Path, speech: str, dev: str, method: Method) -> Bundle:
    """A copy of a bundle's fp32, quantised naively and then with the search; both are shown."""
    naive = _kit.only_fp32(source, folder / "naive")
    options = Options(variants=STATIC, method=method, smooth=False, searching=False, limit=None, dev_limit=None)
    show(output, "everything INT8", quantize(naive, speech, dev, options))
    options = Options(method=method, limit=None, dev_limit=None)
    made = quantize(_kit.only_fp32(source, folder / "model"), speech, dev, options)
    show(output, "wav2edge quantize", made)
    if made.refused is not None:
        sys.exit(f"the gate refused, so there is no variant to measure: {made.refused}")
    return made.bundle


def main() -> None:
    """Quantise twice (naively, and with the search) unless ``--as-is``, then measure on EVAL."""
    parser = _kit.parser(__doc__)
    parser.add_argument("--bundle", default=None)
    parser.add_argument("--speech")
    parser.add_argument("--dev", required=True)
    parser.add_argument("--eval")
    parser.add_argument("--method", default=Options.method)
    parser.add_argument("--as-is", action="store_true")
    parser.add_argument("--haswell", action="store_true")
    parser.add_argument("--haswell-clips", type=int, default=24)
    arguments = parser.parse_args()
    if arguments.haswell and shutil.which(EMULATOR[0]) is None:
        sys.exit(f"--haswell needs {EMULATOR[0]}: `apt-get install qemu-user`")
    if not arguments.as_is and not arguments.speech:
        sys.exit("--speech is needed to calibrate on (or --as-is, for the variants that the bundle has)")
    source = Path(arguments.bundle) if arguments.bundle else embedded.bundle_path()
    with tempfile.TemporaryDirectory() as folder, _kit.Output(arguments) as output:
        if arguments.as_is:
            bundle = Bundle.open(source)
        else:
            bundle = searched(output, source, Path(folder), arguments.speech, arguments.dev, arguments.method)
        if arguments.eval:
            closing(output, bundle, arguments.eval)
        if arguments.haswell:
            dev = dev_clips(arguments.dev, bundle.spec, longest=10.0)
            rows = dev.rows[:: max(1, len(dev.rows) // arguments.haswell_clips)]
            haswell(output, bundle, Clips(rows, dev.spec, dev.longest), Path(folder))


if __name__ == "__main__":
    main()
