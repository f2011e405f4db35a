"""The live decoder: samples go in, windows to run come out, outputs go in, events come out.

It holds no sound card, no engine and no clock: the same samples give the same events at any speed, and a server can run
the windows of many streams as one batch.

The pass over a whole utterance that makes its Final runs ahead, while the endpoint's silence still lasts: where an
utterance ends follows from its last voice alone, so its samples are known by then. When somebody goes on after all,
that pass is forgotten.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bundle.spec import FEATURES, OUTPUT_LENGTHS, ModelSpec
from ..errors import InputError
from ..heads import ctc
from ..recordings import chunking
from ..recordings.segmentation import Segmentation
from ..recordings.transcriber import Decoding
from ..text.transcript import Transcript, Word
from .agreement import revised
from .endpoint import best_cut
from .events import Event, Final, Partial, Silence
from .stillness import Stillness
from .tape import Tape
from .utterance import LiveSettings, Utterance, WholePass, Window
from .vad import WINDOW, Detector, SpeechDetector, Turn

Finish = Callable[[NDArray[np.float32], NDArray[np.float32]], Transcript]
"""From a whole utterance's samples [samples] and their logits [frames, labels] to what ``transcribe`` says of them."""

_CUT_SEARCH = 8.0  # an endless utterance is cut at its best pause in its last seconds
_STILL = 0.1  # seconds of digital silence up to which an utterance may reach


@dataclass
class _Ended:
    utterance: Utterance
    whole: WholePass
    reason: str
    quiet: int | None


class LiveDecoder:
    """The captions of one stream; see ``push``, ``window`` and ``accept``."""

    def __init__(
        self,
        spec: ModelSpec,
        detector: Detector,
        settings: LiveSettings | None = None,
        finish: Finish | None = None,
    ) -> None:
        """Prepare for a stream of a model with a CTC head at 16 kHz; raises InputError for another.

        detector: gives the probability of speech (vad.Silero). finish: how a whole utterance's logits become text
        (None: as a Transcriber with its defaults does it).
        """
        if spec.head != "ctc":
            raise InputError(f"live captions need a model that transcribes; this one's head is {spec.head}")
        if spec.sample_rate != 16000:
            raise InputError(f"live captions work at 16000 Hz; this model wants {spec.sample_rate}")
        self.spec = spec
        self.settings = settings or LiveSettings()
        self.finish: Finish = finish or (
            lambda s, logits: decode(Decoding(spec, ctc.greedy, Segmentation()), s, logits)
        )
        self.vad = SpeechDetector(detector, self.settings.vad)
        self._tape: Tape | None = None
        self._still = Stillness(self._samples(_STILL))
        self._floor = 0
        self._count = 0
        self._owed = False  # somebody spoke, and no Silence was told since
        self._open: Utterance | None = None
        self._ended: deque[_Ended] = deque()
        self._ready: list[Event] = []
        self._running: Window | None = None

    @property
    def heard(self) -> int:
        """The absolute index behind the last sample pushed."""
        return self._tape.end if self._tape is not None else 0

    @property
    def speaking(self) -> bool:
        """Whether an utterance runs."""
        return self._open is not None

    def push(self, samples: NDArray[np.float32], start: int) -> list[Event]:
        """Hear mono samples [samples] in [-1, 1] whose first has the absolute 16 kHz index ``start``.

        A jump forward is a gap: it ends the utterance. What was heard already is left out. Returns the events of
        utterances that are over now and were decoded ahead.
        """
        if self._tape is None:
            self._begin(start)
        elif start > self._tape.end:
            self._close("gap")
            self._begin(start)
        assert self._tape is not None
        samples = samples[max(0, self._tape.end - start) :]
        for at in range(0, len(samples), self.spec.sample_rate):
            piece = samples[at : at + self.spec.sample_rate]
            self._tape.append(piece)
            for turn in self.vad.push(piece):
                self._hear(turn)
        return self._take_ready()

    def close(self, reason: str = "end") -> list[Event]:
        """End the running utterance now (the source was lost, or the stream is over); returns what ``push`` does."""
        self._close(reason)
        return self._take_ready()

    def window(self, behind: bool = False) -> Window | None:
        """The next window to run, or None. ``behind``: skip partials, so that finals come in time."""
        for ended in self._ended:
            if ended.whole.window is None:
                return ended.whole.issue(ended.utterance.number)
        if behind or self._open is None or self._tape is None:
            return None
        if self._running is None and (end := self._open.due(self._tape.end)) is not None:
            self._running = self._open.window(self._tape, end)
            return self._running
        if self._open.whole is None and self._open.may_end(self._tape.end):
            self._open.whole = self._pass(self._open, self._open.natural_end)
            return self._open.whole.issue(self._open.number)
        return None

    def accept(self, window: Window, outputs: Mapping[str, NDArray[Any]]) -> list[Event]:
        """Take what the model's stage gave for a window; returns the events that follow from it."""
        if window.purpose == "final":
            return self._accept_final(window, outputs)
        if window is not self._running:
            return []  # its utterance ended while the window ran
        self._running = None
        utterance = self._open
        assert utterance is not None
        if window.purpose == "features":
            assert utterance.cache is not None
            features = np.asarray(outputs[FEATURES][0], dtype=np.float32)
            utterance.cache.add(features, (window.start - utterance.start) // self.spec.stride)
            return []
        return self._accept_partial(utterance, window, self._logits(outputs))

    def _take_ready(self) -> list[Event]:
        ready, self._ready = self._ready, []
        return ready

    def _close(self, reason: str) -> None:
        if self._open is not None and self._tape is not None:
            self._end(min(self._tape.end, self._open.natural_end), reason, quiet=None)

    def _begin(self, start: int) -> None:
        self._tape = Tape(start)
        self._floor = start
        self._still.reset()
        self.vad.reset(start)

    def _samples(self, seconds: float) -> int:
        return round(seconds * self.spec.sample_rate)

    def _seconds(self, samples: int) -> float:
        return samples / self.spec.sample_rate

    def _hear(self, turn: Turn) -> None:
        assert self._tape is not None
        self._still.hear(self._tape.read(turn.start, turn.end), turn.start)
        if self._open is None:
            first = turn.start if turn.onset is None else turn.onset
            begin = max(self._floor, first - self._samples(self.settings.pre_roll))
            self._tape.forget(begin)
            self._still.forget(begin)
            if turn.speaking:
                self._open = self._start(max(begin, self._still.last_end(first + WINDOW) or begin))
        utterance = self._open
        if utterance is None:
            return
        utterance.hear(turn)
        utterance.still_from = self._still.first_start(utterance.voice_end)
        reason = self.settings.endpoint.ended(
            silence=self._seconds(turn.end - utterance.voice_end),
            blank=self._seconds(utterance.decoded - utterance.last_label),
            length=self._seconds(turn.end - utterance.start),
            has_text=utterance.may_have_text,
        )
        if reason == "silence":
            self._end(min(turn.end, utterance.natural_end), reason, quiet=utterance.voice_end)
        elif reason == "blank":
            self._blank(utterance, turn)
        elif reason == "length":
            self._cut(utterance, turn)

    def _start(self, begin: int) -> Utterance:
        self._count += 1
        return Utterance(self._count, begin, self.spec, self.settings)

    def _end(self, end: int, reason: str, quiet: int | None) -> None:
        assert self._open is not None and self._tape is not None
        utterance, self._open, self._running = self._open, None, None
        self._floor = end
        whole = utterance.whole
        if whole is None or whole.end != end:
            whole = self._pass(utterance, end)
        if len(whole.samples) >= self.spec.min_samples:
            self._ended.append(_Ended(utterance, whole, reason, quiet))
            self._finish_decoded()

    def _pass(self, utterance: Utterance, end: int) -> WholePass:
        assert self._tape is not None
        return WholePass(self._tape.read(utterance.start, end), utterance.start, end)

    def _blank(self, utterance: Utterance, turn: Turn) -> None:
        """A voice with nothing decoded: end the utterance, or forget one that never gave text; listen on."""
        at = turn.end - self._samples(min(self.settings.pre_roll, self.settings.endpoint.silence_without_text / 2))
        if utterance.announced:
            self._end(at, "blank", quiet=None)
        else:
            self._count -= 1
        self._go_on(max(self._floor, at), turn)

    def _cut(self, utterance: Utterance, turn: Turn) -> None:
        """Too long: cut at the best pause; the words behind it belong to the next utterance."""
        assert self._tape is not None
        limit = self._seconds(turn.end)
        search = min(_CUT_SEARCH, self.settings.endpoint.longest_utterance / 2)
        at = self._samples(best_cut(utterance.agreement.words, limit - search, limit - self.settings.settle))
        behind = utterance.agreement.split(self._seconds(at))
        self._end(at, "length", quiet=None)
        self._go_on(at, turn).agreement.stable = behind

    def _go_on(self, begin: int, turn: Turn) -> Utterance:
        """Begin the next utterance while the voice goes on; a voice without a pause is not to fill the memory."""
        assert self._tape is not None
        self._open, self._running = self._start(begin), None
        self._open.voice_end = turn.end
        self._tape.forget(begin)
        self._still.forget(begin)
        return self._open

    def _logits(self, outputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        frames = int(outputs[OUTPUT_LENGTHS][0])
        return np.asarray(outputs[self.spec.outputs[0].name][0, :frames], dtype=np.float32)

    def _at(self, word: Word, start: int) -> Word:
        offset = self._seconds(start)
        return replace(word, start=round(word.start + offset, 3), end=round(word.end + offset, 3))

    def _accept_partial(self, utterance: Utterance, window: Window, logits: NDArray[np.float32]) -> list[Event]:
        words = [self._at(word, window.start) for word in ctc.greedy(logits, self.spec)]
        end = self._seconds(window.end)
        cut_edge = window.start > utterance.start
        trusted = self._seconds(window.start) + self.settings.edge if cut_edge else float("-inf")
        utterance.agreement.update(words, trusted, end)
        utterance.decoded = window.end
        if words:
            utterance.last_label = max(utterance.last_label, self._samples(words[-1].end))
        agreement = utterance.agreement
        tentative = [word for word in agreement.sure(self.settings.doubt) if word.end <= end - self.settings.hold]
        if not tentative and not agreement.stable:
            tentative = agreement.steady.words[:1]
        shown = (ctc.joined(agreement.stable, self.spec), ctc.joined(tentative, self.spec))
        if shown == utterance.shown:
            return []
        utterance.shown = shown
        utterance.announced = True
        return [Partial(utterance.number, self._seconds(utterance.start), end, *shown)]

    def _accept_final(self, window: Window, outputs: Mapping[str, NDArray[Any]]) -> list[Event]:
        passes = [ended.whole for ended in self._ended]
        if self._open is not None and self._open.whole is not None:
            passes.append(self._open.whole)
        whole = next((item for item in passes if item.window is window), None)
        if whole is None:
            return []  # somebody went on speaking while it ran
        whole.transcript = self.finish(whole.samples, self._logits(outputs))
        self._finish_decoded()
        return self._take_ready()

    def _finish_decoded(self) -> None:
        """Finals of the utterances that are over and decoded, in their order."""
        while self._ended and (transcript := self._ended[0].whole.transcript) is not None:
            self._finish(self._ended.popleft(), transcript)

    def _finish(self, ended: _Ended, transcript: Transcript) -> None:
        utterance, whole = ended.utterance, ended.whole
        words = tuple(self._at(word, whole.start) for word in transcript.words)
        if words or utterance.announced:
            changed = revised(utterance.agreement.stable, words)
            start, end = self._seconds(whole.start), self._seconds(whole.end)
            self._ready.append(Final(utterance.number, start, end, transcript.text, words, changed, ended.reason))
            self._owed = ended.reason in ("silence", "blank", "length")
        elif self._count == utterance.number and self._open is None:
            self._count -= 1  # nobody heard of it
        if self._owed and ended.quiet is not None and self._open is None:
            self._owed = False
            self._ready.append(Silence(self._seconds(ended.quiet)))


def decode(decoding: Decoding, samples: NDArray[np.float32], logits: NDArray[np.float32]) -> Transcript:
    """A whole utterance, run in one window, on the way that every recording takes."""
    decoding.push(chunking.Window(samples, 0, None), logits)
    return decoding.transcript()
