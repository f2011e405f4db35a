"""Live labels on a classifier whose sound is its label: once for each phrase, as soon as it is confirmed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

import wav2edge
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.spec import INPUT_LENGTHS, INPUT_VALUES, ModelSpec, Output
from wav2edge.runtime.engines import Arrays
from wav2edge.runtime.errors import BundleError, InputError
from wav2edge.runtime.heads.sequence_classification import Options
from wav2edge.runtime.live.events import Event, Label, SourceLost, Stats
from wav2edge.runtime.live.labels import LabelDecoder, LabelSettings, LiveClassifier
from wav2edge.runtime.model import Model

if TYPE_CHECKING:
    from tests.runtime.live.conftest import Booth

LABELS = ("other", "hey mirror", "lights off")


def classifier_spec(booth: Booth, multi_label: bool = False) -> ModelSpec:
    return replace(
        booth.spec(),
        head="sequence_classification",
        outputs=(Output("logits", ("batch", "labels"), "unnormalised score of each label"),),
        labels=LABELS,
        blank=None,
        delimiter=None,
        head_options=Options(multi_label),
    )


def phrase(label: str, seconds: float = 0.8, certainty: float = 1.0) -> NDArray[np.float32]:
    """Sound that is a label, by its level."""
    return np.full(round(seconds * 16000), certainty * (0.2 + 0.2 * LABELS.index(label)), np.float32)


@dataclass
class Classifier:
    """Scores each label by the samples of a window that are it; a session of the whole graph."""

    inputs: tuple[str, ...] = (INPUT_VALUES, INPUT_LENGTHS)
    outputs: tuple[str, ...] = ("logits",)
    lengths: list[int] = field(default_factory=list)

    def run(self, feeds: Arrays) -> Arrays:
        samples = feeds[INPUT_VALUES][0]
        self.lengths.append(len(samples))
        levels = np.rint((samples - 0.2) / 0.2).astype(int)
        counts = np.array([np.count_nonzero((levels == i) & (samples > 0.1)) for i in range(len(LABELS))])
        logits = 20 * counts / 8000 - 10.0
        logits[0] = 0.0
        return {"logits": logits[None].astype(np.float32)}

    def close(self) -> None: ...


def played(decoder: LabelDecoder, model: Classifier, sound: NDArray[np.float32], piece: int = 800) -> list[Event]:
    events: list[Event] = []
    for at in range(0, len(sound), piece):
        events += decoder.push(sound[at : at + piece], at)
        while (window := decoder.window()) is not None:
            events += decoder.accept(window, model.run(window.feeds))
    return events


@pytest.mark.parametrize("piece", [160, 800, 16000, 1_000_000])
def test_a_phrase_is_one_event_whatever_the_pieces(booth: Booth, piece: int) -> None:
    sound = np.concatenate(
        (booth.quiet(3.0), phrase("hey mirror"), booth.quiet(4.0), phrase("lights off"), booth.quiet(0.4))
    )
    sound = np.concatenate((sound, phrase("other", 3.0), booth.quiet(5.0), phrase("hey mirror"), booth.quiet(3.0)))
    model = Classifier()
    events = played(LabelDecoder(classifier_spec(booth), booth.vad()), model, sound, piece)
    labels = [event for event in events if isinstance(event, Label)]
    assert [event.label for event in labels] == ["hey mirror", "lights off", "hey mirror"]
    for event, begins in zip(labels, (3.0, 7.8, 16.2)):
        assert event.start <= begins + 0.8 and begins <= event.end <= begins + 1.5
        assert event.end - event.start == pytest.approx(2.0) and event.score > 0.8
    assert len(model.lengths) < 0.75 * len(sound) / 8000, "silence is not run"
    assert max(model.lengths) == 32000


def test_more_windows_confirm_and_hysteresis_gives_one_event_through_a_dip(booth: Booth) -> None:
    spec = classifier_spec(booth)
    sound = np.concatenate((booth.quiet(2.0), phrase("hey mirror"), booth.quiet(3.0)))
    [event] = played(LabelDecoder(spec, booth.vad(), LabelSettings(confirm=3)), Classifier(), sound)
    assert isinstance(event, Label) and event.end - event.start == pytest.approx(1.0), "what all three share"
    assert played(LabelDecoder(spec, booth.vad(), LabelSettings(confirm=9)), Classifier(), sound) == []

    class Wavering(Classifier):
        def run(self, feeds: Arrays) -> Arrays:
            super().run(feeds)
            probability = (0.9, 0.6, 0.95, 0.9, 0.3, 0.9)[min(len(self.lengths), 6) - 1]
            return {"logits": np.log(np.array([[1 - probability, probability, 1e-9]], np.float32))}

    for hysteresis, expected in ((0.3, 2), (0.1, 3), (0.6, 1)):
        decoder = LabelDecoder(spec, booth.vad(), LabelSettings(hysteresis=hysteresis))
        assert len(played(decoder, Wavering(), phrase("other", 3.2))) == expected


def test_several_labels_may_hold_at_once(booth: Booth) -> None:
    class Both(Classifier):
        def run(self, feeds: Arrays) -> Arrays:
            return {"logits": np.array([[-5.0, 5.0, 5.0]], np.float32)}

    events = played(LabelDecoder(classifier_spec(booth, True), booth.vad()), Both(), phrase("other", 2.0))
    assert {event.label for event in events if isinstance(event, Label)} == {"hey mirror", "lights off"}


def test_scores_that_do_not_fit_the_labels_are_refused(booth: Booth) -> None:
    """A label's probability was that of a softmax over labels that the model does not name."""
    spec = replace(classifier_spec(booth), labels=LABELS[:2])
    with pytest.raises(BundleError, match="gives 3 scores for 2 labels"):
        played(LabelDecoder(spec, booth.vad()), Classifier(), phrase("hey mirror", 3.0))


def test_late_windows_are_skipped_but_for_the_newest(booth: Booth) -> None:
    decoder, model = LabelDecoder(classifier_spec(booth), booth.vad()), Classifier()
    decoder.push(phrase("other", 10.0), 0)
    window = decoder.window(finals_only=True)
    assert window is not None and window.end >= 9.4 * 16000
    decoder.accept(window, model.run(window.feeds))
    assert decoder.window(finals_only=True) is None


def test_a_live_classifier_runs_over_sources_and_pushed_samples(booth: Booth, shapes_bundle: Bundle) -> None:
    bundle = replace(shapes_bundle, spec=classifier_spec(booth))
    model = Model(bundle, "fake", "fp32", sessions={"full": Classifier()})
    live = LiveClassifier(model, vad=booth.vad)
    sound = np.concatenate((booth.quiet(1.0), phrase("lights off"), booth.quiet(2.0)))
    lost = SourceLost(len(sound) / 16000, "unplugged", "gone")
    events = list(live.session(booth.played([*booth.in_blocks(sound), lost])))
    assert [event.label for event in events if isinstance(event, Label)] == ["lights off"]
    assert lost in events and isinstance(events[-1], (Stats, SourceLost))
    pushed = live.push(sound) + live.finish()
    assert [event.label for event in pushed if isinstance(event, Label)] == ["lights off"]
    with pytest.raises(InputError, match="classifies clips"):
        LiveClassifier(Model(shapes_bundle, "null", "fp32"), vad=booth.vad)
    with pytest.raises(InputError, match="give LabelSettings"):
        wav2edge.listen(model, booth.played([]), wav2edge.LiveSettings())
    with pytest.raises(InputError, match="give LiveSettings"):
        wav2edge.listen(Model(shapes_bundle, "null", "fp32"), booth.played([]), LabelSettings())
    with wav2edge.LiveClassifier(model) as captions:
        assert captions.finish() == []
    with pytest.raises(InputError, match="threshold"):
        LabelSettings(threshold=2.0)


@pytest.mark.parametrize("seconds", [0.45, 0.8, 0.95, 1.45])
def test_what_ends_with_the_stream_is_classified(booth: Booth, shapes_bundle: Bundle, seconds: float) -> None:
    """Only whole hops were: a keyword in the last half second of a recording was lost."""
    bundle = replace(shapes_bundle, spec=classifier_spec(booth))
    live = LiveClassifier(Model(bundle, "fake", "fp32", sessions={"full": Classifier()}), vad=booth.vad)
    sound = np.concatenate((booth.quiet(seconds), phrase("lights off", 0.47)))
    for _ in range(2):  # the stream goes on after it, and a label may come again
        events = live.push(sound) + live.finish()
        assert [event.label for event in events if isinstance(event, Label)] == ["lights off"]
    assert not [event for event in live.push(booth.quiet(seconds)) + live.finish() if isinstance(event, Label)]
