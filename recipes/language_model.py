"""Make an n-gram language model (ARPA) from texts: a few hundred sentences of your own domain already help.

    python recipes/language_model.py TEXTS… --order 3 -o commands.arpa
    wav2edge evaluate test.jsonl -m my-bundle --lm commands.arpa

TEXTS are manifests (their ``text``) or plain text files with one sentence a line. Probabilities are interpolated
Witten-Bell estimates (Bell, Cleary and Witten, 1990), which need no tuning and suit little text; for millions of
sentences use KenLM's lmplz.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from wav2edge.measure import records
from wav2edge.measure.manifest import TEXT
from wav2edge.measure.scoring import NORMALIZATIONS, normalize
from wav2edge.runtime.errors import InputError
from wav2edge.runtime.files import write_whole

Gram = tuple[str, ...]
START, END, UNKNOWN = "<s>", "</s>", "<unk>"


def main() -> None:
    """Read texts, write the model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("texts", nargs="+")
    parser.add_argument("-o", "--output", required=True, metavar="FILE.arpa")
    parser.add_argument("--order", type=int, default=3)
    parser.add_argument("--corpus", help="only rows of this corpus")
    parser.add_argument("--split", help="only rows of this split")
    parser.add_argument("--text-norm", choices=tuple(NORMALIZATIONS), default="basic")
    arguments = parser.parse_args()
    if arguments.order < 1:
        parser.error(f"--order {arguments.order}: at least 1")
    output = Path(arguments.output)
    try:
        if any(output.resolve() == Path(name).resolve() for name in arguments.texts):
            raise InputError(f"{output}: is one of the texts; choose another name for the model")
        sentences = [
            words
            for name in arguments.texts
            for text in read(Path(name), arguments.corpus, arguments.split)
            if (words := normalize(text, arguments.text_norm).split())
        ]
        if not sentences:
            raise InputError("no sentences in these texts")
        if marks := {START, END, UNKNOWN}.intersection(itertools.chain(*sentences)):
            raise InputError(f"the texts have the word {min(marks)}, a mark of ARPA files; use --text-norm basic")
        counts = count(sentences, arguments.order)
        write_whole(output, "".join(arpa(counts)))
    except (InputError, OSError) as error:
        raise SystemExit(f"error: {error}") from None
    sizes = ", ".join(f"{len(grams)} {n}-grams" for n, grams in enumerate(counts, 1))
    print(f"{arguments.output}: {len(sentences)} sentences, {sizes}")


def read(path: Path, corpus: str | None, split: str | None) -> Iterator[str]:
    """The texts of a manifest, whose recordings need not be there, or the lines of a plain text file.

    Raises InputError for a file that cannot be read, and for a row that is damaged.
    """
    if path.suffix.lower() not in (".jsonl", ".json", ".tsv", ".csv"):
        if corpus is not None or split is not None:
            raise InputError(f"{path}: --corpus and --split are for manifests (.jsonl, .json, .tsv, .csv)")
        yield from records.read_text(path).split("\n")
        return

    def refuse(problem: str) -> None:
        raise InputError(problem)

    tables = path.suffix.lower() in (".tsv", ".csv")
    rows = records.table(path, refuse, TEXT, "(`text`)") if tables else records.json_lines(path, refuse)
    for source, row in rows:
        text = records.text_of(row, TEXT, source)
        if text is None:
            raise InputError(f"{source}: no `text`")
        if corpus in (None, row.get("corpus")) and split in (None, row.get("split")):
            yield text


def count(sentences: Iterable[list[str]], order: int) -> list[Counter[Gram]]:
    """How often each n-gram occurs in the sentences, for n from 1 to ``order``; ``<s>`` occurs as context only."""
    counts: list[Counter[Gram]] = [Counter() for _ in range(order)]
    for words in sentences:
        padded = [START, *words, END]
        for n in range(1, order + 1):
            for end in range(max(n, 2), len(padded) + 1):
                counts[n - 1][tuple(padded[end - n : end])] += 1
    return counts


def arpa(counts: list[Counter[Gram]]) -> Iterator[str]:
    """The lines of an ARPA file with the interpolated probabilities and backoff weights of all n-grams."""
    following: dict[Gram, Counter[str]] = defaultdict(Counter)
    for grams in counts:
        for gram, times in grams.items():
            following[gram[:-1]][gram[-1]] += times
    vocabulary = len(counts[0]) + 1  # and the unknown word

    def backoff(context: Gram) -> float:
        seen = following.get(context)
        return len(seen) / (len(seen) + seen.total()) if seen else 1.0

    def probability(gram: Gram) -> float:
        context, word = gram[:-1], gram[-1]
        lower = probability(gram[1:]) if context else 1.0 / vocabulary
        seen = following.get(context)
        if not seen:
            return lower
        return (seen[word] + len(seen) * lower) / (seen.total() + len(seen))

    yield "\\data\\\n"
    for n, grams in enumerate(counts, 1):
        yield f"ngram {n}={len(grams) + (2 if n == 1 else 0)}\n"
    for n, grams in enumerate(counts, 1):
        yield f"\n\\{n}-grams:\n"
        if n == 1:
            yield f"-99\t{START}\t{math.log10(backoff((START,))):.6f}\n"
            yield f"{math.log10(probability((UNKNOWN,))):.6f}\t{UNKNOWN}\n"
        for gram in sorted(grams):
            line = f"{math.log10(probability(gram)):.6f}\t{' '.join(gram)}"
            yield line + (f"\t{math.log10(backoff(gram)):.6f}\n" if n < len(counts) else "\n")
    yield "\n\\end\\\n"


if __name__ == "__main__":
    main()
