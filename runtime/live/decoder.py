"""The live decoder: samples go in, windows to run come out, outputs go in, events come out.

It contains no sound card, no engine and no clock: the same samples give the same events at any speed, and a server can
run the windows of many streams as one batch.

The final pass over a whole utterance runs ahead, during the endpoint's silence: where an utterance ends depends on its
last voice alone, so its samples are known by then. If speech continues after all, that pass is discarded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..audio.arrays import checked_samples
from ..bundle.spec import ModelSpec
from ..engines import Arrays, checked, outputs_of
from ..errors import InputError
from ..heads import ctc
from ..recordings import chunking
from ..recordings.decoding import Decoding
from ..recordings.segmentation import Segmentation
from ..text.transcript import Transcript, Word
from .agreement import revised
from .documents import EndReason
from .events import Event, Final, Partial, Silence
from .segmenter import Ended, UtteranceSegmenter
from .settings import LiveSettings
from .utterance import Utterance
from .vad import VoiceActivityModel
from .window import Window

Finish = Callable[[NDArray[np.float32], NDArray[np.float32]], Transcript]
"""From a whole utterance's samples [samples] and their logits [frames, labels] to its transcript."""


class LiveDecoder:
    """The captions of one stream; see ``push``, ``window`` and ``accept``."""

    def __init__(
        self,
        spec: ModelSpec,
        vad: VoiceActivityModel,
        settings: LiveSettings | None = None,
        finish: Finish | None = None,
        segmentation: Segmentation | None = None,
    ) -> None:
        """Prepare for a stream of a model with a CTC head at 16 kHz; raises InputError for another model.

        vad: gives the probability of speech (silero.Silero). finish: how a whole utterance's logits become text
        (None: as a Transcriber with its defaults does it). segmentation: how long a pause inside a word may be.
        """
        if spec.head != "ctc":
            raise InputError(f"live captions need a model that transcribes; this one's head is {spec.head}")
        if spec.sample_rate != 16000:
            raise InputError(f"live captions work at 16000 Hz; this model needs {spec.sample_rate} Hz")
        self.spec = spec
        self.settings = settings or LiveSettings()
        self.vad = vad
        segmentation = segmentation or Segmentation()
        self._greedy = greedy = ctc.Greedy(segmentation.word_gap)
        self.finish: Finish = finish or (
            lambda samples, logits: decode(Decoding(spec, greedy, segmentation), samples, logits)
        )
        self._utterances = UtteranceSegmenter(spec, vad, self.settings, self._add_ended)
        self._silence_due = False  # speech was decoded, and no Silence was sent since
        self._ended: deque[Ended] = deque()
        self._ready: list[Event] = []

    @property
    def received(self) -> int:
        """The absolute index after the last sample pushed."""
        return self._utterances.received

    @property
    def capacity(self) -> int:
        """How many samples its buffer has room for; bounded by the longest utterance."""
        return self._utterances.buffer.capacity

    @property
    def held(self) -> int:
        """How many samples its buffer holds."""
        return self._utterances.buffer.end - self._utterances.buffer.start

    @property
    def utterance(self) -> Utterance | None:
        """The utterance that is running; None between two."""
        return self._utterances.running

    @property
    def pending(self) -> int:
        """How many utterances are over without a Final yet."""
        return len(self._ended)

    def push(self, samples: NDArray[np.float32], start: int) -> list[Event]:
        """Take mono float32 [samples] in [-1, 1] whose first has the absolute 16 kHz index ``start``.

        A jump forward is a gap: it ends the utterance. Samples pushed before are ignored. Returns the events of
        utterances that are over now and were decoded ahead. Raises AudioError for NaN, and for values far outside
        [-1, 1].
        """
        self._utterances.push(checked_samples(samples, "the stream"), start)
        return self._take_ready()

    def voice_windows(self, samples: NDArray[np.float32], start: int) -> list[NDArray[np.float32]]:
        """The windows about which a ``push`` will ask ``vad``, where that is known: for a model that runs ahead."""
        return self._utterances.voice_windows(samples, start)

    def close(self, reason: EndReason = "end") -> list[Event]:
        """End the running utterance now (the source was lost, or the stream is over); returns what ``push`` does."""
        self._utterances.close(reason)
        return self._take_ready()

    def window(self, finals_only: bool = False, behind: bool = False) -> Window | None:
        """The next window to run, or None.

        finals_only: skip partials, so that finals come in time. behind: give partials less context.
        """
        due = self.due(finals_only)
        if due is None:
            return None
        for ended in self._ended:
            if ended.final.window is None and ended.final.transcript is None:
                return ended.final.issue(ended.utterance.number)
        utterance = self.utterance
        assert utterance is not None
        if due == "partial" and (end := utterance.due(self.received)) is not None:
            return utterance.issue(self._utterances.buffer, end, behind)
        utterance.final = self._utterances.final_pass(utterance, utterance.natural_end)
        return utterance.final.issue(utterance.number)

    def due(self, finals_only: bool = False) -> Literal["partial", "final", "ahead"] | None:
        """What the next ``window`` would be for, without issuing it; the features of a partial count as partial.

        ``ahead``: a final pass over an utterance that may not be over.
        """
        if any(ended.final.window is None for ended in self._ended):
            return "final"
        utterance = self.utterance
        if finals_only or utterance is None:
            return None
        if utterance.window is None and utterance.due(self.received) is not None:
            return "partial"
        return "ahead" if utterance.final is None and utterance.may_end(self.received) else None

    def accept(self, window: Window, outputs: Arrays) -> list[Event]:
        """Take the outputs of a window's stage; returns the events that follow.

        Raises BundleError where they do not fit the labels, EngineError for NaN.
        """
        if window.purpose == "final":
            return self._accept_final(window, outputs)
        utterance = self.utterance
        if utterance is None or window is not utterance.window:
            return []  # its utterance ended while the window ran
        utterance.window = None
        if window.purpose == "features":
            utterance.keep(window, outputs)
            return []
        return self._accept_partial(utterance, window, self._logits(outputs))

    def _take_ready(self) -> list[Event]:
        ready, self._ready = self._ready, []
        return ready

    def _seconds(self, samples: int) -> float:
        return samples / self.spec.sample_rate

    def _logits(self, outputs: Arrays) -> NDArray[np.float32]:
        [clip] = outputs_of(self.spec, outputs)
        return checked(np.asarray(clip[self.spec.outputs[0].name], dtype=np.float32))

    def _shifted(self, word: Word, start: int) -> Word:
        """A word with times in the stream; start: the absolute sample of the logits' first frame."""
        offset = self._seconds(start)
        return replace(word, start=round(word.start + offset, 3), end=round(word.end + offset, 3))

    def _accept_partial(self, utterance: Utterance, window: Window, logits: NDArray[np.float32]) -> list[Event]:
        words = [self._shifted(word, window.start) for word in self._greedy(logits, self.spec)]
        end = self._seconds(window.end)
        cut_edge = window.start > utterance.start
        trusted = self._seconds(window.start) + self.settings.edge if cut_edge else float("-inf")
        agreement = utterance.agreement
        agreement.update(words, trusted, end, utterance.hops(window.end))
        utterance.advance(window.end)
        if words:
            utterance.last_label = max(utterance.last_label, round(words[-1].end * self.spec.sample_rate))
        confident = agreement.confident(self.settings.min_confidence)
        tentative = [word for word in confident if word.end <= end - self.settings.hold]
        if not tentative and not agreement.stable:
            tentative = agreement.shown.words[:1]
        shown = (ctc.joined(agreement.stable, self.spec), ctc.joined(tentative, self.spec))
        if shown == utterance.shown:
            return []
        utterance.shown = shown
        utterance.announced = True
        return [Partial(utterance.number, self._seconds(utterance.start), end, *shown, ctc.gap(self.spec))]

    def _accept_final(self, window: Window, outputs: Arrays) -> list[Event]:
        passes = [ended.final for ended in self._ended]
        if self.utterance is not None and self.utterance.final is not None:
            passes.append(self.utterance.final)
        final = next((item for item in passes if item.window is window), None)
        if final is None:
            return []  # speech continued while it ran
        final.transcript = self.finish(final.samples, self._logits(outputs))
        self._finish_decoded()
        return self._take_ready()

    def _add_ended(self, ended: Ended) -> None:
        self._ended.append(ended)
        self._finish_decoded()

    def _finish_decoded(self) -> None:
        """Make the Finals of the utterances that are over and decoded, in order."""
        while self._ended and (transcript := self._ended[0].final.transcript) is not None:
            self._finish(self._ended.popleft(), transcript)

    def _finish(self, ended: Ended, transcript: Transcript) -> None:
        utterance, final = ended.utterance, ended.final
        words = tuple(self._shifted(word, final.start) for word in transcript.words)
        if words or utterance.announced:
            changed = revised(utterance.agreement.stable, words)
            start, end = self._seconds(final.start), self._seconds(final.end)
            self._ready.append(Final(utterance.number, start, end, transcript.text, words, changed, ended.reason))
            self._silence_due = ended.reason in ("silence", "blank", "length")
        else:
            self._utterances.release(utterance.number)
        if self._silence_due and ended.quiet is not None and self.utterance is None:
            self._silence_due = False
            self._ready.append(Silence(self._seconds(ended.quiet)))


def decode(decoding: Decoding, samples: NDArray[np.float32], logits: NDArray[np.float32]) -> Transcript:
    """The transcript of a whole utterance, run in one window, decoded as every recording is."""
    decoding.push(chunking.Chunk(samples, 0, None), logits)
    return decoding.transcript()
