"""Frame-level targets of the recipe spell the transcript, and keep the teacher's timing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np

Recipe = Callable[[str], ModuleType]


def posteriors_of(recipe: Recipe, text: str, frames: int, certainty: float = 0.9) -> np.ndarray:
    """Posteriors [frames, labels] of a head that writes each letter in two frames, four apart, and blank between."""
    labels = recipe("labels")
    rows = np.full((frames, len(labels.LABELS)), (1 - certainty) / (len(labels.LABELS) - 1), np.float32)
    best = np.zeros(frames, int)
    for i, label in enumerate(labels.encode(text)):
        best[4 * i + 2 : 4 * i + 4] = label
    rows[np.arange(frames), best] = certainty
    return rows


def test_a_wrong_letter_is_corrected_at_its_frame(recipe: Recipe, tmp_path: Path) -> None:
    frames, constrain, labels = (recipe(name) for name in ("frames", "teacher.constrain", "labels"))
    store = recipe("speech.clips").ClipStore(tmp_path)
    transcripts = ["a large mocha", "soy milk", "nothing like it"]
    written = ["a larje mocla", "soy milk", "cappuccino"]
    rows = []
    for transcript, text in zip(transcripts, written):
        samples = np.zeros(frames.RECEPTIVE + frames.HOP * 79, np.float32)
        store.append(samples, transcript, "", "corpus")
        rows.append(posteriors_of(recipe, text, frames.count_frames(len(samples)), 0.99))
    table = np.concatenate(rows).astype(np.float16)
    table.tofile(tmp_path / "posteriors.f16")
    np.zeros((len(table), 512), np.float16).tofile(tmp_path / "features.f16")
    for _ in range(2):  # The second time starts from the free posteriors again.
        result = constrain.constrain(tmp_path)
        assert result["refused"] == 1 and result["wer"] == {"corpus": 0.0} and result["free_wer"]["corpus"] > 40
        made = np.fromfile(tmp_path / "posteriors.f16", np.float16).reshape(table.shape)
        assert np.array_equal(np.fromfile(tmp_path / "posteriors-free.f16", np.float16).reshape(table.shape), table)
    np.testing.assert_allclose(made.astype(np.float32).sum(-1), 1, atol=2e-3)
    texts = [labels.decode_greedy(part.argmax(-1)) for part in np.split(made, 3)]
    assert texts == ["a large mocha", "soy milk", "cappuccino"]  # The transcript that does not fit is refused.
    frame_of_j = 4 * len(labels.encode("a lar")) + 2
    assert made[:, labels.encode("g")[0]].argmax() in (frame_of_j, frame_of_j + 1)


def test_a_transcript_that_repeats_itself_is_cut_where_the_speech_ends(recipe: Recipe) -> None:
    best_beginning = recipe("teacher.constrain").best_beginning
    posteriors = posteriors_of(recipe, "i can't swim", 60)
    text, loss = best_beginning(posteriors, "i can't swim i can't")
    assert text == "i can't swim" and loss < 1
    assert best_beginning(posteriors, "have you seen him")[1] > 2
    assert best_beginning(posteriors[:4], "far too long for it") == ("", float("inf"))
