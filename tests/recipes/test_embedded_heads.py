"""The keyword classifier and the speaker embedding: their examples, thresholds and trials."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

CHECKPOINT = Path(__file__).parents[2] / "recipes/embedded/checkpoint"
Recipe = Callable[[str], ModuleType]


def tone(pitch: float, seconds: float = 1.0) -> np.ndarray:
    noise = 0.01 * np.random.default_rng(0).standard_normal(int(16000 * seconds))
    return (0.3 * np.sin(2 * np.pi * pitch * np.arange(int(16000 * seconds)) / 16000) + noise).astype(np.float32)


def test_windows_slide_over_a_recording(recipe: Recipe) -> None:
    sliding = recipe("heads.windows").sliding
    starts = [int(window[0]) for window in sliding(np.arange(16000 * 3), 2.0, 0.5)]
    assert starts == [0, 8000, 16000]
    assert [len(window) for window in sliding(np.zeros(8000), 2.0, 0.5)] == [8000]


def test_the_threshold_allows_one_false_alarm_an_hour(recipe: Recipe) -> None:
    choose = recipe("heads.keywords").choose_threshold
    alarms = np.array([0.9, 0.8, 0.7, 0.1])
    assert (alarms > choose(alarms, 2.5)).sum() == 2
    assert (alarms > choose(alarms, 0.5)).sum() == 0


def test_a_classifier_learns_two_phrases(recipe: Recipe, tmp_path: Path) -> None:
    keywords, windows = recipe("heads.keywords"), recipe("heads.windows")
    examples = keywords.Examples([tone(300), tone(900)], [1, 2], [tone(2500, 3.0)])
    changes = {"num_labels": 3, "classifier_proj_size": 16, "use_weighted_layer_sum": True}
    model = windows.start_model(keywords.Wav2Vec2ForSequenceClassification, CHECKPOINT, changes)
    keywords.train(model, examples, 12, 3e-3, 1, batch=6)
    result = keywords.measure(model, examples, examples)
    assert result["test_accuracy"] == 1.0 and result["test_clips"] == 2
    assert not any(p.requires_grad for p in model.wav2vec2.feature_extractor.parameters())


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
    changes = {"tdnn_dim": [8, 8], "tdnn_kernel": [3, 1], "tdnn_dilation": [1, 1], "xvector_output_dim": 6}
    changes |= {"num_labels": 2, "use_weighted_layer_sum": True}
    model = windows.start_model(speaker.Wav2Vec2ForXVector, CHECKPOINT, changes)
    speaker.train(model, [[tone(300, 4.0)], [tone(900, 4.0)]], 2, 1e-3, 1, batch=4)
    found = speaker.embeddings(model, [tone(300), tone(900)])
    assert found.shape == (2, 6) and np.allclose((found**2).sum(1), 1, atol=1e-5)
