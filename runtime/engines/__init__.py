"""Engines: what runs a graph. A file in this folder is an engine; its name, with ``-`` for ``_``, is the engine's.

An engine is a *module* that satisfies the protocol ``Engine``; nothing is imported before it is asked for.
"""

from __future__ import annotations

import dataclasses
import functools
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from ..bundle.read import Bundle, Variant
from ..bundle.spec import ModelSpec, Stage
from ..errors import BundleError, EngineError, InputError, first_line
from ..threads import check_threads
from ._gpu import gpu_memory_used as gpu_memory_used
from ._library import library as library
from ._network import Network as Network
from ._network import open_network as open_network
from ._one_clip import OneClip
from ._outputs import check_lengths as check_lengths
from ._outputs import check_outputs
from ._outputs import checked as checked
from ._outputs import contradiction as contradiction
from ._outputs import outputs_of as outputs_of

Arrays = Mapping[str, NDArray[np.generic]]
BuildProgress = Callable[[str], None]


@dataclass(frozen=True)
class EngineOptions:
    """What may be set on any engine."""

    threads: int | None = None
    """CPU threads; None leaves it to the engine, whose choice is the number of physical cores."""
    device: str | None = None
    """A device by the engine's own name (``CPU``, ``GPU.0``, ``cuda:0``); None: its default."""
    longest_seconds: float | None = None
    """The longest clip to expect, in seconds; engines with fixed shape profiles prepare for it (None: 30 s)."""
    window_seconds: float | None = None
    """The length of a live window, in seconds, for which such engines get a separate profile; None: no window."""
    profiling: bool = False
    """Collect the engine's per-node timings, where it offers them."""
    keep_memory: bool = True
    """Keep the memory that a run has freed for the next one, where the engine has such a pool. Given back at the end of
    each run, less is held after long ones (``model.SMALL_BYTES`` says for which models that costs little time)."""
    spin: bool = False
    """Let threads wait up to 0.2 ms for the next operator in a loop before they sleep, where the engine can be told so.
    Waking up takes a small part of the time of a large model's operators, but where they are short, a loop takes more
    processor time than it saves (benchmarks/spinning.py; ``model.SMALL_BYTES`` says which models are small)."""
    keep_graph: bool = False
    """Run ONNX Runtime's encoder on a CPU as it is in its file. Otherwise its mask is left out, its attention and its
    linear layers are single operators, and batches of clips of several lengths are run clip by clip."""
    keep_compiled: bool = True
    """Write what an engine compiles to the cache directory; false for a variant that the gate may still refuse."""
    must_keep: bool = False
    """Raise InputError where what an engine compiled cannot be kept in the cache directory, and EngineError where
    another process holds it; otherwise the engine runs all the same, and compiles again at the next start."""

    def __post_init__(self) -> None:
        """Raise InputError for a number of threads that no engine takes."""
        if self.threads is not None:
            check_threads(self.threads)


EVERY_OPTION = frozenset(field.name for field in dataclasses.fields(EngineOptions))
"""For engines whose sessions depend on any of them."""


class Session(Protocol):
    """A loaded graph, ready to run; any thread may call ``run`` (an engine that cannot run in parallel takes turns)."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def run(self, feeds: Arrays) -> Arrays:
        """Feed the stage's inputs (see spec.STAGES) and return its outputs by name; raises EngineError."""

    def close(self) -> None:
        """Release what the session holds; it cannot run afterwards."""


Purpose = Literal["inference", "reference", "testing"]
"""What an engine is for: running bundles on a device; computing the checkpoint itself, to compare with; or testing
without a model. Where no engine is named, only those for inference are used."""

Build = Callable[[Bundle, Variant, Stage, "EngineOptions", BuildProgress], Path]
"""Compile and cache a stage ahead of its first use; returns the file. Raises EngineError."""


class Engine(Protocol):
    """What every module of this folder offers, without exception.

    PURPOSE: see ``Purpose``. LIBRARY: the module that it imports, None where it needs none. SHARED: whether runs of
    one session from several threads go on at the same time. KEEPS_LENGTHS: whether it prepares itself for each new
    length and keeps what it prepared; it is given features padded to few lengths. READS: the fields of EngineOptions
    that its sessions depend on; models load one session for all that differ in others only.
    build: None where there is nothing to compile ahead; an engine that has one takes long to load a stage for the
    first time.
    """

    PURPOSE: Purpose
    LIBRARY: str | None
    SHARED: bool
    KEEPS_LENGTHS: bool
    READS: frozenset[str]
    build: Build | None

    def unavailable(self) -> str | None:
        """Why the engine cannot run here and what to do; None when it can."""

    def refuses(self, spec: ModelSpec, variant: Variant) -> str | None:
        """Why the engine should not run this variant; None when it can."""

    def load(self, bundle: Bundle, variant: Variant, stage: Stage, options: EngineOptions) -> Session:
        """Load one stage of a variant; raises EngineError."""


class ReferenceEngine(Engine, Protocol):
    """What a reference engine offers in addition: it computes the checkpoint that a bundle was made from.

    CHECKPOINT: the environment variable that names the checkpoint's directory.
    """

    CHECKPOINT: str

    def not_installed(self) -> str | None:
        """Why its libraries cannot be used and what to do, whatever the checkpoint; None when they can."""

    def matches(self, bundle: Bundle, directory: Path) -> bool:
        """Whether a checkpoint's weights are those that the bundle was made from."""

    def devices(self) -> Sequence[tuple[str, str | None]]:
        """The variants that it computes here, by name, each on its device (None: the CPU)."""


DEFAULT_ORDER = ("onnxruntime", "openvino")
"""The engines for CPUs, in the order in which they are tried where no board profile names others."""

COMBINED = frozenset({"AUTO", "MULTI", "HETERO"})
"""Devices of OpenVINO that give a model to others."""

Status = Literal["runs", "missing", "refused"]


@dataclass(frozen=True)
class Candidate:
    """One engine × variant on this machine.

    variant: None where the engine itself is missing. reason: why it does not run and what to do; empty where it runs.
    """

    engine: str
    variant: Variant | None
    status: Status
    reason: str = ""

    @property
    def runs(self) -> bool:
        """Whether this machine can run it."""
        return self.status == "runs"


def names(purposes: Sequence[Purpose] | None = None) -> tuple[str, ...]:
    """The names of the engines, those that cannot run here included; purposes: only these (None: all)."""
    return tuple(name for name in _modules() if purposes is None or get(name).PURPOSE in purposes)


@functools.cache
def _modules() -> tuple[str, ...]:
    return tuple(sorted(m.name.replace("_", "-") for m in pkgutil.iter_modules(__path__) if m.name[0] != "_"))


def get(name: str) -> Engine:
    """The engine of that name; raises InputError for one that does not exist."""
    if name not in names():
        raise InputError(f"no engine {name!r}; there are {', '.join(names())}")
    return cast(Engine, import_module(f"{__name__}.{name.replace('-', '_')}"))


def reference(name: str) -> ReferenceEngine:
    """A reference engine; raises InputError for an engine that does not exist or is for another purpose."""
    module = get(name)
    if module.PURPOSE != "reference":
        raise InputError(f"engine {name} is for {module.PURPOSE}; it does not compute checkpoints")
    return cast(ReferenceEngine, module)


def missing(name: str) -> str | None:
    """Why an engine cannot run here and what to do, a library that fails while it is imported included; or None.

    Imports the engine's library; raises InputError for an engine that does not exist.
    """
    module = get(name)
    try:
        if reason := module.unavailable():
            return reason
        if module.LIBRARY is not None:
            library(module.LIBRARY)
    except Exception as error:  # a broken installation may raise anything
        return f"its library fails when it is imported ({first_line(error)}); install it again"
    return None


def runnable(
    bundle: Bundle,
    engines: Sequence[str] | None = None,
    variants: Sequence[str] | None = None,
    purposes: Sequence[Purpose] = ("inference",),
) -> Iterator[Candidate]:
    """Every engine × variant of a bundle, with the reason for each that this machine does not run.

    engines: their names, in the order to go through (None: all of the given purposes). variants: their names (None:
    all, those first that the engine prefers; see ``Bundle.ranked``). A missing engine gives one candidate without a
    variant. Raises InputError for an engine, BundleError for a variant that does not exist or a bundle without any.
    """
    if not bundle.variants:
        raise BundleError(f"{bundle.path}: it holds no variant; export the model again")
    chosen = None if variants is None else tuple(bundle.variant(name) for name in variants)
    for name in names(purposes) if engines is None else engines:
        if reason := missing(name):
            yield Candidate(name, None, "missing", reason)
            continue
        for variant in bundle.ranked(name) if chosen is None else chosen:
            reason = refusal(bundle, name, variant)
            yield Candidate(name, variant, "refused" if reason else "runs", reason or "")


def refusal(bundle: Bundle, engine: str, variant: Variant) -> str | None:
    """Why an engine should not run a variant, whether or not it can run here; None when it can."""
    try:
        return get(engine).refuses(bundle.spec, variant)
    except Exception as error:  # as when the library is asked for the device's capabilities and fails
        return f"it cannot say whether it runs {variant.name} ({first_line(error)}); install its library again"


def shares(name: str) -> bool:
    """Whether runs of one session of an engine, from several threads, go on at the same time."""
    return name in names() and get(name).SHARED


def on_cpu(device: str | None) -> bool:
    """Whether a device of ``EngineOptions`` is the CPU, by any of its names in the engines for CPUs."""
    return device is None or device.lower() in ("cpu", "cpuexecutionprovider")


def may_use_cpu(device: str | None) -> bool:
    """Whether a device is the CPU, or one of OpenVINO's that give a model to others, to the CPU among them.

    Those are named as ``AUTO``, ``AUTO:GPU,CPU`` or ``AUTO:-GPU`` (all others).
    """
    if device is None or on_cpu(device):
        return True
    family, _, listed = device.upper().partition(":")
    if family not in COMBINED:
        return False
    names = [name.strip() for name in listed.split(",") if name.strip()]
    taken = [name for name in names if not name.startswith("-")]
    return any(name.startswith("CPU") for name in taken) if taken else "-CPU" not in names


def keeps_lengths(name: str) -> bool:
    """Whether the features for an engine are padded to few lengths, because it keeps something for each."""
    return name in names() and get(name).KEEPS_LENGTHS


def read_of(name: str, options: EngineOptions) -> EngineOptions:
    """The options with every field that an engine does not read at its default."""
    if name not in names():
        return options
    return EngineOptions(**{field: getattr(options, field) for field in get(name).READS})


def compiles(name: str) -> bool:
    """Whether an engine compiles each stage before its first run, which takes minutes (``build`` does it ahead)."""
    return name in names() and get(name).build is not None


def runs_stages(name: str) -> bool:
    """Whether an engine runs front end and encoder apart at little cost: one that takes graphs, and compiles none."""
    return name in names() and get(name).PURPOSE != "reference" and not compiles(name)


def load(
    bundle: Bundle, variant: Variant, engine: str, stage: Stage = "full", options: EngineOptions | None = None
) -> Session:
    """Load one stage of a variant in an engine, its files' digests checked.

    Raises EngineError when the engine is unavailable here or refuses the variant, BundleError when a file is damaged.
    """
    module = get(engine)
    if reason := missing(engine):
        raise EngineError(f"engine {engine}: {reason}")
    if reason := refusal(bundle, engine, variant):
        raise EngineError(f"engine {engine} does not run {variant.name}: {reason}")
    bundle.graph(variant, stage)
    bundle.verify(variant, stage)
    session = module.load(bundle, variant, stage, options or EngineOptions())
    if stage in ("full", "encoder"):
        check_outputs(session, bundle.spec)
    return session if bundle.spec.max_batch is None else OneClip(session)


def as_feeds(batch: NDArray[np.float32], lengths: NDArray[np.int64]) -> dict[str, NDArray[np.generic]]:
    """The feeds of stage ``full``: float32 [batch, samples] and int64 [batch]."""
    return {
        "input_values": np.ascontiguousarray(batch, dtype=np.float32),
        "input_lengths": np.ascontiguousarray(lengths, dtype=np.int64),
    }


def outputs_alone(session: Session, spec: ModelSpec, clip: NDArray[np.float32]) -> dict[str, NDArray[np.generic]]:
    """The outputs of one clip [samples] of a session of the stage ``full``, run alone; raises EngineError."""
    return outputs_of(spec, session.run(as_feeds(clip[None], np.array([len(clip)], dtype=np.int64))))[0]
