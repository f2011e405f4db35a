"""What the model card says is what was measured on the weights that are shipped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

RECIPE = Path(__file__).parents[2] / "recipes/embedded"
WEIGHTS = RECIPE / "checkpoint/model.safetensors"
RESULTS = json.loads((RECIPE / "results.json").read_text("utf-8"))


def test_the_results_and_the_card_are_of_the_shipped_weights() -> None:
    digest = hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    assert RESULTS["sha256"] == digest
    for card in (RECIPE / "MODEL_CARD.md", RECIPE / "checkpoint/README.md"):
        text = card.read_text("utf-8")
        assert digest in text
        for split in ("eval", "test", "dev"):
            for corpus, rates in RESULTS[split].items():
                assert f"| {split} | {corpus} | {rates['clips']} | {rates['wer']} (" in text


def test_parameters_are_counted_from_the_file(recipe: Callable[[str], ModuleType]) -> None:
    assert recipe("report.collect").count_parameters(WEIGHTS) == RESULTS["parameters"]


def test_a_corpus_of_one_clip_is_in_the_card_without_intervals(recipe: Callable[[str], ModuleType]) -> None:
    rates = {"clips": 1, "wer": 50.0, "cer": 20.0, "exact": 0.0}
    table = recipe("report.card").rate_table({"dev": {"ljspeech": rates}}, ("dev",))
    assert table.endswith("| dev | ljspeech | 1 | 50.0 | 20.0 | 0.0 |")
