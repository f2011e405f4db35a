"""``wav2edge evaluate MANIFEST``: word and character error rates with their intervals, per variant and engine."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from wav2edge.cli import _decoding, _options
from wav2edge.cli._progress import Progress

if TYPE_CHECKING:
    from wav2edge.measure.evaluation import Evaluation, System
    from wav2edge.runtime.bundle.read import Bundle

HELP = "word and character error rates with intervals, for each corpus, variant and engine"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    from wav2edge.measure.scoring import DEFAULT_NORMALIZATION, NORMALIZATIONS

    parser.add_argument("manifest", metavar="MANIFEST", help="JSON Lines, .tsv or .csv with path and text, or a folder")
    several = "; give it again to compare"
    parser.add_argument(
        "-m", "--model", metavar="BUNDLE", action="append", help=f"bundle (default: the embedded demo model){several}"
    )
    parser.add_argument(
        "--engine", metavar="ENGINE", action="append", help=f"engine (default: each for CPUs here){several}"
    )
    parser.add_argument("--variant", metavar="VARIANT", action="append", help=f"variant (default: each){several}")
    parser.add_argument("--threads", type=_options.positive, metavar="N", help="CPU threads (default: one a core)")
    parser.add_argument("--split", metavar="SPLIT", help="only rows of this split")
    parser.add_argument(
        "--text-norm",
        choices=tuple(NORMALIZATIONS),
        default=DEFAULT_NORMALIZATION,
        help="how texts are made comparable: basic (lower case, no punctuation), lower, none (default: %(default)s)",
    )
    parser.add_argument(
        "--worst", type=int, default=5, metavar="N", help="recordings to show side by side (default: 5)"
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument("--html", metavar="FILE", help="also write a page to look at, one file")
    _decoding.add_chunking(parser)
    _decoding.add_language_model(parser)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate each system on the same recordings; exit code 2 when some could not be used."""
    from wav2edge.cli._quiet import QuietTranscriber
    from wav2edge.devices.open import open_model
    from wav2edge.measure import evaluation, manifest
    from wav2edge.runtime.errors import InputError
    from wav2edge.runtime.recordings.chunking import Chunking

    chunking = Chunking(arguments.window, arguments.context)
    bundles = [_options.open_bundle(model) for model in arguments.model or [None]]
    systems = [item for bundle in bundles for item in _systems(bundle, arguments)]
    rows, broken = manifest.scan(arguments.manifest, split=arguments.split)
    progress = Progress()
    for problem in broken:
        progress.say(problem)
    if arguments.html and not Path(arguments.html).absolute().parent.is_dir():
        raise InputError(f"{arguments.html}: there is no such folder")
    beams = {bundle.path: _decoding.decoder(arguments, bundle) for bundle in bundles}
    hypotheses = []
    for bundle, system in systems:
        beam = beams[bundle.path] if system.decoding != "greedy" else None
        label = _label(system, [other for _, other in systems])
        model = open_model(bundle, system.engine, system.variant, threads=arguments.threads)
        with QuietTranscriber(model, decoder=beam, chunking=chunking) as transcriber:
            count = functools.partial(progress.count, label, total=len(rows))
            hypotheses.append(evaluation.transcribe_rows(transcriber, system, rows, count))
        progress.clear()
    found = evaluation.evaluate(rows, hypotheses, arguments.text_norm)
    for problem in found.problems:
        progress.say(problem)
    found = dataclasses.replace(found, problems=(*broken, *found.problems))
    failed = len(found.problems)
    if arguments.json:
        _options.write_json(evaluation.to_json(found))
    else:
        _print(found, [other for _, other in systems], arguments.worst)
    if arguments.html:
        from wav2edge.cli.transcribe import write_whole
        from wav2edge.measure import evaluation_page

        labels = [_label(one.system, [other for _, other in systems]) for one in hypotheses]
        write_whole(Path(arguments.html), evaluation_page.page(found, labels, arguments.manifest, arguments.worst))
    if failed:
        progress.say(f"{failed} rows of {arguments.manifest} could not be used; the rates are without them")
    return 2 if failed else 0


def _systems(bundle: Bundle, arguments: argparse.Namespace) -> Iterator[tuple[Bundle, System]]:
    """Every engine and variant that was named, else every one that runs here."""
    from wav2edge.measure.evaluation import DecodingName, System
    from wav2edge.runtime import choice, engines
    from wav2edge.runtime.errors import EngineError

    decodings: list[DecodingName] = (
        ["greedy"] if arguments.lm is None and not arguments.hotwords else ["greedy", "beam"]
    )
    reasons = []
    count = 0
    for engine in arguments.engine or choice.ORDER:
        module = engines.get(engine)
        if reason := engines.missing(engine):
            if arguments.engine:
                raise EngineError(f"engine {engine}: {reason}")
            reasons.append(f"{engine}: {reason}")
            continue
        variants = [bundle.variant(name) for name in arguments.variant] if arguments.variant else bundle.variants
        for variant in variants:
            if reason := module.refuses(bundle.spec, variant):
                reasons.append(f"{engine} does not run {variant.name}: {reason}")
                continue
            for decoding in decodings:
                count += 1
                yield bundle, System(str(bundle.path), engine, variant.name, decoding)
    named = arguments.engine and arguments.variant
    if reasons and (count == 0 or named):
        raise EngineError("; ".join(reasons))


def _label(system: System, systems: list[System]) -> str:
    """A system in as few words as tell it from the others."""
    parts = [f"{system.engine} {system.variant}"]
    if len({other.bundle for other in systems}) > 1:
        parts.insert(0, os.path.basename(system.bundle.rstrip("/")))
    if len({other.decoding for other in systems}) > 1:
        parts.append(system.decoding)
    return " ".join(parts)


def _print(found: Evaluation, systems: list[System], worst: int) -> None:
    labels = [_label(system, systems) for system in systems]
    width = max(len(label) for label in labels)
    described = {"none": "as they stand", "lower": "lower case", "basic": "NFKC, lower case, no punctuation"}
    print(f"texts compared: {found.normalization} ({described[found.normalization]}); intervals: 95 %, over recordings")
    corpus = None
    for line in found.lines:
        if line.corpus != corpus:
            corpus = line.corpus
            print(f"\n{corpus}: {line.scores.wer.clips} recordings, {line.scores.wer.length} words")
            print(f"  {'':{width}}  {'WER':<24}{'CER':<24}{'speed':>9}")
        speed = f"{found.hypotheses[line.system].speed:.1f}× RT"
        print(f"  {labels[line.system]:{width}}  {line.scores.wer!s:<24}{line.scores.cer!s:<24}{speed:>9}")
        for other in found.comparisons:
            if other.corpus == corpus and other.system == line.system:
                if other.wer.low == other.wer.high == 0:
                    print(f"  {'':{width}}  as many errors as {labels[0]} in every recording")
                    continue
                sure = "" if other.wer.significant else " (could be chance)"
                print(f"  {'':{width}}  WER {other.wer} against {labels[0]}{sure}")
    for number, index in enumerate(found.worst(worst)):
        if number == 0:
            print(f"\nmost errors of {labels[0]}:")
        print(f"\n  {found.rows[index].path}")
        print(f"    {'reference':{max(width, 9)}}  {found.rows[index].text}")
        for label, texts in zip(labels, found.texts):
            print(f"    {label:{max(width, 9)}}  {texts[index]}")
