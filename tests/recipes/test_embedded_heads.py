"""The keyword classifier and the speaker embedding: their examples, thresholds and trials."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

CHECKPOINT = Path(__file__).parents[2] / "recipes/embedded/checkpoint"
Recipe = Callable[[str], ModuleType]


def tone(pitch: float, seconds: float = 1.0) -> np.ndarray:
    """A tone with its harmonics up to 8 kHz: one that loses a band of frequency in training is known by the others."""
    sound = 0.01 * np.random.default_rng(0).standard_normal(int(16000 * seconds))
    phase = 2 * np.pi * pitch * np.arange(int(16000 * seconds)) / 16000
    for harmonic in range(1, int(8000 / pitch) + 1):
        sound += 0.3 * np.sin(harmonic * phase) / harmonic
    return sound.astype(np.float32)


def test_windows_slide_over_a_recording(recipe: Recipe) -> None:
    sliding = recipe("heads.windows").sliding
    starts = [int(window[0]) for window in sliding(np.arange(16000 * 3), 2.0, 0.5)]
    assert starts == [0, 8000, 16000]
    assert [len(window) for window in sliding(np.zeros(8000), 2.0, 0.5)] == [8000]


def test_an_alarm_is_counted_once_until_its_probability_falls(recipe: Recipe) -> None:
    count = recipe("heads.keywords").count_events
    assert count(np.array([[0.9], [0.95], [0.7], [0.9], [0.2], [0.9]]), 0.8) == 2
    assert count(np.array([[0.9, 0.1], [0.1, 0.9]]), 0.8) == 2


def test_the_threshold_allows_one_false_alarm_an_hour(recipe: Recipe) -> None:
    keywords = recipe("heads.keywords")
    alarms = [np.array([[value], [0.0]]) for value in (0.9, 0.8, 0.7, 0.1)]
    for hours, allowed in ((2.25, 2), (0.9, 0)):
        threshold = keywords.choose_threshold(alarms, hours)
        assert sum(keywords.count_events(windows, threshold) for windows in alarms) == allowed


def test_a_threshold_is_raised_while_no_phrase_is_lost(recipe: Recipe) -> None:
    raised = recipe("heads.keywords").raised
    assert raised(0.9, np.array([0.9999, 0.9992, 0.2])) == 0.999
    assert raised(0.9, np.array([0.95, 0.9992])) == 0.9
    assert raised(0.9, np.array([0.9999, 0.9998])) == 0.9995


def spoken(seconds: float) -> np.ndarray:
    """A tone between two pauses."""
    pause = 1e-4 * np.random.default_rng(1).standard_normal(16000)
    return np.concatenate([pause, tone(300, seconds), pause]).astype(np.float32)


def test_the_phrase_of_a_clip_is_found(recipe: Recipe) -> None:
    start, end = recipe("heads.scenes").phrase_bounds(spoken(0.6))
    assert abs(start - 16000) <= 640 and abs(end - 25600) <= 640


def test_scenes_are_of_one_length_and_hold_the_phrase(recipe: Recipe) -> None:
    scenes = recipe("heads.scenes")
    made = scenes.Scenes([spoken(0.5)], [3], [tone(2500, 4.0)], np.random.default_rng(0))
    windows, labels = made.draw(60)
    assert len({len(window) for window in windows}) == 1 and set(labels) == {0, 3}
    assert 0.3 < np.mean(np.array(labels) == 3) < 0.7
    for window, label in zip(windows, labels):
        spectrum = np.abs(np.fft.rfft(window)) ** 2
        low = spectrum[int(200 / 8000 * len(spectrum)) : int(400 / 8000 * len(spectrum))].sum()
        assert label == 0 or low > 0.02 * spectrum.sum()


def test_no_utterance_that_the_encoder_or_a_head_learnt_is_tested(recipe: Recipe, tmp_path: Path) -> None:
    manifest = recipe("speech.manifest")
    lines = [
        {"path": f"{n}.wav", "text": "a", "speaker": f"s{n // 4}", "corpus": "c", "seconds": 2} for n in range(400)
    ]
    lines += [{"path": f"e{n}.wav", "text": "a", "speaker": "e", "corpus": "d", "split": "eval"} for n in range(4)]
    (tmp_path / "m.jsonl").write_text("\n".join(json.dumps(line) for line in lines), "utf-8")
    rows = manifest.read_manifest(tmp_path / "m.jsonl")
    known, dev, test = recipe("heads.speaker").speaker_splits(rows)
    speakers = [set(known), {row.speaker for row in dev}, {row.speaker for row in test}]
    assert all(speakers) and "e" in speakers[2]
    assert not (speakers[0] & speakers[1] or speakers[0] & speakers[2] or speakers[1] & speakers[2])
    assert {manifest.split_of(row) for row in test} == {"dev", "eval"}


def test_phrases_without_other_speech_are_chosen(recipe: Recipe, tmp_path: Path) -> None:
    """It ended in an error about a slice step of zero."""
    lines = [{"path": f"{n}.wav", "text": "hey", "corpus": "wake-words"} for n in range(40)]
    (tmp_path / "m.jsonl").write_text("\n".join(json.dumps(line) for line in lines), "utf-8")
    rows = recipe("speech.manifest").read_manifest(tmp_path / "m.jsonl")
    found = recipe("heads.bundle").chosen(rows, "keyword", "train")
    assert found == recipe("heads.splits").rows_for(rows, "train") and 20 < len(found) < 40


@pytest.mark.slow
def test_a_classifier_learns_two_phrases(recipe: Recipe, tmp_path: Path) -> None:
    keywords, windows = recipe("heads.keywords"), recipe("heads.windows")
    soundfile.write(tmp_path / "other.wav", tone(2500, 4.0), 16000)
    examples = keywords.Examples([tone(300), tone(900)], [1, 2], [tmp_path / "other.wav"])
    changes = {"num_labels": 3, "classifier_proj_size": 16, "use_weighted_layer_sum": True}
    model = windows.start_model(keywords.Wav2Vec2ForSequenceClassification, CHECKPOINT, changes, 6)
    keywords.train(model, examples, 120, 2e-3, 1, batch=6)
    result = keywords.measure(model, examples, 0.5)
    assert result["accuracy"] == 1.0 and result["clips"] == 2 and result["hours"] == pytest.approx(4 / 3600)
    assert not any(p.requires_grad for p in model.wav2vec2.feature_extractor.parameters())
    assert [any(p.requires_grad for p in layer.parameters()) for layer in model.wav2vec2.encoder.layers] == [
        *[False] * 6,
        *[True] * (len(model.wav2vec2.encoder.layers) - 6),
    ]


def test_equal_error_rate(recipe: Recipe) -> None:
    rate = recipe("heads.speaker").equal_error_rate
    assert rate(np.array([0.9, 0.8]), np.array([0.1, 0.2])) == 0
    assert rate(np.array([0.9, 0.1]), np.array([0.8, 0.2])) == pytest.approx(0.5)


def test_trials_are_given_by_corpus_and_across_genders(recipe: Recipe) -> None:
    found = np.repeat(np.eye(4), 2, axis=0)
    speakers, corpora = np.repeat(list("abcd"), 2), np.repeat(["x", "x", "y", "y"], 2)
    rates = recipe("heads.speaker").trial_rates(found, speakers, corpora, np.repeat(["m", "f", "m", ""], 2))
    assert [rates[kind]["eer"] for kind in ("all", "same_corpus", "cross_gender")] == [0.0, 0.0, 0.0]
    assert [rates[kind]["different_pairs"] for kind in ("all", "same_corpus", "cross_gender")] == [24, 8, 8]


def test_an_embedding_model_trains(recipe: Recipe) -> None:
    speaker, windows = recipe("heads.speaker"), recipe("heads.windows")
    changes: dict[str, object] = {"num_hidden_layers": 1, "use_weighted_layer_sum": True, "xvector_output_dim": 6}
    changes |= {"tdnn_dim": [160], "tdnn_kernel": [1], "tdnn_dilation": [1]}
    model = windows.start_model(speaker.Wav2Vec2ForXVector, CHECKPOINT, changes)
    speaker.train(model, [[tone(300, 4.0)], [tone(900, 4.0)]], 1)
    found = speaker.embeddings(model, [tone(300), tone(900), tone(310), tone(910)])
    assert found.shape == (4, 6) and np.allclose((found**2).sum(1), 1, atol=1e-5)
    alike = found @ found.T
    assert alike[0, 2] > alike[0, 3] and alike[1, 3] > alike[1, 2]
