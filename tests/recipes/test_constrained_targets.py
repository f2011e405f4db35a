"""Frame-level targets of the recipe spell the transcript, and keep the teacher's timing."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

RECIPE = Path(__file__).parents[2] / "recipes/embedded"


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """The recipe's modules, by name, as its own scripts import them."""
    monkeypatch.syspath_prepend(str(RECIPE))
    return {name: importlib.import_module(name) for name in ("clips", "cache", "constrain", "model")}


def spoken(recipe: dict[str, ModuleType], text: str, frames: int, sure: float = 0.9) -> np.ndarray:
    """Posteriors [frames, labels] of a head that hears each letter for two frames, four apart, and blank between."""
    model = recipe["model"]
    rows = np.full((frames, len(model.LABELS)), (1 - sure) / (len(model.LABELS) - 1), np.float32)
    best = np.zeros(frames, int)
    for i, label in enumerate(model.encode(text)):
        best[4 * i + 2 : 4 * i + 4] = label
    rows[np.arange(frames), best] = sure
    return rows


def test_a_misread_letter_is_put_right_where_it_was_heard(recipe: dict[str, ModuleType], tmp_path: Path) -> None:
    clips, cache, constrain, model = (recipe[name] for name in ("clips", "cache", "constrain", "model"))
    store = clips.ClipStore(tmp_path)
    said, heard = ["a large mocha", "soy milk", "nothing like it"], ["a larje mocla", "soy milk", "cappuccino"]
    rows = []
    for text, misheard in zip(said, heard):
        samples = np.zeros(cache.RECEPTIVE + cache.HOP * 79, np.float32)
        store.append(samples, text, "", "corpus")
        rows.append(spoken(recipe, misheard, cache.frames(len(samples)), 0.99))
    table = np.concatenate(rows).astype(np.float16)
    table.tofile(tmp_path / "posteriors.f16")
    np.zeros((len(table), 512), np.float16).tofile(tmp_path / "features.f16")
    for _ in range(2):  # Again from what the head said, not from what was made of it.
        told = constrain.constrain(tmp_path)
        assert told["refused"] == 1 and told["wer"] == {"corpus": 0.0} and told["free_wer"]["corpus"] > 40
        made = np.fromfile(tmp_path / "posteriors.f16", np.float16).reshape(table.shape)
        assert np.array_equal(np.fromfile(tmp_path / "posteriors-free.f16", np.float16).reshape(table.shape), table)
    np.testing.assert_allclose(made.astype(np.float32).sum(-1), 1, atol=2e-3)
    read = [model.greedy(part.argmax(-1)) for part in np.split(made, 3)]
    assert read == ["a large mocha", "soy milk", "cappuccino"]  # What is not said there is refused.
    heard_at = 4 * len(model.encode("a lar")) + 2
    assert made[:, model.encode("g")[0]].argmax() in (heard_at, heard_at + 1)  # Where it was heard as j.


def test_a_decoder_that_begins_anew_is_cut_at_the_end_of_what_is_said(recipe: dict[str, ModuleType]) -> None:
    posteriors = spoken(recipe, "i can't swim", 60)
    text, loss = recipe["constrain"].fitting(posteriors, "i can't swim i can't")
    assert text == "i can't swim" and loss < 1
    assert recipe["constrain"].fitting(posteriors, "have you seen him")[1] > 2
    assert recipe["constrain"].fitting(posteriors[:4], "far too long for it") == ("", float("inf"))
