"""A clip's text never depends on its neighbours in a batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from wav2edge.devices.open import open_model
from wav2edge.runtime.audio import read
from wav2edge.runtime.heads import ctc
from wav2edge.runtime.recordings.batch import transcribe_all
from wav2edge.runtime.recordings.transcriber import Transcriber


@pytest.mark.parametrize("kind", ["layer_bundle", "group_bundle"])
def test_a_clips_text_never_depends_on_its_neighbours(
    kind: str, request: pytest.FixtureRequest, clips: list[tuple[Path, str]]
) -> None:
    """Group-norm models change with padding in transformers itself; here the statistics are masked by length."""
    samples = [read.load(path) for path, _ in clips[:3]]
    loud, silence = (samples[0][:9000] * 20).clip(-1, 1), np.zeros(64000, np.float32)
    with Transcriber(open_model(request.getfixturevalue(kind), "onnxruntime")) as transcriber:
        for clip in (samples[1], samples[1][:400], silence):
            (alone,) = transcriber.logits([clip])
            text = [word.text for word in ctc.greedy(alone, transcriber.spec)]
            for neighbours in ([samples[0]], [loud, samples[2]], [silence, clip], [samples[2][:400]]):
                for place in range(len(neighbours) + 1):
                    batch = [*neighbours[:place], clip, *neighbours[place:]]
                    found = transcriber.logits(batch)[place]
                    assert found.shape == alone.shape
                    np.testing.assert_allclose(found, alone, rtol=0, atol=1e-3 * max(1.0, float(np.abs(alone).max())))
                    assert [word.text for word in ctc.greedy(found, transcriber.spec)] == text


def test_whole_files_in_batches_read_as_alone(request: pytest.FixtureRequest, clips: list[tuple[Path, str]]) -> None:
    with Transcriber(open_model(request.getfixturevalue("layer_bundle"), "onnxruntime")) as transcriber:
        paths = [path for path, _ in clips]
        alone = [transcriber(path).text for path in paths]
        for batch in (1, 4):
            found = [result.transcript for result in transcribe_all(transcriber, paths, batch=batch)]
            assert [one.text if one else None for one in found] == alone
