"""The recipe's ARPA file is a probability distribution after every context, and a decoder can read it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from wav2edge.runtime.text.language_model import open_language_model

RECIPE = Path(__file__).parents[2] / "recipes" / "language_model.py"
TEXT = "the cat sat\nThe cat ran!\na cat sat on the mat\n"


@pytest.fixture
def sections(tmp_path: Path) -> dict[int, dict[tuple[str, ...], tuple[float, float]]]:
    """N → n-gram → (log10 probability, log10 backoff weight)."""
    (tmp_path / "texts.txt").write_text(TEXT, "utf-8")
    arpa = tmp_path / "cats.arpa"
    subprocess.run([sys.executable, str(RECIPE), str(tmp_path / "texts.txt"), "-o", str(arpa)], check=True)
    known = {"<s>", "</s>", "<unk>", "the", "cat", "sat", "ran", "a", "on", "mat"}
    assert set(open_language_model(arpa).unigrams or ()) == known
    found: dict[int, dict[tuple[str, ...], tuple[float, float]]] = {}
    for line in arpa.read_text("utf-8").splitlines():
        if line.startswith("\\") and line.endswith("-grams:"):
            found[int(line[1])] = {}
        elif "\t" in line:
            probability, gram, *backoff = line.split("\t")
            found[max(found)][tuple(gram.split())] = (float(probability), float(backoff[0]) if backoff else 0.0)
    return found


def probability(sections: dict[int, dict[tuple[str, ...], tuple[float, float]]], gram: tuple[str, ...]) -> float:
    """As the ARPA format defines it: the n-gram if it is listed, else its context's backoff times the shorter one."""
    if gram in sections[len(gram)]:
        return float(10 ** sections[len(gram)][gram][0])
    backoff = sections[len(gram) - 1].get(gram[:-1], (0.0, 0.0))[1]
    return float(10**backoff) * probability(sections, gram[1:])


def test_probabilities_after_each_context_sum_to_one(
    sections: dict[int, dict[tuple[str, ...], tuple[float, float]]],
) -> None:
    words = [gram[0] for gram in sections[1] if gram[0] != "<s>"]
    for context in ((), ("<s>",), ("the",), ("mat",), ("<s>", "the"), ("the", "cat"), ("cat", "never")):
        assert sum(probability(sections, (*context, word)) for word in words) == pytest.approx(1.0, abs=1e-4)
    assert probability(sections, ("the", "cat")) > probability(sections, ("the", "sat")) > 0


def make(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(RECIPE), *words], cwd=tmp_path, capture_output=True, text=True)


def test_a_table_and_a_manifest_of_other_names_give_their_texts(tmp_path: Path) -> None:
    """Of a table its header and paths became words of the model."""
    (tmp_path / "t.tsv").write_text("path\ttext\na.wav\tmake me a coffee\n", "utf-8")
    (tmp_path / "m.jsonl").write_text('{"path": "b.wav", "sentence": "a\u2028latte", "corpus": "c"}\n', "utf-8")
    (tmp_path / "b.txt").write_text("\ufeffplease\n", "utf-8")
    assert make(tmp_path, "t.tsv", "m.jsonl", "b.txt", "-o", "x.arpa").returncode == 0
    known = {"<s>", "</s>", "<unk>", "make", "me", "a", "coffee", "latte", "please"}
    assert set(open_language_model(tmp_path / "x.arpa").unigrams or ()) == known


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["p.txt", "-o", "p.txt"], "p.txt: is one of the texts"),
        (["p.txt", "--split", "train", "-o", "x.arpa"], "--corpus and --split are for manifests"),
        (["gone.txt", "-o", "x.arpa"], "gone.txt: cannot be read"),
        (["broken.jsonl", "-o", "x.arpa"], "broken.jsonl:1: "),
        (["p.txt", "--order", "0", "-o", "x.arpa"], "at least 1"),
        (["marks.txt", "--text-norm", "none", "-o", "x.arpa"], "the texts have the word <unk>, a mark of ARPA files"),
    ],
)
def test_what_cannot_be_made_is_one_line(tmp_path: Path, words: list[str], why: str) -> None:
    (tmp_path / "p.txt").write_text("make me a coffee\n")
    (tmp_path / "marks.txt").write_text("make <unk> a coffee\n")
    (tmp_path / "broken.jsonl").write_text('{"path": "a.wav"}\n')
    done = make(tmp_path, *words)
    assert done.returncode and why in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr
    assert (tmp_path / "p.txt").read_text() == "make me a coffee\n" and not (tmp_path / "x.arpa").exists()
