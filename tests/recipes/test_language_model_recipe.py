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
