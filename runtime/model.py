"""A loaded model: a bundle's variant on an engine, with the sessions of its stages.

``devices.open_model`` makes one with the engine, variant and threads that suit the machine; everything that runs a
model (transcribers, live captions, the selftest, benchmarks) takes one and chooses nothing by itself.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from . import engines, lengths, tiling
from .audio import loudness
from .bundle.read import Bundle, Variant
from .bundle.spec import (
    FEATURE_LENGTHS,
    FEATURES,
    INPUT_LENGTHS,
    NORMALIZED,
    STAGES,
    ModelSpec,
    Stage,
)
from .engines import Arrays, EngineOptions, Session
from .errors import BundleError, EngineError, InputError

if TYPE_CHECKING:
    from typing_extensions import Self

SMALL_BYTES = 30_000_000
"""Bytes of a variant below which a CPU engine gives the memory of a run back at its end. After windows of up to 30 s in
two threads the embedded model held 116 MB, 230 where it keeps its pool, for 1.0 (10 s) to 1.2 (30 s) of the time; for
larger models the system would clear hundreds of MB again at each run. Its threads also sleep while they wait for the
next operator, which takes less processor time; those of larger models spin for a moment."""


def options_by_size(
    variant: Variant, *, threads: int | None = None, device: str | None = None, longest_seconds: float | None = None
) -> EngineOptions:
    """Options with what depends on whether a variant is small (``SMALL_BYTES``)."""
    large = variant.bytes > SMALL_BYTES
    return EngineOptions(threads, device, longest_seconds, keep_memory=large, spin=large)


class Model:
    """A bundle's variant on an engine; use it as a context manager or call ``close``.

    Sessions are loaded on first use, once for each stage and set of options that the engine reads, whichever thread
    asks first.

    bundle, spec, variant, engine: what runs, and where. options: threads, device and the like, for every session that
    is not requested with others. reason: why this engine and variant were chosen, in words.
    """

    def __init__(
        self,
        bundle: Bundle,
        engine: str,
        variant: str | Variant,
        options: EngineOptions | None = None,
        *,
        reason: str = "named",
        sessions: Mapping[Stage, Session] | None = None,
    ) -> None:
        """Name a variant of a bundle and an engine; sessions are loaded on first use.

        sessions: used for their stages in place of loading them, whatever the options, by a test or by a client that
        brings another engine; then ``engine`` may be any name. Raises BundleError for a variant that the bundle lacks.
        """
        self.bundle = bundle
        self.spec: ModelSpec = bundle.spec
        self.engine = engine
        self.variant = bundle.variant(variant) if isinstance(variant, str) else variant
        self.options = options or EngineOptions()
        self.reason = reason
        self._given = dict(sessions or {})
        self._sessions: dict[tuple[Stage, EngineOptions], Session] = {}
        self._loading = threading.Lock()
        self._closed = False

    @property
    def runs_in_stages(self) -> bool:
        """Whether the front end and the encoder can be run apart, each clip normalised by the caller.

        The graph must normalise (else the caller has nothing to do) and the variant must have both stages. Engines that
        compile each stage for minutes run the whole graph, and one that runs checkpoints has no stages.
        """
        normalizes = self.spec.normalize and self.spec.frontend == "waveform"
        if not normalizes or not {"frontend", "encoder"} <= set(self.variant.graphs):
            return False
        return engines.runs_stages(self.engine)

    @property
    def runs_in_tiles(self) -> bool:
        """Whether the front end is run in pieces (see ``tiling``), which bounds the memory of long clips.

        True on the engines for CPUs, for a variant that has the stages. Otherwise the whole graph is run: on GPUs,
        which gain nothing from small pieces, and for bundles without these stages.
        """
        if self.engine not in engines.DEFAULT_ORDER or not engines.on_cpu(self.options.device):
            return False
        if "full" in self._given or self.spec.frontend != "waveform":
            return False
        if self.spec.head == "xvector" and self.spec.feature_steps is None:  # the head's steps pad nothing either
            return False
        return {*tiling.stages(self.spec), "encoder"} <= set(self.variant.graphs)

    def prepare(self, stage: Stage = "full", options: EngineOptions | None = None) -> None:
        """Load what ``run`` needs for a stage; raises what ``session`` does."""
        whole = stage == "full" and self.runs_in_tiles
        for part in (*tiling.stages(self.spec), "encoder") if whole else (stage,):
            self.session(part, options)

    def session(self, stage: Stage = "full", options: EngineOptions | None = None) -> Session:
        """The session of a stage, loaded on first use; options: None takes the model's.

        Raises EngineError where the engine is missing, refuses the variant or fails, BundleError for a damaged file.
        """
        wanted = options or self.options
        key = (stage, engines.read_of(self.engine, wanted))
        with self._loading:
            if self._closed:
                raise EngineError("the model is closed; open it again")
            if stage in self._given:
                return self._given[stage]
            if key not in self._sessions:
                self._sessions[key] = engines.load(self.bundle, self.variant, self.engine, stage, wanted)
            return self._sessions[key]

    def run(self, stage: Stage, feeds: Arrays, options: EngineOptions | None = None) -> Arrays:
        """Run a stage once on its inputs (see ``spec.STAGES``).

        Raises EngineError, and BundleError where the graph gives other frames than the bundle's spec says.

        Where ``runs_in_tiles`` says so, the front end is run in pieces, and ``full`` as the front end and the encoder;
        the outputs are the same, up to rounding. ``session("full")`` is the whole graph. Features are padded to few
        lengths (``lengths``) for engines that keep something for each, so that the time axes of ``encoder`` may be
        longer than the longest clip.
        """
        if stage == "full":
            clips = [row[:length] for row, length in zip(*(feeds[name] for name in STAGES["full"]))]
            self._check_length(max(map(len, clips), default=0))
            if self.runs_in_tiles and min(map(len, clips)) >= self.spec.min_samples:
                return self._encoded([self._normalized(clip) for clip in clips], options)
        if stage in tiling.stages(self.spec) and self.runs_in_tiles:
            return tiling.run_stage(self._run_whole(options), self.spec, stage, feeds)
        if stage == "encoder":
            feeds = self._of_few_lengths(feeds)
        outputs = self.session(stage, options).run(feeds)
        engines.check_lengths(self.spec, stage, feeds, outputs)
        return outputs

    def outputs(
        self, clips: Sequence[NDArray[np.float32]], options: EngineOptions | None = None
    ) -> list[dict[str, NDArray[np.generic]]]:
        """Every output of clips [samples] at the model's rate, run as one padded batch where the variant ``batches``.

        For each clip its outputs by name, without the batch axis; those with a time axis are cut to the clip's own
        frames, of which a clip that is too short has none. Raises EngineError, also where every clip is too short and
        for no clips.
        """
        if not len(clips):
            raise EngineError("no clips to run")
        if self.variant.batches or len(clips) == 1:
            return self._outputs_together(clips, options)
        self._check_length(max(map(len, clips)))
        silence = np.zeros(self.spec.min_samples, np.float32)  # a clip that is too short runs only beside another
        alone = [[clip] if len(clip) >= self.spec.min_samples else [clip, silence] for clip in clips]
        return [self._outputs_together(each, options)[0] for each in alone]

    def _outputs_together(
        self, clips: Sequence[NDArray[np.float32]], options: EngineOptions | None
    ) -> list[dict[str, NDArray[np.generic]]]:
        return engines.outputs_of(self.spec, self.run("full", engines.as_feeds(*tiling.batched(clips)), options))

    def outputs_of_normalized(
        self, clips: Sequence[NDArray[np.float32]], options: EngineOptions | None = None
    ) -> list[dict[str, NDArray[np.generic]]]:
        """As ``outputs``, for clips that are normalised already, none too short: the front end, then the encoder."""
        self._check_length(min(map(len, clips), default=0))
        if len(clips) > 1 and not self.variant.batches:
            return [self.outputs_of_normalized([clip], options)[0] for clip in clips]
        if self.runs_in_tiles:
            return engines.outputs_of(self.spec, self._encoded(clips, options))
        batch, samples = tiling.batched(clips)
        features = self.run("frontend", {NORMALIZED: batch, INPUT_LENGTHS: samples}, options)
        encoded = self.run("encoder", {name: features[name] for name in (FEATURES, FEATURE_LENGTHS)}, options)
        return engines.outputs_of(self.spec, encoded)

    def _check_length(self, samples: int) -> None:
        if samples < self.spec.min_samples:
            raise EngineError(f"a clip of {samples} samples; the model needs at least {self.spec.min_samples}")

    def _of_few_lengths(self, feeds: Arrays) -> Arrays:
        """The inputs of the encoder with features of one of few lengths; the graph masks what was added."""
        features = np.asarray(feeds[FEATURES], dtype=np.float32)
        length = self._encoder_length(features.shape[1])
        return {**feeds, FEATURES: lengths.extended(features, length)} if length > features.shape[1] else feeds

    def _encoder_length(self, frames: int) -> int:
        """The frames that features of so many are padded to for the encoder."""
        # Imported graphs of one clip mask nothing.
        padded = engines.keeps_lengths(self.engine) and self.spec.max_batch != 1
        return lengths.rounded(frames) if padded else frames

    def _run_whole(self, options: EngineOptions | None) -> tiling.Run:
        """Runs a stage as it is."""
        sessions: dict[Stage, Session] = {}

        def run(stage: Stage, feeds: Arrays) -> Arrays:
            if stage not in sessions:
                sessions[stage] = self.session(stage, options)
            return sessions[stage].run(feeds)

        return run

    def _normalized(self, clip: NDArray[np.float32]) -> NDArray[np.float32]:
        """A clip [samples] as the graph would normalise it."""
        return loudness.measure([clip]).normalized(clip) if self.spec.normalize else clip

    def _encoded(self, clips: Sequence[NDArray[np.float32]], options: EngineOptions | None) -> Arrays:
        """The model's outputs of normalised clips, each through the front end in pieces, then encoded as one batch."""
        run = self._run_whole(options)
        live = (options or self.options).window_seconds is not None
        longest = tiling.LIVE_SECONDS if live else None
        counts = np.array([tiling.frames(self.spec, len(clip)) for clip in clips], np.int64)
        length = self._encoder_length(int(counts.max()))
        batch, _ = tiling.batched([tiling.features(run, self.spec, clip, longest, length) for clip in clips])
        return self.run("encoder", {FEATURES: batch, FEATURE_LENGTHS: counts}, options)

    def logits(
        self, clips: Sequence[NDArray[np.float32]], options: EngineOptions | None = None
    ) -> list[NDArray[np.float32]]:
        """The first output of clips [samples], float32: logits [frames, labels] of a model that transcribes."""
        name = self.spec.outputs[0].name
        return [np.asarray(outputs[name], dtype=np.float32) for outputs in self.outputs(clips, options)]

    def close(self) -> None:
        """Release every session; the model cannot run afterwards. Closing it again does nothing."""
        with self._loading:
            self._closed = True
            sessions = [*self._sessions.values(), *self._given.values()]
            self._sessions, self._given = {}, {}
        for session in sessions:
            session.close()

    def __reduce__(self) -> tuple[object, ...]:
        """Copies, and models that are sent to another process, open the bundle again and load sessions of their own.

        Raises EngineError for a model that is closed, InputError for one whose sessions were given.
        """
        if self._closed:
            raise EngineError("the model is closed; open it again")
        if self._given:
            raise InputError("a model with sessions that were given cannot be copied or pickled; make it where it runs")
        path = self.bundle.directory.absolute()
        return _reopened, (path, self.spec, self.engine, self.variant, self.options, self.reason)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Model {self.bundle.path} {self.variant.name} on {self.engine}>"


def _reopened(path: Path, spec: ModelSpec, engine: str, variant: Variant, options: EngineOptions, reason: str) -> Model:
    """The model of a bundle that was opened before; raises BundleError where it is missing or was changed since."""
    bundle = Bundle.open(path)
    if bundle.spec != spec or bundle.variant(variant.name).sha256 != variant.sha256:
        raise BundleError(f"{path}: this is not the bundle that the model was opened from; open the model again")
    return Model(bundle, engine, variant.name, options, reason=reason)
