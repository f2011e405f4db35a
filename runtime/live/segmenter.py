"""Cut a stream of samples into utterances: where the voice begins, and which endpoint rule ends each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..bundle.spec import ModelSpec
from ..text.transcript import Transcript
from .digital_silence import DigitalSilence
from .documents import EndReason
from .quietest import QuietestPlace
from .sample_buffer import SampleBuffer
from .settings import LiveSettings
from .utterance import Utterance
from .vad import VAD_WINDOW, SpeechDetector, VoiceActivity, VoiceActivityModel
from .window import FinalPass

_CUT_SEARCH = 8.0  # seconds before its end in which the weakest voice of an over-long utterance is searched
_DIGITAL_SILENCE = 0.1  # seconds of digital silence up to which an utterance may reach


@dataclass
class Ended:
    """An utterance that is over; quiet: the absolute sample since which there is silence, None where there is none."""

    utterance: Utterance
    final: FinalPass
    reason: EndReason
    quiet: int | None


class UtteranceSegmenter:
    """The samples of one stream and the utterance that is running in it; positions are absolute samples."""

    def __init__(
        self,
        spec: ModelSpec,
        vad: VoiceActivityModel,
        settings: LiveSettings,
        ended: Callable[[Ended], None],
    ) -> None:
        """ended: called with each utterance that is over, before the next one begins."""
        self.spec = spec
        self.settings = settings
        self.detector = SpeechDetector(vad, settings.vad)
        self.running: Utterance | None = None
        self._ended = ended
        self._buffer = SampleBuffer()
        self._began = False
        self._silence = DigitalSilence(self._samples(_DIGITAL_SILENCE))
        self._quiet = QuietestPlace(int(_CUT_SEARCH * spec.sample_rate) // VAD_WINDOW)
        self._floor = 0  # the sample before which the next utterance cannot begin
        self._count = 0

    @property
    def received(self) -> int:
        """The index after the last sample pushed."""
        return self._buffer.end

    @property
    def buffer(self) -> SampleBuffer:
        """The samples from the running utterance's first one, or the pre-roll."""
        return self._buffer

    def push(self, samples: NDArray[np.float32], start: int) -> None:
        """Take mono float32 [samples] whose first has the index ``start``; a jump forward ends the utterance."""
        if not self._began or start > self._buffer.end:
            self.close("gap")
            self._begin(start)
        samples = samples[max(0, self._buffer.end - start) :]
        for at in range(0, len(samples), self.spec.sample_rate):
            piece = samples[at : at + self.spec.sample_rate]
            self._buffer.append(piece)
            for activity in self.detector.push(piece):
                self._advance(activity)

    def voice_windows(self, samples: NDArray[np.float32], start: int) -> list[NDArray[np.float32]]:
        """The windows about which a ``push`` will ask the speech detector; none where it does not continue the last."""
        continues = self._began and start == self._buffer.end
        return self.detector.windows(samples) if continues else []

    def close(self, reason: EndReason) -> None:
        """End the running utterance now."""
        if self.running is not None:
            self._end(self.running, min(self._buffer.end, self.running.natural_end), reason, quiet=None)

    def final_pass(self, utterance: Utterance, end: int) -> FinalPass:
        """The pass over an utterance's samples up to ``end``."""
        return FinalPass(self._buffer.read(utterance.start, end), utterance.start, end)

    def release(self, number: int) -> None:
        """Give the number of an utterance that no event named to the next one."""
        if self._count == number and self.running is None:
            self._count -= 1

    def _samples(self, seconds: float) -> int:
        return round(seconds * self.spec.sample_rate)

    def _seconds(self, samples: int) -> float:
        return samples / self.spec.sample_rate

    def _begin(self, start: int) -> None:
        self._began = True
        self._buffer = SampleBuffer(start)
        self._floor = start
        self._silence.reset()
        self._quiet.reset()
        self.detector.reset(start)

    def _advance(self, activity: VoiceActivity) -> None:
        """Begin, continue or end an utterance by the speech detector's next decision."""
        self._silence.add(self._buffer.read(activity.start, activity.end), activity.start)
        self._quiet.add(activity)
        if self.running is None:
            self._wait(activity)
        utterance = self.running
        if utterance is None:
            return
        utterance.update(activity)
        utterance.silent_from = self._silence.first_start(utterance.voice_end)
        reason = self.settings.endpoint.ended(
            silence=self._seconds(activity.end - utterance.voice_end),
            blank=self._seconds(utterance.blank),
            length=self._seconds(activity.end - utterance.start),
            has_text=utterance.may_have_text,
        )
        if reason == "silence":
            self._end(utterance, min(activity.end, utterance.natural_end), reason, quiet=utterance.voice_end)
        elif reason == "blank":
            self._blank(utterance, activity)
        elif reason == "length":
            self._cut(utterance, activity)

    def _wait(self, activity: VoiceActivity) -> None:
        """Between utterances: keep the pre-roll, and begin an utterance with the voice."""
        first = activity.start if activity.onset is None else activity.onset
        begin = max(self._floor, first - self._samples(self.settings.pre_roll))
        self._drop(begin)
        if activity.speaking:
            self.running = self._start(max(begin, self._silence.last_end(first + VAD_WINDOW) or begin))

    def _start(self, begin: int) -> Utterance:
        self._count += 1
        return Utterance(self._count, begin, self.spec, self.settings)

    def _drop(self, before: int) -> None:
        self._buffer.drop(before)
        self._silence.drop(before)

    def _end(self, utterance: Utterance, end: int, reason: EndReason, quiet: int | None) -> None:
        self.running = None
        self._floor = end = max(end, utterance.start)
        final = utterance.final
        if final is None or final.end != end:
            final = self.final_pass(utterance, end)
        if len(final.samples) < self.spec.min_samples:
            if not utterance.announced:
                return
            final.transcript = Transcript("", 0.0, ())  # what partials showed of it is taken back
        self._ended(Ended(utterance, final, reason, quiet))

    def _blank(self, utterance: Utterance, activity: VoiceActivity) -> None:
        """A voice without text: end the utterance, or discard one that never had text; then continue."""
        textless = self.settings.endpoint.silence_without_text
        at = utterance.last_label + self._samples(textless - min(self.settings.pre_roll, textless / 2))
        if utterance.announced:
            self._end(utterance, at, "blank", quiet=None)
        else:
            self._count -= 1
        self._continue(max(self._floor, at), activity)

    def _cut(self, utterance: Utterance, activity: VoiceActivity) -> None:
        """Too long: cut where the voice is weakest; the words after that belong to the next utterance."""
        search = min(_CUT_SEARCH, self.settings.endpoint.longest_utterance / 2)
        at = self._quiet.after(activity.end - self._samples(search))
        after = utterance.agreement.split(self._seconds(at))
        self._end(utterance, at, "length", quiet=None)
        self._continue(at, activity).agreement.stable = after

    def _continue(self, begin: int, activity: VoiceActivity) -> Utterance:
        """Begin the next utterance while the voice continues; bounds memory when speech never pauses."""
        self.running = self._start(begin)
        self.running.voice_end = activity.end
        self._drop(begin)
        return self.running
