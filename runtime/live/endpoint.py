"""When an utterance is over: rules in the words that sherpa-onnx's users know, and where to cut an endless one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..text.transcript import Word


@dataclass(frozen=True)
class EndpointRules:
    """All in seconds.

    silence_without_text: of silence, where nothing was decoded yet; also of blanks in a row while the speech detector
    still hears a voice (noise, music, another language). silence_after_text: of silence after decoded text.
    longest_utterance: of sound; then it is cut at its best pause.
    """

    silence_without_text: float = 2.4
    silence_after_text: float = 1.2
    longest_utterance: float = 20.0

    def ended(self, silence: float, blank: float, length: float, has_text: bool) -> str | None:
        """Why an utterance is over, or None.

        silence: since the last voice. blank: since the last decoded label, as far as it was decoded. length: so far.
        """
        if silence >= (self.silence_after_text if has_text else self.silence_without_text):
            return "silence"
        if blank >= self.silence_without_text:
            return "blank"
        if length >= self.longest_utterance:
            return "length"
        return None


def best_cut(words: Sequence[Word], earliest: float, latest: float) -> float:
    """The middle of the longest pause between words inside [earliest, latest], s; ``latest`` where there is none."""
    edges = [earliest]
    for word in words:
        if word.end > earliest and word.start < latest:
            edges += [word.start, word.end]
    edges.append(latest)
    pauses = [(edges[i + 1] - edges[i], edges[i], edges[i + 1]) for i in range(0, len(edges), 2)]
    length, start, end = max(pauses, default=(0.0, latest, latest))
    return max(earliest, min(latest, (start + end) / 2)) if length > 0 and len(edges) > 2 else latest
