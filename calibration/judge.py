"""What a variant is worth: words, tokens and numbers against fp32 on the same clips, and time on this machine."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wav2edge.measure.scoring import Difference, Edits, Rate, difference, score
from wav2edge.runtime import engines
from wav2edge.runtime.bundle.read import Bundle, Variant
from wav2edge.runtime.bundle.spec import OUTPUT_LENGTHS, ModelSpec
from wav2edge.runtime.engines import EngineOptions, Session
from wav2edge.runtime.errors import EngineError, InputError
from wav2edge.runtime.heads import ctc

from .clips import Clips, gapless

Logits = NDArray[np.float32]
FALLBACK = "onnxruntime"
"""The engine that judges where none of those that prefer a variant is on this machine."""
REPEATS = 5


@dataclass(frozen=True)
class Heard:
    """What one variant made of the dev clips: each clip's logits [frames, labels], text and edits; the pooled WER.

    Edits and rate are of words; of characters where the model's text has no gaps (``clips.gapless``).
    """

    logits: tuple[Logits, ...]
    texts: tuple[str, ...]
    edits: tuple[Edits, ...]
    wer: Rate


@dataclass(frozen=True)
class Measured:
    """A variant against fp32 on the same clips.

    engine: what ran it. wer: its word error rate; rise: its difference to fp32's, paired. token_agreement: share of
    frames with the same best label. sqnr_db: signal to quantisation noise of the logits. finite: False where NaN or
    Inf came out of any clip, silence or full-scale noise. unit: what the rate counts, words or characters.
    """

    engine: str
    wer: Rate
    rise: Difference
    token_agreement: float
    sqnr_db: float
    finite: bool
    heard: Heard
    unit: str = "words"


class Judge:
    """Holds the dev clips and what fp32 made of them; judges one candidate after the other."""

    def __init__(self, bundle: Bundle, dev: Clips, threads: int | None) -> None:
        """Run fp32 over the dev clips; raises InputError where its output is not finite, or no word in any clip."""
        self.bundle = bundle
        self.dev = dev
        self.options = EngineOptions(threads=threads)
        self.references = [row.text for row in dev.rows]
        self.samples = [samples for _, samples in dev.whole()]
        self.fp32 = bundle.variant("fp32")
        session = self.open(bundle, self.fp32, FALLBACK)
        try:
            self.reference = self.listen(session)
        finally:
            session.close()
        if not all(np.isfinite(values).all() for values in self.reference.logits):
            raise InputError(f"{bundle.path}: fp32 itself gives NaN or Inf on the dev clips; export the model again")
        if not any(text.strip() for text in self.reference.texts):
            raise InputError(
                f"{bundle.path}: fp32 writes nothing on any of the {len(dev.rows)} clips to judge on, so no loss would "
                "show; judge on speech that this model understands"
            )

    def engine_for(self, variant: Variant) -> str:
        """The engine that judges a variant: the first that prefers it and runs here, else ONNX Runtime.

        Raises EngineError where ONNX Runtime does not run it either.
        """
        return engine_for(self.bundle.spec, variant)

    def open(self, bundle: Bundle, variant: Variant, engine: str) -> Session:
        """Load fp32 or a candidate, digests unchecked: it was written a moment ago."""
        options = dataclasses.replace(self.options, keep_compiled=bundle is self.bundle)
        return engines.get(engine).load(bundle, variant, "full", options)

    def judge(self, staged: Bundle, variant: Variant) -> Measured:
        """Run a candidate over the dev clips and the two probes."""
        engine = self.engine_for(variant)
        session = self.open(staged, variant, engine)
        try:
            heard = self.listen(session)
            probes = [self.logits(session, samples) for samples in _probes(self.bundle.spec)]
        finally:
            session.close()
        return self.compare(engine, heard, probes)

    def listen(self, session: Session) -> Heard:
        """Logits, texts and edits of every dev clip."""
        logits = tuple(self.logits(session, samples) for samples in self.samples)
        spec = self.bundle.spec
        texts = tuple(ctc.joined(ctc.greedy(np.nan_to_num(v), spec), spec) for v in logits)
        scores = score(self.references, texts)
        if gapless(spec):
            return Heard(logits, texts, scores.characters, scores.cer)
        return Heard(logits, texts, scores.words, scores.wer)

    def logits(self, session: Session, samples: NDArray[np.float32]) -> Logits:
        """The logits [frames, labels] of one clip."""
        outputs = session.run(engines.as_feeds(samples[None], np.array([len(samples)], dtype=np.int64)))
        frames = int(outputs[OUTPUT_LENGTHS][0])
        return np.asarray(outputs[self.bundle.spec.outputs[0].name][0, :frames], dtype=np.float32)

    def compare(self, engine: str, heard: Heard, probes: Sequence[Logits] = ()) -> Measured:
        """Put what was heard beside fp32's."""
        finite = all(np.isfinite(values).all() for values in (*heard.logits, *probes))
        return Measured(
            engine=engine,
            wer=heard.wer,
            rise=difference(self.reference.edits, heard.edits),
            token_agreement=agreement(self.reference.logits, heard.logits),
            sqnr_db=sqnr(self.reference.logits, heard.logits),
            finite=finite,
            heard=heard,
            unit=self.dev.unit,
        )

    def latency_ratio(self, staged: Bundle, variant: Variant, seconds: float) -> tuple[float, float]:
        """Time of a variant over fp32's on the same engine, runs taken in turns; and the variant's own time in ms.

        seconds: of real speech in one run. The smallest of the runs counts: what disturbs only adds.
        """
        engine = self.engine_for(variant)
        samples = _excerpt(self.samples, int(seconds * self.bundle.spec.sample_rate))
        pair = (self.open(self.bundle, self.fp32, engine), self.open(staged, variant, engine))
        try:
            best = [float("inf"), float("inf")]
            for turn in range(REPEATS + 1):
                for index, session in enumerate(pair):
                    start = time.perf_counter()
                    self.logits(session, samples)
                    if turn:  # the first run prepares
                        best[index] = min(best[index], time.perf_counter() - start)
        finally:
            for session in pair:
                session.close()
        return best[1] / best[0], best[1] * 1000


def engine_for(spec: ModelSpec, variant: Variant) -> str:
    """The engine that judges a variant of a model: the first that prefers it and runs here, else ONNX Runtime.

    Raises EngineError, with each engine's reason, where ONNX Runtime does not run it either.
    """
    reasons = []
    for name in dict.fromkeys((*variant.preferred_by, FALLBACK)):
        if name not in engines.names():
            continue
        module = engines.get(name)
        reason = module.unavailable() or module.refuses(spec, variant)
        if reason is None:
            return name
        reasons.append(f"{name}: {reason}")
    raise EngineError(
        f"{variant.name}: no engine on this machine runs it, so it cannot be judged here; "
        f"leave it out of --variants, or quantise where one does ({'; '.join(reasons)})"
    )


def staged_bundle(bundle: Bundle, folder: Path, variant: Variant) -> Bundle:
    """A bundle that reads its variant's files from a staging folder."""
    return dataclasses.replace(bundle, path=folder, variants=(variant,))


def agreement(reference: Sequence[Logits], other: Sequence[Logits]) -> float:
    """Share of frames whose best label is the same; frames with NaN agree with nothing."""
    same = total = 0
    for first, second in zip(reference, other):
        fine = np.isfinite(second).all(axis=1)
        same += int(((first.argmax(axis=1) == np.nan_to_num(second).argmax(axis=1)) & fine).sum())
        total += len(first)
    return same / max(total, 1)


def sqnr(reference: Sequence[Logits], other: Sequence[Logits]) -> float:
    """Signal to quantisation noise in dB: the power of the reference over that of the difference."""
    power = sum(float(np.square(first, dtype=np.float64).sum()) for first in reference)
    noise = sum(float(np.square(second - first, dtype=np.float64).sum()) for first, second in zip(reference, other))
    if not np.isfinite(noise):
        return float("-inf")
    return float(10 * np.log10(max(power, 1e-30) / max(noise, power * 1e-20, 1e-30)))


def _probes(spec: ModelSpec) -> Iterator[NDArray[np.float32]]:
    """Silence, and noise at full scale: where half precision and dead channels turn to NaN."""
    samples = max(spec.sample_rate, spec.min_samples)
    yield np.zeros(samples, np.float32)
    yield np.random.default_rng(0).uniform(-1, 1, samples).astype(np.float32)


def _excerpt(clips: Sequence[NDArray[np.float32]], samples: int) -> NDArray[np.float32]:
    joined = np.concatenate(list(clips))[:samples]
    return np.tile(joined, -(-samples // len(joined)))[:samples]
