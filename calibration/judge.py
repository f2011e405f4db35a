"""Judge a variant: its head's figure against fp32's on the same clips, and its time on this machine."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from wav2edge.measure.figures import Change, Estimate, cosines
from wav2edge.measure.runs import EncoderRun, Run
from wav2edge.measure.task import Answer, Likeness, Unit
from wav2edge.runtime import engines
from wav2edge.runtime.bundle.read import Bundle, Variant
from wav2edge.runtime.bundle.spec import ModelSpec
from wav2edge.runtime.engines import EngineOptions
from wav2edge.runtime.errors import EngineError, InputError
from wav2edge.runtime.heads import sequence_classification
from wav2edge.runtime.model import Model
from wav2edge.runtime.recordings.chunking import Chunking, Stitcher, chunks

from .clips import Clips, Samples
from .closeness import Logits, likeness, sqnr
from .observe import Progress
from .work import Series, Work

OpenModel: TypeAlias = Callable[[], AbstractContextManager[Model]]
FALLBACK = "onnxruntime"
"""The engine that runs fp32, and any variant whose preferred engines are not on this machine."""
REPEATS = 5
"""Timed runs of each variant, of which the fastest counts. On a machine with other work the ratio of one variant
(median 0.79) was between 0.60 and 0.98 in 90 of 100 tries, and up to 1.07 with a single run
(benchmarks/quantization_choices.py, part ``time``)."""


@dataclass(frozen=True)
class Hypotheses:
    """One variant's outputs and answers on the dev clips."""

    logits: tuple[Logits, ...]
    """Each clip's first output: logits [frames, labels] or [labels], an embedding [size], states [frames, size]."""
    answers: tuple[Answer, ...]
    """The answers that they decode to (``measure.task``)."""
    run: Run
    """The answers compared with the references."""


@dataclass(frozen=True)
class Measured:
    """A variant against fp32 on the same clips."""

    engine: str
    """The engine that ran it."""
    figure: Estimate
    """Its head's figure: word error rate, character error rate for a model whose text has no gaps, accuracy, equal
    error rate …"""
    change: Change
    """How much higher that is than fp32's, paired clip by clip."""
    likeness: float
    """How alike its answers are to fp32's, up to 1: the share of frames (of clips for a model that classifies) with the
    same best label; the mean cosine of embeddings; the concordance of numbers."""
    sqnr_db: float
    """Signal to quantisation noise of the logits, in dB."""
    finite: bool
    """False where a clip, silence or full-scale noise gave NaN or Inf."""
    hypotheses: Hypotheses
    unit: Unit = "words"
    """The unit that the figure counts, such as words."""
    kind: Likeness = "labels"
    """Which measure ``likeness`` is."""


class Judge:
    """Holds the dev clips and fp32's answers to them; judges one candidate after the other."""

    def __init__(
        self,
        bundle: Bundle,
        dev: Clips,
        threads: int | None,
        progress: Progress = lambda stage, done, total: None,
        work: Work | None = None,
    ) -> None:
        """Run fp32 over the dev clips; raises InputError where its output is not finite, or no word in any clip.

        work: where outputs are kept, and restored from.
        """
        self.work = work or Work()
        self.bundle = bundle
        self.dev = dev
        self.progress = progress
        self.options = EngineOptions(threads=threads)
        self.task = dev.task
        self.task.check(dev.rows)
        self.samples = [samples for _, samples in dev.whole()]
        self.fp32 = bundle.variant("fp32")
        stage = "fp32: transcribing the clips that judge"
        outputs = self._outputs(
            lambda: self.open(bundle, self.fp32, FALLBACK), self.samples, stage, Series(self.work, "fp32")
        )
        self.reference = self._hypotheses(outputs)
        if not all(np.isfinite(values).all() for values in self.reference.logits):
            raise InputError(f"{bundle.path}: fp32 itself gives NaN or Inf on the dev clips; export the model again")
        if not any(item.answer.strip() for item in self.reference.run.items()):
            raise InputError(
                f"{bundle.path}: fp32 writes nothing on any of the {len(dev.rows)} clips to judge on, so no loss would "
                "show; judge on speech that this model understands"
            )

    def open(self, bundle: Bundle, variant: Variant, engine: str) -> Model:
        """fp32 or a candidate on an engine; nothing compiled for a candidate is cached, because it may be refused."""
        options = dataclasses.replace(self.options, keep_compiled=bundle is self.bundle)
        return Model(bundle, engine, variant, options, reason="to judge it")

    def judge(self, staged: Bundle, variant: Variant, stage: str | None = None, part: str | None = None) -> Measured:
        """Run a candidate over the dev clips and the two probes.

        stage: its name in progress reports. part: the name under which its outputs are kept, for ``recalled``; None:
        they are not kept.
        """
        engine = engine_for(staged, variant)
        stage = stage or f"{variant.name}: judging"
        inputs = [*self.samples, *_probes(self.bundle.spec)]
        series = Series(Work() if part is None else self.work, part or "")
        return self._compared(engine, self._outputs(lambda: self.open(staged, variant, engine), inputs, stage, series))

    def recalled(self, engine: str, part: str) -> Measured | None:
        """A candidate whose outputs are all kept, compared again without running it; None where they are not."""
        outputs = Series(self.work, part).arrays
        inputs = len(self.samples) + len(list(_probes(self.bundle.spec)))
        return self._compared(engine, outputs) if len(outputs) == inputs else None

    def forget(self, part: str) -> None:
        """Remove the outputs of a candidate."""
        Series(self.work, part).drop()

    def _compared(self, engine: str, outputs: Sequence[Logits]) -> Measured:
        clips = len(self.samples)
        return self.compare(engine, self._hypotheses(outputs[:clips]), outputs[clips:])

    def _outputs(
        self,
        open_model: Callable[[], AbstractContextManager[Model]],
        inputs: Sequence[Samples],
        stage: str,
        series: Series,
    ) -> list[Logits]:
        """The outputs of all inputs, those that are kept and the rest; dev clips are counted, probes are not."""
        del series.arrays[len(inputs) :]
        if len(series.arrays) < len(inputs):
            with open_model() as model, contextlib.closing(series):
                for done in range(len(series.arrays), len(inputs)):
                    if done < len(self.samples):
                        self.progress(stage, done, len(self.samples))
                    series.add(_logits(model, inputs[done]))
        self.progress(stage, len(self.samples), len(self.samples))
        return series.arrays

    def transcribe(self, model: Model, stage: str) -> Hypotheses:
        """A model's outputs and answers for every dev clip."""
        return self._hypotheses(
            self._outputs(lambda: contextlib.nullcontext(model), self.samples, stage, Series(Work(), ""))
        )

    def _hypotheses(self, logits: Sequence[Logits]) -> Hypotheses:
        answers = tuple(self.task.answer(np.nan_to_num(values)) for values in logits)
        return Hypotheses(tuple(logits), answers, self.task.run(self.dev.rows, answers))

    def compare(self, engine: str, hypotheses: Hypotheses, probes: Sequence[Logits] = ()) -> Measured:
        """A candidate's figures against fp32's."""
        return Measured(
            engine=engine,
            figure=_figure(self.reference.run, hypotheses.run),
            change=self.reference.run.change(hypotheses.run),
            likeness=self._likeness(hypotheses),
            sqnr_db=sqnr(self.reference.logits, hypotheses.logits),
            finite=all(bool(np.isfinite(values).all()) for values in (*hypotheses.logits, *probes)),
            hypotheses=hypotheses,
            unit=self.task.unit,
            kind=self.task.likeness,
        )

    def _likeness(self, hypotheses: Hypotheses) -> float:
        """By logits where there are labels, so that NaN counts as different; else by answers."""
        kind = self.task.likeness
        if self.bundle.spec.head == "frame_classification" or kind != "labels":
            return likeness(kind, self.reference.answers, hypotheses.answers, decisions=kind == "labels")
        return likeness(kind, self.reference.logits, hypotheses.logits, groups=_groups(self.bundle.spec))

    def latency_ratio(self, staged: Bundle, variant: Variant, seconds: float) -> tuple[float, float]:
        """Time of a variant over fp32's on the same engine, runs taken in turns; and the variant's time in ms.

        seconds: of speech in one run. The fastest of the runs counts: disturbances only add time.
        """
        engine = engine_for(staged, variant)
        samples = _excerpt(self.samples, int(seconds * self.bundle.spec.sample_rate))
        best = [float("inf"), float("inf")]
        with (
            self.open(self.bundle, self.fp32, engine) as fp32,
            self.open(staged, variant, engine) as candidate,
        ):
            for turn in range(REPEATS + 1):
                self.progress(f"{variant.name}: timing", turn, REPEATS + 1)
                for index, model in enumerate((fp32, candidate)):
                    start = time.perf_counter()
                    model.logits([samples])
                    if turn:  # the first run prepares
                        best[index] = min(best[index], time.perf_counter() - start)
        return best[1] / best[0], best[1] * 1000


def _figure(first: Run, run: Run) -> Estimate:
    """A run's main figure; of a bare encoder the cosine to the first run."""
    if isinstance(first, EncoderRun) and isinstance(run, EncoderRun):
        return cosines.score(first.states, run.states)
    return run.estimates()[0]


def _groups(spec: ModelSpec) -> tuple[int, ...]:
    """The sizes of a classifier's groups of labels; empty where all are one group."""
    if spec.head != "sequence_classification":
        return ()
    return spec.options(sequence_classification.Options).groups


def engine_for(bundle: Bundle, variant: Variant) -> str:
    """The engine that judges a variant of a model: the first that prefers it and runs here, else ONNX Runtime.

    Raises EngineError, with each engine's reason, where ONNX Runtime does not run it either.
    """
    known = engines.names()
    wanted = [name for name in dict.fromkeys((*variant.preferred_by, FALLBACK)) if name in known]
    reasons = []
    for candidate in engines.runnable(dataclasses.replace(bundle, variants=(variant,)), wanted, [variant.name]):
        if candidate.runs:
            return candidate.engine
        reasons.append(f"{candidate.engine}: {candidate.reason}")
    raise EngineError(
        f"{variant.name}: no engine on this machine runs it, so it cannot be judged here; "
        f"leave it out of the variants, or quantise where one does ({'; '.join(reasons)})"
    )


def _logits(model: Model, samples: Samples) -> Logits:
    """The first output for a recording; where text is written, of its chunks, each normalised by itself."""
    spec, chunking = model.spec, Chunking.suited(model.spec)
    if spec.blank is None or len(samples) <= chunking.length * spec.sample_rate:
        return model.logits([samples])[0]
    stitcher = Stitcher(spec.blank)
    pieces = [stitcher.push(chunk, model.logits([chunk.samples])[0]) for chunk in chunks([samples], spec, chunking)]
    return np.concatenate(pieces)


def _probes(spec: ModelSpec) -> Iterator[Samples]:
    """A second of silence, and of noise at full scale: where half precision and dead channels turn to NaN."""
    samples = max(spec.sample_rate, spec.min_samples)
    yield np.zeros(samples, np.float32)
    yield np.random.default_rng(0).uniform(-1, 1, samples).astype(np.float32)


def _excerpt(clips: Sequence[Samples], samples: int) -> Samples:
    """The first ``samples`` of the clips one after the other, repeated where they are shorter."""
    joined = np.concatenate(list(clips))[:samples]
    return np.tile(joined, -(-samples // len(joined)))[:samples]
