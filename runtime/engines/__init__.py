"""Engines: what runs a graph. A file in this folder is an engine; its name, with ``-`` for ``_``, is its CLI name.

An engine is a *module* that satisfies the protocol ``Engine``; nothing is imported before it is asked for.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from ..bundle.read import Bundle, Variant
from ..bundle.spec import ModelSpec
from ..errors import EngineError, InputError

Arrays = Mapping[str, NDArray[Any]]
BuildProgress = Callable[[str], None]


@dataclass(frozen=True)
class EngineOptions:
    """What a user may set on any engine.

    threads: CPU threads (None: the engine's own choice, which is the number of physical cores).
    device: an engine's device by its own name (``CPU``, ``GPU.0``, ``cuda:0``), None for its default.
    longest_seconds: the longest clip to expect; engines with fixed shape profiles prepare for it.
    window_seconds: the length of a live window, which such engines then serve with a profile of its own.
    profiling: ask for the engine's own per-node profile where it has one.
    keep_memory: hold what a run has freed for the next one, where the engine has such a pool; without it less memory is
    taken where runs differ in length or overlap.
    keep_compiled: keep what an engine compiles in the cache directory; not for a candidate that may be refused.
    """

    threads: int | None = None
    device: str | None = None
    longest_seconds: float | None = None
    window_seconds: float | None = None
    profiling: bool = False
    keep_memory: bool = True
    keep_compiled: bool = True


class Session(Protocol):
    """A loaded graph, ready to run."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def run(self, feeds: Arrays) -> Arrays:
        """Feed the stage's inputs (see spec.STAGES) and return its outputs by name; raises EngineError."""

    def close(self) -> None:
        """Give back what the session holds; it cannot run afterwards."""


class Engine(Protocol):
    """What a module of this folder offers.

    It may also offer ``build(bundle, variant, stage, options, progress) -> Path``, which compiles and caches ahead
    of first use, and says through ``progress`` what it does; ``SHARED = True``, where one session can be run from
    several threads at once; and ``LIBRARY``, the module that it imports.
    """

    def unavailable(self) -> str | None:
        """Why the engine cannot run here and what mends it; None when it can."""

    def refuses(self, spec: ModelSpec, variant: Variant) -> str | None:
        """Why the engine should not run this variant; None when it can."""

    def load(self, bundle: Bundle, variant: Variant, stage: str, options: EngineOptions) -> Session:
        """Load one stage of a variant; raises EngineError."""


def names() -> tuple[str, ...]:
    """The CLI names of all engines, those that cannot run here included."""
    return tuple(sorted(m.name.replace("_", "-") for m in pkgutil.iter_modules(__path__) if m.name[0] != "_"))


def get(name: str) -> Engine:
    """The engine of that CLI name; raises InputError for one that does not exist."""
    if name not in names():
        raise InputError(f"no engine {name!r}; there are {', '.join(names())}")
    return cast(Engine, import_module(f"{__name__}.{name.replace('-', '_')}"))


def missing(name: str) -> str | None:
    """Why an engine cannot run here and what mends it, a library that breaks while it is imported included; or None.

    Imports the engine's library; raises InputError for an engine that does not exist.
    """
    module = get(name)
    try:
        if reason := module.unavailable():
            return reason
        if library := getattr(module, "LIBRARY", None):
            import_module(library)
    except Exception as error:  # what a broken installation raises is not for us to know
        lines = str(error).strip().splitlines()
        return f"its library breaks when it is loaded ({lines[0] if lines else type(error).__name__}); install it anew"
    return None


def shares(name: str) -> bool:
    """Whether one session of an engine can be run from several threads at once."""
    return name in names() and bool(getattr(get(name), "SHARED", False))


def load(
    bundle: Bundle, variant: Variant, engine: str, stage: str = "full", options: EngineOptions | None = None
) -> Session:
    """Load one stage of a variant in an engine, its files' digests checked.

    Raises EngineError when the engine is unavailable here or refuses the variant, BundleError when a file is damaged.
    """
    module = get(engine)
    if reason := missing(engine):
        raise EngineError(f"engine {engine}: {reason}")
    if reason := module.refuses(bundle.spec, variant):
        raise EngineError(f"engine {engine} does not run {variant.name}: {reason}")
    bundle.graph(variant, stage)
    bundle.verify(variant, stage)
    return module.load(bundle, variant, stage, options or EngineOptions())


def as_feeds(batch: NDArray[np.float32], lengths: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """The feeds of stage ``full``: float32 [batch, samples] and int64 [batch]."""
    return {
        "input_values": np.ascontiguousarray(batch, dtype=np.float32),
        "input_lengths": np.ascontiguousarray(lengths, dtype=np.int64),
    }
