"""The figures of a live run: words, delays, revisions, cost; for each corpus of a manifest and for all together."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from ..runtime.live.events import Dropped, Final, Partial, Silence, SourceLost
from ..runtime.live.sources import RATE
from ..runtime.live.transcriber import LiveTranscriber
from . import scoring
from .figures import DifferenceDocument, known
from .live_quality import LiveQuality
from .live_trial import Clip, Playback
from .scoring import Difference, Normalization, Rate, RateDocument

ALL = "all"
"""The name under which several corpora are reported together."""


class PercentilesDocument(TypedDict):
    """Percentiles as JSON, s; null without a value."""

    p50: float | None
    p95: float | None


@dataclass(frozen=True)
class Percentiles:
    """The median and the 95th percentile of some seconds; NaN without any."""

    p50: float
    p95: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Percentiles:
        """Those of values."""
        kept = list(values)
        if not kept:
            return cls(float("nan"), float("nan"))
        median, high = np.percentile(kept, (50, 95))
        return cls(float(median), float(high))

    def to_json(self) -> PercentilesDocument:
        """Plain JSON values; NaN becomes null."""
        return {"p50": _rounded(self.p50), "p95": _rounded(self.p95)}


class CorpusDocument(TypedDict):
    """``CorpusFigures`` as JSON: rates are fractions, times seconds."""

    clips: int
    wer_finals: RateDocument
    wer_batch: RateDocument
    wer_rise: DifferenceDocument
    first_text: PercentilesDocument
    emission: PercentilesDocument
    finalisation: PercentilesDocument
    stable: PercentilesDocument
    upwr: float | None
    stable_changed: int
    revised: int
    words: int
    utterances: int


@dataclass(frozen=True)
class CorpusFigures:
    """How good the captions of some clips were; the delays are defined in live_quality."""

    clips: int
    """Clips played."""

    utterances: int
    """Finals."""

    words: int
    """Words in finals."""

    wer_finals: Rate
    """Word error rate of the finals."""

    wer_batch: Rate
    """Word error rate of one pass over each clip."""

    wer_rise: Difference
    """How much higher that of the finals is, with its paired interval."""

    first_text: Percentiles
    """From the start of a clip's first word to the first Partial with text, s."""

    emission: Percentiles
    """From the end of a word to its first showing, s."""

    stable: Percentiles
    """From the end of a word to the first Partial that called it stable, s."""

    finalisation: Percentiles
    """From the end of speech to the Final, s."""

    upwr: float
    """Unstable partial word ratio, a fraction; NaN without partials."""

    stable_changed: int
    """Partials whose stable text did not continue that of the one before: must be 0."""

    revised: int
    """Stable words that finals changed or dropped."""

    def to_json(self) -> CorpusDocument:
        """Plain JSON values; NaN becomes null."""
        return {
            "clips": self.clips,
            "wer_finals": self.wer_finals.to_json(),
            "wer_batch": self.wer_batch.to_json(),
            "wer_rise": self.wer_rise.to_json(),
            "first_text": self.first_text.to_json(),
            "emission": self.emission.to_json(),
            "finalisation": self.finalisation.to_json(),
            "stable": self.stable.to_json(),
            "upwr": _rounded(self.upwr),
            "stable_changed": self.stable_changed,
            "revised": self.revised,
            "words": self.words,
            "utterances": self.utterances,
        }


class LiveDocument(TypedDict):
    """``LiveReport`` as JSON: rates are fractions, times seconds."""

    bundle: str
    engine: str
    variant: str
    keeps_features: bool
    endpoint_silence: float
    seconds: float
    cpu_per_second: float
    lag: PercentilesDocument
    dropped: float
    source_lost: int
    finals_equal_to_transcribe: list[int]
    corpora: dict[str, CorpusDocument]


@dataclass(frozen=True)
class LiveReport:
    """A run through the live path: what ran, what it cost, and the figures of each corpus."""

    bundle: str
    """The bundle's path."""

    engine: str
    """The engine's name."""

    variant: str
    """The variant's name."""

    keeps_features: bool
    """Whether convolution features were kept between hops."""

    endpoint_silence: float
    """Seconds of silence after text that end an utterance; a part of ``finalisation``."""

    seconds: float
    """Seconds of sound."""

    cpu_per_second: float
    """CPU-seconds of all threads for each second of sound."""

    lag: Percentiles
    """From the end of a partial's window to its events, s."""

    dropped: float
    """Seconds of sound that were lost."""

    source_lost: int
    """How often the source was lost."""

    equal: int
    """Finals whose text is that of a Transcriber on the recorded samples."""

    finals: int
    """Finals."""

    corpora: Mapping[str, CorpusFigures]
    """The figures of each corpus, and of ``all`` where there are several."""

    def to_json(self) -> LiveDocument:
        """Plain JSON values; NaN becomes null."""
        return {
            "bundle": self.bundle,
            "engine": self.engine,
            "variant": self.variant,
            "keeps_features": self.keeps_features,
            "endpoint_silence": self.endpoint_silence,
            "seconds": round(self.seconds, 3),
            "cpu_per_second": round(self.cpu_per_second, 4),
            "lag": self.lag.to_json(),
            "dropped": round(self.dropped, 3),
            "source_lost": self.source_lost,
            "finals_equal_to_transcribe": [self.equal, self.finals],
            "corpora": {name: found.to_json() for name, found in self.corpora.items()},
        }


def report(
    live: LiveTranscriber, played: Playback, normalization: Normalization = scoring.DEFAULT_NORMALIZATION
) -> LiveReport:
    """The figures of a run; each final is compared with ``live.transcriber()`` on the samples that were recorded.

    Raises EngineError when the extra [eval] is missing, for the word error rates.
    """
    stream = played.stream
    happened = [timed.event for timed in stream.events]
    finals = [event for event in happened if isinstance(event, Final)]
    return LiveReport(
        bundle=str(live.model.bundle.path),
        engine=live.model.engine,
        variant=live.model.variant.name,
        keeps_features=bool(live.settings.keep_features),
        endpoint_silence=live.settings.endpoint.silence_after_text,
        seconds=stream.seconds,
        cpu_per_second=stream.cpu / stream.seconds,
        lag=Percentiles.of(stream.lags),
        dropped=sum(event.seconds for event in happened if isinstance(event, Dropped)),
        source_lost=sum(isinstance(event, SourceLost) for event in happened),
        equal=_equal(live, played, finals),
        finals=len(finals),
        corpora=figures(played, normalization),
    )


def figures(played: Playback, normalization: Normalization = scoring.DEFAULT_NORMALIZATION) -> dict[str, CorpusFigures]:
    """The figures of each corpus of a run, and of ``all`` where there are several."""
    corpora = sorted({clip.row.corpus for clip in played.clips})
    groups = {name: [clip for clip in played.clips if clip.row.corpus == name] for name in corpora}
    if len(corpora) > 1:
        groups[ALL if ALL not in groups else f"{ALL} corpora"] = list(played.clips)
    return {name: _figures(clips, played, normalization) for name, clips in groups.items()}


def _equal(live: LiveTranscriber, played: Playback, finals: Sequence[Final]) -> int:
    same, transcriber = 0, live.transcriber()
    for final in finals:
        cut = played.stream.sound[round(final.start * RATE) : round(final.end * RATE)]
        same += transcriber(cut).text == final.text
    return same


def _figures(clips: Sequence[Clip], played: Playback, normalization: Normalization) -> CorpusFigures:
    starts = [clip.start for clip in played.clips]
    wanted = {clip.start for clip in clips}
    quality = LiveQuality()
    texts: dict[int, list[str]] = {clip.start: [] for clip in clips}
    shown: dict[int, float] = {}
    for timed in played.stream.events:
        event = timed.event
        if not isinstance(event, (Partial, Final, Silence)):
            continue
        # Pre-roll may begin in the gap before the clip, but never before that gap.
        clip_start = starts[max(0, bisect_right(starts, event.start * RATE + RATE) - 1)]
        if clip_start not in wanted:
            continue
        quality.add(timed)
        if isinstance(event, Final):
            texts[clip_start].append(event.text)
        elif isinstance(event, Partial) and event.text:
            shown.setdefault(clip_start, timed.at)
    references = [clip.row.text for clip in clips]
    batch = scoring.score(references, [clip.batch.text for clip in clips], normalization)
    finals = scoring.score(references, [" ".join(texts[clip.start]) for clip in clips], normalization)
    first = [
        shown[clip.start] - clip.start / RATE - clip.batch.words[0].start
        for clip in clips
        if clip.batch.words and clip.start in shown
    ]
    return CorpusFigures(
        clips=len(clips),
        utterances=len(quality.finals),
        words=sum(len(final.words) for final in quality.finals),
        wer_finals=finals.wer,
        wer_batch=batch.wer,
        wer_rise=scoring.difference(batch.words, finals.words),
        first_text=Percentiles.of(first),
        emission=Percentiles.of(quality.emissions),
        stable=Percentiles.of(quality.settled),
        finalisation=Percentiles.of(quality.finalisations),
        upwr=quality.upwr,
        stable_changed=quality.stable_changed,
        revised=quality.revised,
    )


def _rounded(value: float) -> float | None:
    return None if known(value) is None else round(value, 4)
