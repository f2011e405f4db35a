"""OpenVINO: the fastest engine for symmetric INT8 (s8s8) on x86, and the one for Intel's graphics and NPUs.

Compiled models are kept in the cache directory (``openvino/``), keyed by the variant's digests, and within by OpenVINO
itself from the graph, the device and the options: a second start skips the compilation. One compiled model runs every
length; each new one is prepared once, which takes up to as long as a run, and kept.

The first run packs the weights: from then on they would be in memory twice, packed and as pages of the file that they
are read from (the bundle's where the model was compiled just now, else the cache's), which are given back. So that the
largest tensors do not come on top of both, an encoder's first run is on few frames.

The pieces of a second and more that a clip's front end runs in (runtime/tiling.py) are of three lengths. In INT8 the
model is compiled for each of them when it first comes: 0.1 s at base shape, for a front end that takes 0.94 of the time
(_openvino_fixed.py), with the same results to the last bit.
"""

from __future__ import annotations

import contextlib
import importlib.util
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import cache, remedies, tiling
from ..bundle.read import Bundle, Variant
from ..bundle.spec import BETWEEN_STAGES, FEATURE_LENGTHS, FEATURES, NORMALIZED, STAGES, ModelSpec, Stage
from ..errors import EngineError, InputError
from . import (
    Arrays,
    Build,
    EngineOptions,
    Purpose,
    Session,
    _mapped,
    _openvino_bfloat16,
    _openvino_copies,
    _openvino_first,
    _openvino_fixed,
    _openvino_groups,
    _openvino_moves,
    _openvino_padding,
    _openvino_unsigned,
)
from ._library import library
from ._running import running

if TYPE_CHECKING:
    from openvino import CompiledModel, Core, Model

PURPOSE: Purpose = "inference"
LIBRARY: str | None = "openvino"
SHARED = False
KEEPS_LENGTHS = True
READS = frozenset({"threads", "device", "profiling", "keep_compiled"})
build: Build | None = None


DEVICE = "CPU"
_KEPT = 512
"""Kernels of a kind that are kept for lengths that were run before. The 32 lengths of base shape take 576; one that was
dropped is prepared again. With the library's default of 5000 memory goes on growing where batches, or graphs that mask
nothing, bring more lengths."""
_LONGEST_WAIT = 120.0
"""Seconds to wait for another process that compiles the same stage."""
_FEW = 32
"""Frames of an encoder's first run."""
_FIXED = {"SNIPPETS_MODE": "DISABLE"}
"""Settings for a fixed length. OpenVINO would compute element-wise operators by other kernels than where lengths vary,
whose results differ in the last bit, and in INT8 one value in a million by a step of its quantiser."""
_OF_STRETCHES: tuple[Stage, ...] = ("frontend", "tile")
"""The stages that give the features of one stretch of a clip after the other."""


def unavailable() -> str | None:
    """Why OpenVINO cannot run here; None when it can."""
    if importlib.util.find_spec("openvino") is None:
        return f"openvino is not installed; install it with `{remedies.install('openvino')}`"
    return None


def refuses(spec: ModelSpec, variant: Variant) -> str | None:
    """Bfloat16 needs a device that computes in it; fp16, INT8 and INT4 run on every one."""
    if variant.bfloat16 and "BF16" not in _capabilities(DEVICE):
        return "this CPU computes no bfloat16 (it needs avx512_bf16 or amx_bf16); use fp32 or int8-s8s8"
    return None


def load(bundle: Bundle, variant: Variant, stage: Stage, options: EngineOptions) -> Session:
    """Load a stage on ``options.device`` (default: CPU); raises EngineError naming the devices there are."""
    openvino = library("openvino")

    core = openvino.Core()
    device = options.device or DEVICE
    family = _family(device)
    # Asking for the devices loads the plugins for graphics and NPUs, which take 19 MB.
    have = core.available_devices if family != DEVICE else [DEVICE]
    if family not in {*(name.split(".")[0] for name in have), "AUTO", "MULTI", "HETERO"}:
        raise EngineError(f"openvino has no device {device} here; it has {', '.join(have) or 'none'}")
    settings: dict[str, str | int] = {
        "PERFORMANCE_HINT": "LATENCY",
        # Without the hint a CPU with bfloat16 computes fp32 variants in bfloat16. Statistics take longer in it.
        "INFERENCE_PRECISION_HINT": "bf16" if variant.bfloat16 and stage != "statistics" else "f32",
    }
    if family not in ("CPU", "AUTO"):
        settings["INFERENCE_PRECISION_HINT"] = "f32" if variant.precision == "fp32" else "f16"
    if family == "CPU":
        settings["CPU_RUNTIME_CACHE_CAPACITY"] = _KEPT
        if options.threads is not None:
            settings["INFERENCE_NUM_THREADS"] = options.threads
    if options.profiling:
        settings["PERF_COUNT"] = True
    compiler = _Compiler(core, bundle, variant, stage, device, settings, options.keep_compiled)
    if family != DEVICE or not (variant.precision == "int8" or variant.bfloat16):
        return compiler.session(compiler.read)
    prepared: list[Model] = []

    def adapted() -> Model:
        model = compiler.read()
        prepare(model, variant.bfloat16)
        if stage in _OF_STRETCHES and _openvino_fixed.gains(model) and _can_fix_lengths():
            prepared.append(model.clone())
        _openvino_copies.spare_copies(model)
        return model

    session = compiler.session(adapted)
    if not prepared:
        return session
    return FixedLengths(session, compiler, prepared[0], tiling.long_stretches(bundle.spec))


def _family(device: str) -> str:
    """``CPU`` of ``CPU``, ``GPU`` of ``GPU.1``, ``AUTO`` of ``AUTO:GPU,CPU``."""
    return device.split(".")[0].split(":")[0]


def _kept_folder(variant: Variant, parts: Mapping[str, object], held: contextlib.ExitStack) -> Path | None:
    """The folder of what OpenVINO compiles, which no other process uses until ``held`` ends; None where there is none.

    OpenVINO reads compiled models that another process is writing. A machine without a writable cache still runs; it
    only compiles at each start, as where another process holds the folder for too long.
    """
    try:
        kept = cache.compiled("openvino", variant.sha256, cache.key(parts))
        held.enter_context(cache.lock(kept.with_name(f"{kept.name}.lock"), timeout=_LONGEST_WAIT))
    except (InputError, TimeoutError):
        return None
    return kept


def _unchanged(kept: Path | None) -> dict[str, str]:
    """The digests of the compiled models in a folder of the cache that are as they were written; others are removed."""
    return {} if kept is None else cache.drop_changed(kept, "*.blob")


@dataclass(frozen=True)
class _Compiler:
    """Compiles a stage of a variant on a device, for clips of any length or for one of a fixed length."""

    core: Core
    bundle: Bundle
    variant: Variant
    stage: Stage
    device: str
    settings: Mapping[str, str | int]
    keep: bool
    """Whether what is compiled is kept in the cache directory."""

    def read(self) -> Model:
        """The graph of the stage."""
        return self.core.read_model(str(self.bundle.graph(self.variant, self.stage)))

    def session(self, make: Callable[[], Model], samples: int | None = None) -> OpenVinoSession:
        """A session of the model that ``make`` gives, for one clip of so many samples (None: any clips).

        Raises EngineError.
        """
        # A folder for each stage, its settings and its length: every file in it is read whole to be checked.
        settings = dict(self.settings)
        parts = {"stage": self.stage, "device": self.device}
        if samples is not None:
            settings |= _FIXED
            parts["samples"] = str(samples)
        with contextlib.ExitStack() as held:
            kept = _kept_folder(self.variant, {**parts, **settings}, held) if self.keep else None
            if kept is not None:
                settings["CACHE_DIR"] = str(kept)
            try:
                with ThreadPoolExecutor(1) as beside:  # what was compiled is checked while the model is made
                    checking = beside.submit(_unchanged, kept)
                    model = make()
                unchanged = checking.result()
                compiled = self.core.compile_model(model, self.device, settings)
            except RuntimeError as error:
                graph = self.bundle.graph(self.variant, self.stage).name
                raise EngineError(f"openvino cannot load {graph} on {self.device}: {_reason(error)}") from error
            if kept is not None:
                with contextlib.suppress(InputError):
                    cache.record_digests(kept, "*.blob", unchanged)
        # What was compiled just now reads its weights from the bundle, what was kept from its own file.
        read = (self.bundle.directory.resolve(), *(() if kept is None else (kept,)))
        _mapped.release(*read)
        return OpenVinoSession(compiled, self.stage, {*self.bundle.spec.output_names, *BETWEEN_STAGES}, read)


def adapt(model: Model, bfloat16: bool = False) -> None:
    """Rewrite an INT8 or bfloat16 model in place for this CPU, where that is faster or needed for the right numbers.

    bfloat16: what is not INT8 will be computed in bfloat16. Raises EngineError for what this CPU computes wrongly.
    """
    prepare(model, bfloat16)
    _openvino_copies.spare_copies(model)


def prepare(model: Model, bfloat16: bool = False) -> None:
    """``adapt`` without the last rewrite, which a model for a fixed length gets after one of its own."""
    if _openvino_groups.needed():
        _openvino_groups.join_groups(model, bfloat16)
    if not bfloat16:
        _openvino_first.quantize_apart(model)
    _openvino_padding.pad_before(model)
    if _openvino_unsigned.helps():
        _openvino_unsigned.read_unsigned(model)
    _openvino_moves.move_integers(model)
    if bfloat16:
        _openvino_bfloat16.quantize_elementwise(model)


class OpenVinoSession:
    """A compiled model and one inference request; ``raw`` is the library's compiled model."""

    def __init__(self, compiled: CompiledModel, stage: Stage, known: set[str], read: Sequence[Path]) -> None:
        """Wrap a compiled model; inputs that the graph does not use are left out.

        known: the outputs' names in the contract; OpenVINO gives a port every name that its value had in the graph.
        read: the folders of the files that the compiled model's weights are read from.
        """
        self._read = read
        self._packed = False  # whether it ran
        self.raw = compiled
        self._request = compiled.create_infer_request()
        self._turn = threading.Lock()
        names = {name for port in compiled.inputs for name in port.names}
        self.inputs = tuple(name for name in STAGES[stage] if name in names)
        self.outputs = tuple(min(known & port.names, default=port.any_name) for port in compiled.outputs)

    def run(self, feeds: Arrays) -> Arrays:
        """Run once, in turn with other threads; the outputs are copies that stay valid. Raises EngineError."""
        with self._turn, running:
            if self._request is None:
                raise EngineError("the session is closed")
            try:
                if not self._packed and FEATURES in self.inputs and feeds[FEATURES].shape[1] > _FEW:
                    few = {
                        FEATURES: feeds[FEATURES][:, :_FEW],
                        FEATURE_LENGTHS: np.minimum(feeds[FEATURE_LENGTHS], _FEW),
                    }
                    self._infer({**feeds, **few})
                self._infer(feeds)
            except RuntimeError as error:
                raise EngineError(f"openvino failed: {_reason(error)}") from error
            return {name: self._request.get_tensor(name).data.copy() for name in self.outputs}

    def _infer(self, feeds: Arrays) -> None:
        assert self._request is not None
        with contextlib.nullcontext() if self._packed else _mapped.releasing(*self._read):
            self._request.infer({name: feeds[name] for name in self.inputs}, share_inputs=True, share_outputs=True)
        self._packed = True

    def close(self) -> None:
        """Drop the compiled model, after a run that has begun."""
        with self._turn:
            self._request = None
            self.raw = None


class FixedLengths:
    """A session for any clips, and for single ones of some lengths a session each, compiled when they first come."""

    def __init__(
        self, any_length: OpenVinoSession, compiler: _Compiler, prepared: Model, lengths: frozenset[int]
    ) -> None:
        """prepared: the model as ``prepare`` leaves it. lengths: in samples."""
        self._any = any_length
        self._compiler = compiler
        self._prepared = prepared
        self._lengths = lengths
        self._fixed: dict[int, OpenVinoSession] = {}
        self._loading = threading.Lock()
        self.inputs, self.outputs = any_length.inputs, any_length.outputs

    @property
    def lengths(self) -> tuple[int, ...]:
        """The lengths that were run so far, in samples."""
        return tuple(sorted(self._fixed))

    @property
    def raw(self) -> CompiledModel | None:
        """The compiled model for any clips; None when the session is closed."""
        return self._any.raw

    def run(self, feeds: Arrays) -> Arrays:
        """Run once, in turn with other threads; the outputs are copies that stay valid. Raises EngineError."""
        clips, samples = feeds[NORMALIZED].shape
        return self._of_length(samples).run(feeds) if clips == 1 and samples in self._lengths else self._any.run(feeds)

    def _of_length(self, samples: int) -> OpenVinoSession:
        with self._loading:
            if samples not in self._fixed and self._any.raw is not None:
                self._fixed[samples] = self._compiler.session(lambda: self._model(samples), samples)
            return self._fixed.get(samples, self._any)

    def _model(self, samples: int) -> Model:
        model = self._prepared.clone()
        _openvino_fixed.fix_length(model, samples)
        _openvino_copies.spare_copies(model)
        return model

    def close(self) -> None:
        """Drop the compiled models, after runs that have begun."""
        with self._loading:
            sessions = [self._any, *self._fixed.values()]
            for session in sessions:
                session.close()


def _can_fix_lengths() -> bool:
    """Whether this CPU is of those where it was found to be faster, and OpenVINO knows the settings."""
    openvino = library("openvino")

    if not _openvino_unsigned.helps():
        return False
    try:
        openvino.Core().set_property(DEVICE, _FIXED)
    except RuntimeError:
        return False
    return True


def _capabilities(device: str) -> list[str]:
    openvino = library("openvino")

    return list(openvino.Core().get_property(device, "OPTIMIZATION_CAPABILITIES"))


def _reason(error: BaseException) -> str:
    """The line of OpenVINO's long exceptions that names the cause: the last one that is not a source location."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return (telling or lines or [type(error).__name__])[-1]
