"""The models that a server offers, each under a name, ready for files and for live sound."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..devices.choice import threads_for
from ..devices.open import live_settings, open_model
from ..runtime import engines
from ..runtime.bundle import embedded
from ..runtime.errors import InputError
from ..runtime.live.settings import LiveSettings
from ..runtime.live.transcriber import LiveTranscriber
from ..runtime.model import SMALL_BYTES, Model
from ..runtime.recordings.transcriber import Transcriber
from .scheduler import SchedulerSettings

EMBEDDED = "wav2edge-demo"
"""The name of the embedded demo model."""

_THREADS_OF_LARGE = 4
"""Threads that one run of a large model is given where there are more; not measured."""

_BATCH_SECONDS = 60.0
"""Of an engine that compiles, which is a GPU's; not measured."""


@dataclass(frozen=True)
class ServedModel:
    """A model under the name that clients ask for."""

    name: str
    model: Model
    live: LiveTranscriber
    transcriber: Transcriber

    @property
    def wer(self) -> dict[str, float]:
        """Its word error rates by test set, in percent, as stated in its bundle; empty where there are none."""
        found = self.model.bundle.provenance.get("wer")
        return {str(name): float(value) for name, value in found.items()} if isinstance(found, dict) else {}


@dataclass(frozen=True)
class Catalogue:
    """All models of a server; the first is the default."""

    models: tuple[ServedModel, ...]
    settings: SchedulerSettings

    def get(self, name: str | None) -> ServedModel | None:
        """The model of a name, the first for None; None where there is none of that name."""
        if name is None:
            return self.models[0]
        return next((model for model in self.models if model.name == name), None)

    @property
    def names(self) -> tuple[str, ...]:
        """Their names, in order."""
        return tuple(model.name for model in self.models)

    def close(self) -> None:
        """Close every model."""
        for each in self.models:
            each.model.close()


def open_models(
    bundles: Sequence[str | Path],
    engine: str | None = None,
    variant: str | None = None,
    *,
    threads: int | None = None,
    device: str | None = None,
    settings: LiveSettings | None = None,
    batch_seconds: float | None = None,
) -> Catalogue:
    """Open the models to serve, each by a bundle's path or as ``NAME=PATH``; none means the embedded demo model.

    A model is named as its folder is. threads: of all runs together (None: what suits this machine); small models run
    several windows at once on one thread each, because their operators are too short to share. settings: of live
    captions (None: this machine's). batch_seconds: of the scheduler (None: 0 on a CPU).

    Raises InputError for two of one name and for a model that does not transcribe, and what ``open_model`` raises.
    """
    total = threads or threads_for()
    opened: list[tuple[str, Model]] = []
    for given in bundles or (None,):
        name, path = _named(given)
        if name in [other for other, _ in opened]:
            raise InputError(f"two models are named {name}; write NAME=PATH for one of them")
        opened.append((name, open_model(path, engine, variant, threads=threads, device=device)))
    lanes = min(_lanes(model, total) for _, model in opened)
    models = []
    for name, model in opened:
        if lanes > 1:
            # A thread that spins would take the time of another run.
            each = dataclasses.replace(model.options, threads=max(1, total // lanes), spin=False)
            model = Model(model.bundle, model.engine, model.variant, each, reason=model.reason)
        live = LiveTranscriber(model, settings or live_settings())
        models.append(ServedModel(name, model, live, Transcriber(model)))
    if batch_seconds is None:
        batch_seconds = _BATCH_SECONDS if all(engines.compiles(model.engine) for _, model in opened) else 0.0
    return Catalogue(tuple(models), SchedulerSettings(lanes, batch_seconds))


def _named(given: str | Path | None) -> tuple[str, str | Path | None]:
    if given is None:
        return EMBEDDED, None
    name, equals, path = str(given).partition("=")
    if equals and "/" not in name:
        return name, path
    folder = Path(given)
    return (EMBEDDED if folder == embedded.bundle_path() else folder.resolve().name), given


def _lanes(model: Model, threads: int) -> int:
    """How many runs of a model go on at once: each thread its own for a small one on a CPU."""
    if not engines.shares(model.engine):
        return 1
    return threads if model.variant.bytes <= SMALL_BYTES else max(1, threads // _THREADS_OF_LARGE)
