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


def test_a_piece_has_the_words_and_the_samples_of_its_place(recipe: Recipe, tmp_path: Path) -> None:
    frames, labels = recipe("frames"), recipe("labels")
    text = "one small latte and then another small one"
    store = recipe("speech.clips").ClipStore(tmp_path)
    samples = np.arange(frames.RECEPTIVE + frames.HOP * 199) / 1e5
    store.append(samples, text, "", "corpus")
    posteriors_of(recipe, text, 200).astype(np.float16).tofile(tmp_path / "posteriors.f16")
    dataset = recipe("speech.dataset").Dataset([tmp_path])
    [clip] = dataset.clips()
    pieces, random, found = recipe("speech.pieces").Pieces(dataset, 1.5), np.random.default_rng(0), set()
    for _ in range(60):
        piece = pieces.draw(clip, random)
        assert labels.decode_greedy(np.asarray(dataset.posterior_rows(piece)).argmax(-1)) == piece.text
        assert labels.encode(piece.text) == list(piece.labels) and piece.samples <= 1.5 * frames.RATE + frames.RECEPTIVE
        assert frames.count_frames(piece.samples) == piece.frames
        first = (piece.start - clip.start) // frames.HOP
        np.testing.assert_allclose(dataset.samples(piece)[0], dataset.samples(clip)[first * frames.HOP])
        found.add(piece.text)
    assert len(found) > 3 and all(f" {words} " in f" {text} " for words in found)
    assert recipe("speech.pieces").Pieces(dataset, 5.0).draw(clip, random) is clip


def test_doubled_letters_have_frames_of_their_own(recipe: Recipe) -> None:
    labels, pieces = recipe("labels"), recipe("speech.pieces")
    wanted = tuple(labels.encode("all see"))
    rows = posteriors_of(recipe, "all see", 40)
    begins, ends = pieces.label_frames(rows, wanted)
    assert begins.tolist() == [4 * i + 2 for i in range(7)] and (ends - begins).tolist() == [2] * 7
    assert pieces.word_gaps(rows, wanted) == [(12, 18, 3)]
    assert pieces.label_frames(rows[:8], wanted) is None and pieces.word_gaps(rows[:8], wanted) == []
