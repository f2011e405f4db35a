"""The report of a live run: clips kept apart, corpora together, and a document that is what its type says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from wav2edge.devices.open import open_model
from wav2edge.measure import live_report
from wav2edge.measure.live_quality import TimedEvent
from wav2edge.measure.live_report import LiveDocument, Percentiles
from wav2edge.measure.live_trial import Clip, Playback, SessionLog, play_files
from wav2edge.measure.manifest import Row
from wav2edge.runtime import documents
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.live.events import Final, Partial
from wav2edge.runtime.live.transcriber import LiveTranscriber
from wav2edge.runtime.text.transcript import Transcript, Word

pytest.importorskip("jiwer", reason="word error rates need the extra [eval]")


def clip(text: str, batch: str, start: float, corpus: str) -> Clip:
    words = tuple(Word(word, 0.5 + 0.4 * i, 0.8 + 0.4 * i, 0.9) for i, word in enumerate(batch.split()))
    return Clip(Row(Path("x.wav"), text, corpus, "m:1"), round(start * 16000), 32000, Transcript(batch, 2.0, words))


def final(number: int, text: str, start: float) -> Final:
    words = tuple(Word(word, start + 0.5 + 0.4 * i, start + 0.8 + 0.4 * i, 0.9) for i, word in enumerate(text.split()))
    return Final(number, start, start + 2.0, text, words)


def test_each_clip_is_scored_with_the_finals_that_began_in_it() -> None:
    clips = (clip("turn it off", "turn it off", 0.0, "commands"), clip("good day", "good bay", 10.0, "read aloud"))
    events = (
        TimedEvent(Partial(1, 0.0, 1.0, "", "turn"), 1.0),
        TimedEvent(final(1, "turn it", 0.0), 3.0),
        TimedEvent(final(2, "of", 2.0), 4.5),
        TimedEvent(Partial(3, 9.3, 11.0, "", "good"), 11.1),
        TimedEvent(final(3, "good day", 9.3), 13.0),  # its pre-roll reaches back before the clip
    )
    played = Playback(clips, SessionLog(events, 20.0, 1.0, (0.1,), np.zeros(0, np.int16)))
    found = live_report.figures(played)
    assert list(found) == ["commands", "read aloud", "all"]
    assert found["commands"].wer_finals.errors == 1 and found["commands"].utterances == 2
    assert (found["read aloud"].wer_finals.errors, found["read aloud"].wer_batch.errors) == (0, 1)
    assert found["commands"].first_text == Percentiles(0.5, 0.5)
    assert found["all"].words == 5 and found["all"].clips == 2
    assert found["all"].wer_rise.value == 0


def test_the_report_is_the_document_that_its_type_says(shapes_bundle: Bundle, clips: list[tuple[Path, str]]) -> None:
    with LiveTranscriber(open_model(shapes_bundle, "null")) as live:
        played = play_files(live, [Row(clips[0][0], clips[0][1], "commands", "m:1")], fast=True)
        found = live_report.report(live, played)
    values = json.loads(json.dumps(found.to_json(), allow_nan=False))
    documents.check(values, LiveDocument, "the report")
    assert values["corpora"]["commands"]["emission"] == {"p50": None, "p95": None}
    assert values["corpora"]["commands"]["wer_finals"]["value"] == 1.0
    assert found.seconds > 3 and (found.equal, found.finals) == (0, 0)
