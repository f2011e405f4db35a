"""``wav2edge evaluate MANIFEST``: measure error rates on recordings with known text or labels."""

from __future__ import annotations

import dataclasses
import functools
import math
from pathlib import Path
from typing import TYPE_CHECKING

from wav2edge.measure import tables
from wav2edge.runtime.errors import InputError

from . import _decoding, _options, _terminal
from ._command import argument, command, gathered, listed, option
from ._decoding import Cut, Words
from ._evaluate_heads import Thresholds
from ._options import OUTPUT, Several
from ._progress import Progress
from ._values import Number, OneOf

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wav2edge.measure.evaluation import Evaluation
    from wav2edge.measure.scoring import Normalization
    from wav2edge.runtime.bundle.read import Bundle

_SPEECH = "Speech and texts"
_SPEAKERS = "Thresholds of speaker models"
_DESCRIBED = {"none": "as they are written", "lower": "lower case", "basic": "NFKC, lower case, no punctuation"}


@command(
    "wav2edge evaluate test.jsonl",
    "wav2edge evaluate test.jsonl -m my-bundle --variant fp32,int8-u8s8  # what INT8 costs in words",
    "wav2edge evaluate test.jsonl -m old -m new --report report  # two bundles, a page to look at",
    "wav2edge evaluate pairs.tsv -m speakers --false-accept-rate 0.01 --keep  # the threshold for verify",
)
@argument(
    "manifest",
    "JSON Lines, .tsv or .csv with path and text, or a folder of audio with .txt beside it",
    metavar="MANIFEST",
    type=_options.FILE,
)
@_options.models("bundle to evaluate")
@_options.several_engines(
    "engines to run (default: ONNX Runtime and OpenVINO on the CPU, where installed)", "variants to run (default: all)"
)
@option("--split", "only rows of this split", group=_SPEECH, metavar="SPLIT")
@option(
    "--text-norm",
    "how texts are made comparable: basic (lower case, no punctuation), lower (lower case), none (default: basic)",
    group=_SPEECH,
    type=OneOf(lambda: tuple(_DESCRIBED)),
    default="basic",
)
@option(
    "--worst",
    "recordings to show side by side (default: 5)",
    group=OUTPUT,
    metavar="N",
    type=Number(int, 0, 10_000, "a whole number"),
    default=5,
)
@_options.json_file("print everything as JSON instead")
@_options.report("write a page to look at (index.html), and evaluate.json")
@option("--html", "the page alone, as one file", group=OUTPUT, metavar="FILE", type=_options.WRITTEN_FILE, hidden=True)
@_decoding.cut
@_decoding.words
@gathered(
    Thresholds,
    "thresholds",
    listed(
        "--false-accept-rate",
        "of a speaker model, also the threshold that accepts at most this share of pairs of different speakers",
        group=_SPEAKERS,
        metavar="R[,R]",
        type=Number(float, 0, 0.5, "a share", above=True),
    ),
    option(
        "--keep",
        "store the thresholds in the bundle; verify takes the first",
        group=_SPEAKERS,
        is_flag=True,
    ),
)
def run(
    manifest: str,
    model: tuple[str, ...],
    several: Several,
    split: str | None,
    text_norm: Normalization,
    worst: int,
    json: str | None,
    report: str | None,
    html: str | None,
    cut: Cut,
    words: Words,
    thresholds: Thresholds,
) -> int:
    """Measure error rates on recordings with known text, labels, speakers or turns.

    Every engine and variant transcribes the same recordings. The table shows its error rates with 95 % intervals and
    its speed for each corpus of the manifest, and whether the difference from the first one is significant. With a
    language model or hotwords, greedy decoding and beam search are shown side by side. Exit code 2 when some recordings
    could not be used; the figures are without them.

    For models that do not transcribe the figures are those of their head: accuracy and recall of a classifier (the
    manifest has label), equal error rate of a speaker model (pairs of recordings, or speaker), diarization error rate
    (rttm), concordance of numbers (values).
    """
    from wav2edge.devices.open import open_model
    from wav2edge.measure import evaluation
    from wav2edge.measure import manifest as manifests
    from wav2edge.runtime import engines, files
    from wav2edge.runtime.recordings.transcriber import Transcriber

    from . import _evaluate_heads, _foreign

    _check_files(manifest, json, html, report)
    bundles = [_options.open_bundle(name) for name in model or (None,)]
    _check_for_words(bundles, cut, words, text_norm, html)
    decodings: list[evaluation.DecodingName] = ["greedy", "beam"] if words.beam else ["greedy"]
    systems = [
        (bundle, system)
        for bundle in bundles
        for system in evaluation.systems(
            bundle, several.engine, several.variant, decodings, among=engines.DEFAULT_ORDER
        )
    ]
    thresholds.check(systems)
    if any(bundle.spec.head != "ctc" for bundle in bundles):
        return _evaluate_heads.run(
            systems, several, manifest, split, json, _options.make_folder(report), worst, thresholds
        )
    rows, broken = manifests.scan(manifest, split=split)
    for problem in broken:
        _terminal.note(problem)
    folder = _options.make_folder(report)
    beams = {bundle.path: words.decoder(bundle) for bundle in bundles}
    chunkings = {bundle.path: cut.chunking(bundle.spec) for bundle in bundles}
    labels = evaluation.labels([system for _, system in systems])
    hypotheses = []
    with Progress() as progress, _foreign.without_lines(_foreign.MP3_DECODER):
        for label, (bundle, system) in zip(labels, systems):
            beam = beams[bundle.path] if system.decoding != "greedy" else None
            opened = open_model(bundle, system.engine, system.variant, threads=several.threads, device=several.device)
            with Transcriber(opened, decoder=beam, chunking=chunkings[bundle.path]) as transcriber:
                count = functools.partial(progress.update, label, total=len(rows))
                hypotheses.append(evaluation.transcribe_rows(transcriber, system, rows, count))
    result = evaluation.evaluate(rows, hypotheses, text_norm)
    for problem in result.problems:
        _terminal.note(problem)
    result = dataclasses.replace(result, problems=(*broken, *result.problems))
    values = evaluation.to_json(result)
    _terminal.write_json(values, json)
    if json != "-":
        _print(result, labels, worst)
    if html or folder:
        from wav2edge.measure import evaluation_page

        page = evaluation_page.page(result, labels, manifest, worst)
        if html:
            files.write_whole(Path(html), page)
        if folder:
            files.write_whole(folder / "index.html", page)
            _terminal.write_json(values, folder / "evaluate.json")
            _terminal.note(f"the page is {folder / 'index.html'}")
    _terminal.note_unusable(len(result.problems), manifest)
    return 2 if result.problems else 0


def _check_files(manifest: str, json: str | None, html: str | None, report: str | None) -> None:
    """Raise InputError for files that cannot be written, or that are the manifest."""
    page = _options.in_report(report, "index.html", "evaluate.json")
    _options.check_distinct(("MANIFEST", manifest), ("--json", json), ("--html", html), *page)
    _options.check_folder(html, json)


def _check_for_words(bundles: Sequence[Bundle], cut: Cut, words: Words, text_norm: str, html: str | None) -> None:
    """Raise InputError for options that a model which does not transcribe has no use for."""
    head = next((bundle.spec.head for bundle in bundles if bundle.spec.head != "ctc"), None)
    if head is None:
        return
    from wav2edge.measure.scoring import DEFAULT_NORMALIZATION

    given = {
        **words.given(),
        "--html": html,
        "--text-norm": text_norm != DEFAULT_NORMALIZATION,
        "--chunk and --context": cut.given,
    }
    for name, value in given.items():
        if value:
            raise InputError(f"{name}: for models that transcribe; this one's head is {head}")


def _print(result: Evaluation, labels: list[str], worst: int) -> None:
    out = _terminal.out
    out(
        f"texts compared: {result.normalization} ({_DESCRIBED[result.normalization]}); intervals: 95 %, over recordings"
    )
    for corpus in dict.fromkeys(line.corpus for line in result.lines):
        lines = [line for line in result.lines if line.corpus == corpus]
        first = lines[0].scores.wer
        out(f"\n{corpus}: {_count(first.clips, 'recording')}, {_count(first.length, 'word')}")
        columns = [("", [labels[line.system] for line in lines])]
        columns += [("WER", [str(line.scores.wer) for line in lines])]
        columns += [("CER", [str(line.scores.cer) for line in lines])]
        if corpus == result.whole:
            columns += [("speed", [f"{result.hypotheses[line.system].speed:.1f}× RT" for line in lines])]
        if len(lines) > 1:
            against = [_against(result, corpus, line.system, labels[0]) for line in lines]
            columns += [(f"WER against {labels[0]}", against)]
        out(tables.table([heading for heading, _ in columns], list(zip(*(cells for _, cells in columns)))))
    for number, index in enumerate(result.worst(worst)):
        if number == 0:
            out(f"\nmost errors of {labels[0]}:")
        out(f"\n  {result.rows[index].audio}")
        width = max(9, *map(len, labels))
        out(f"    {'reference':{width}}  {result.rows[index].text}")
        for label, texts in zip(labels, result.texts):
            out(f"    {label:{width}}  {texts[index]}")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _against(result: Evaluation, corpus: str, system: int, first: str) -> str:
    for other in result.comparisons:
        if (other.corpus, other.system) == (corpus, system):
            if other.wer.low == other.wer.high == 0:
                return f"as many errors as {first} in every recording"
            by_chance = math.isfinite(other.wer.value) and not other.wer.significant
            return f"{other.wer}{' (could be chance)' if by_chance else ''}"
    return ""
