"""How much a small n-gram language model lowers the word error rate on real clips of its domain.

    python benchmarks/language_model.py SPEECH --texts MANIFEST [--corpus C] [--split S] [-m BUNDLE] [--docs FILE.md]

SPEECH: recordings with text that the model was not trained on. MANIFEST: sentences for the language model, which
recipes/language_model.py makes; recordings of SPEECH are left out of it. The weights (alpha, beta) are chosen by
cross-validation: for each of --folds parts of the recordings those that give the fewest word errors on the other parts,
so that no recording is scored with weights that were chosen on it. Intervals are 95 % bootstraps over recordings, the
differences paired.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import _kit
import numpy as np

from wav2edge.measure import manifest, scoring
from wav2edge.runtime.audio.read import AudioSource
from wav2edge.runtime.heads import ctc
from wav2edge.runtime.recordings.chunking import Chunk
from wav2edge.runtime.recordings.decoding import WordDecoder
from wav2edge.runtime.recordings.transcriber import Transcriber
from wav2edge.runtime.text.language_model import BeamDecoder, LanguageModel, open_language_model

RECIPE = Path(__file__).parents[1] / "recipes" / "language_model.py"
ALPHAS = (0.2, 0.4, 0.6, 0.9, 1.3)
BETAS = (-1.0, 0.5, 2.0)
Ran = list[tuple[Chunk, np.ndarray]]
"""The chunks of a recording with their logits [frames, labels]."""


def main() -> None:
    """Print the table; write it into the docs when asked to."""
    parser = _kit.parser(__doc__)
    parser.add_argument("speech")
    parser.add_argument("--texts", required=True, metavar="MANIFEST")
    parser.add_argument("--corpus", help="only rows of this corpus, of speech and texts")
    parser.add_argument("--split", help="only rows of this split of the texts")
    _kit.add_model(parser)
    parser.add_argument("--order", type=int, default=3)
    parser.add_argument("--folds", type=int, default=4)
    arguments = parser.parse_args()
    rows = [row for row in manifest.scan(arguments.speech)[0] if arguments.corpus in (None, row.corpus)]
    references = [row.text for row in rows]
    sentences = other_texts(
        Path(arguments.texts), {row.path.resolve() for row in rows}, arguments.corpus, arguments.split
    )
    seen = set(sentences)
    with (
        tempfile.TemporaryDirectory() as folder,
        Transcriber(_kit.open_model(arguments)) as transcriber,
    ):
        model = make_model(sentences, Path(folder), arguments.order)
        ran = [run(transcriber, row.audio) for row in rows]
        greedy = scoring.score(references, decode(transcriber, ran, ctc.greedy))
        beam = scoring.score(references, decode(transcriber, ran, BeamDecoder(transcriber.spec)))
        tried = {
            weights: scoring.score(references, decode(transcriber, ran, weighted(transcriber, model, *weights)))
            for weights in itertools.product(ALPHAS, BETAS)
        }
        digests = sorted(transcriber.model.variant.sha256.values())
        system = f"{transcriber.model.engine} {transcriber.model.variant.name} (sha256 {digests[0][:8]}…)"
    chosen = choose({key: found.words for key, found in tried.items()}, len(rows), arguments.folds)
    words = [tried[key].words[index] for index, key in enumerate(chosen)]
    characters = [tried[key].characters[index] for index, key in enumerate(chosen)]
    occurring = sum(scoring.normalize(text) in seen for text in references)
    weights = ", ".join(f"α {alpha:g} β {beta:g}" for alpha, beta in sorted(set(chosen)))
    lines = [
        f"{len(rows)} recordings ({arguments.corpus or 'all corpora'}), {greedy.wer.length} words; {system}; a",
        f"{arguments.order}-gram of {len(sentences)} other sentences, of which the {len(rows)} repeat {occurring};",
        f"weights by {arguments.folds}-fold cross-validation: {weights}.",
        "",
        "| decoding | WER | CER | WER against greedy |",
        "|---|---|---|---|",
        f"| greedy | {greedy.wer} | {greedy.cer} | |",
        f"| beam search, no language model | {beam.wer} | {beam.cer} "
        f"| {scoring.difference(greedy.words, beam.words)} |",
        f"| beam search with the language model | {scoring.rate(words)} | {scoring.rate(characters)} "
        f"| {scoring.difference(greedy.words, words)} |",
    ]
    with _kit.Output(arguments, markdown=True) as output:
        output.say(*lines)


def other_texts(path: Path, taken: set[Path], corpus: str | None, split: str | None) -> list[str]:
    """The normalised sentences of a manifest whose recordings are not among those taken; they need not be there."""
    found = []
    for line in path.read_text("utf-8").splitlines():
        row = json.loads(line)
        wanted = corpus in (None, row.get("corpus")) and split in (None, row.get("split"))
        if wanted and (path.parent / row["path"]).resolve() not in taken:
            found.append(scoring.normalize(row["text"]))
    return found


def make_model(sentences: Sequence[str], folder: Path, order: int) -> LanguageModel:
    """The recipe's language model of some sentences."""
    (folder / "sentences.txt").write_text("\n".join(sentences) + "\n", "utf-8")
    command = [sys.executable, str(RECIPE), str(folder / "sentences.txt"), "--order", str(order)]
    subprocess.run([*command, "-o", str(folder / "model.arpa")], check=True, stdout=subprocess.DEVNULL)
    return open_language_model(folder / "model.arpa")


def weighted(transcriber: Transcriber, model: LanguageModel, alpha: float, beta: float) -> BeamDecoder:
    """A beam search with these weights."""
    return BeamDecoder(transcriber.spec, dataclasses.replace(model, alpha=alpha, beta=beta))


def run(transcriber: Transcriber, source: AudioSource) -> Ran:
    """The chunks of a recording and their logits."""
    chunks = transcriber.chunks(transcriber.open_recording(source))
    return [(chunk, transcriber.run([chunk])[0]) for chunk in chunks]


def decode(transcriber: Transcriber, ran: Sequence[Ran], decoder: WordDecoder) -> list[str]:
    """The text of recordings whose logits are computed."""
    transcriber.decoder = decoder
    texts = []
    for chunks in ran:
        decoding = transcriber.decoding()
        for chunk, logits in chunks:
            decoding.push(chunk, logits)
        texts.append(decoding.transcript().text)
    return texts


def choose(
    tried: dict[tuple[float, float], tuple[scoring.Edits, ...]], count: int, folds: int
) -> list[tuple[float, float]]:
    """For each recording the weights with the fewest errors on the folds that it is not in; the first of equals."""
    fold = np.random.default_rng(0).permutation(count) % folds
    errors = {key: np.array([edit.errors for edit in edits]) for key, edits in tried.items()}
    best = [min(errors, key=lambda key: (errors[key][fold != part].sum(), key)) for part in range(folds)]
    return [best[part] for part in fold]


if __name__ == "__main__":
    main()
