"""What the ONNX Runtime engines share: a session that runs on the provider it was opened for, or an error."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..bundle.read import Bundle, Variant
from ..bundle.spec import STAGES, Stage
from ..errors import EngineError, first_line
from . import Arrays, EngineOptions
from ._library import library
from ._running import running

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, RunOptions, SessionOptions

CPU = "CPUExecutionProvider"
# fmt: off
SHAPE_WORK = frozenset(
    {
        "Shape", "Size", "Gather", "Slice", "Concat", "Unsqueeze", "Squeeze", "Cast", "Constant", "ConstantOfShape",
        "Range", "Reshape", "Identity", "Expand", "Where", "Equal", "Less", "LessOrEqual", "Greater",
        "GreaterOrEqual", "Not", "And", "Or", "Add", "Sub", "Mul", "Div", "Mod", "Floor", "Ceil", "Min", "Max", "Neg",
        "Abs", "Sign", "If", "ReduceProd", "ReduceMax", "ReduceMin", "ReduceSum", "MemcpyToHost", "MemcpyFromHost",
    }
)
# fmt: on
"""Operators that ONNX Runtime puts on the CPU on purpose, because they compute shapes; anything else there is a
fallback. https://github.com/microsoft/onnxruntime/issues/17930"""


_LIMITED_SPINNING = (1, 27)
"""The first version whose threads can be told how long to spin."""
_SPIN_US, _PAUSES = 200, 64
"""Microseconds, and pauses of the processor between two looks at the queue."""


def provider_missing(provider: str, remedy: str) -> str | None:
    """The reason where the installed onnxruntime was built without a provider; None when it has it."""
    ort = library("onnxruntime")

    if provider in ort.get_available_providers():
        return None
    return f"the installed onnxruntime {ort.__version__} has no {provider}; {remedy}"


def open_session(
    bundle: Bundle,
    variant: Variant,
    stage: Stage,
    options: EngineOptions,
    providers: Sequence[tuple[str, Mapping[str, str]]],
    graph: bytes | None = None,
) -> InferenceSession:
    """A session on the first provider of the list; graph: an ONNX file to load in place of the stage's.

    Raises EngineError when ONNX Runtime refuses the graph, and when it would run any of it (shape arithmetic aside)
    on the CPU unasked: it falls back without a warning, so the providers and the placement of operators are checked.
    """
    ort = library("onnxruntime")

    wanted = providers[0][0]
    settings = _settings(variant, options, wanted)
    name, path = variant.graphs[stage], bundle.graph(variant, stage)
    if graph is not None:
        settings.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path.parent))
    try:
        session = ort.InferenceSession(
            str(path) if graph is None else graph,
            settings,
            providers=[provider for provider, _ in providers],
            provider_options=[dict(values) for _, values in providers],
        )
    except Exception as error:  # onnxruntime's exceptions share no public base class
        raise EngineError(f"onnxruntime cannot load {name} on {wanted}: {first_line(error)}") from error
    session.disable_fallback()
    used = session.get_providers()
    if not used or used[0] != wanted:
        raise EngineError(
            f"onnxruntime fell back from {wanted} to {', '.join(used) or 'nothing'}; "
            "its CUDA, cuDNN or TensorRT libraries do not load here: `wav2edge devices` says what is missing"
        )
    if wanted != CPU and (strays := strays_on_cpu(session)):
        raise EngineError(
            f"{wanted} leaves {', '.join(strays)} of {name} to the CPU; use another variant or another engine"
        )
    return session


def _settings(variant: Variant, options: EngineOptions, provider: str) -> SessionOptions:
    ort = library("onnxruntime")

    settings = ort.SessionOptions()
    settings.log_severity_level = 3
    if options.threads is not None:
        settings.intra_op_num_threads = options.threads
    # One graph node at a time: the family's graphs are a chain, parallel execution only costs threads.
    settings.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    if options.profiling:
        settings.enable_profiling = True
    if provider == CPU:
        for key, value in _waiting(options).items():
            settings.add_session_config_entry(f"session.intra_op.{key}", value)
    else:
        settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    if (variant.scheme or "").startswith("u8"):
        # Its keys and values are signed. By default ONNX Runtime makes them unsigned on x86, in front of the product or
        # on the way to it: the same numbers, but up to one and a half times the time of the product.
        settings.add_session_config_entry("session.qdqisint8allowed", "1")
    # Memory patterns are kept for each length and reserve a block in addition to what the first run took: 804 MB in
    # place of 451 for 30 s of base shape in INT8, in the same time (docs/explanation/memory.md).
    settings.enable_mem_pattern = False
    return settings


def _waiting(options: EngineOptions) -> dict[str, str]:
    """How threads wait for the next operator: by default ONNX Runtime's do so in a loop, for about 30 ms."""
    version = tuple(map(int, library("onnxruntime").__version__.split(".")[:2]))
    if options.spin and version >= _LIMITED_SPINNING:
        return {"spin_duration_us": str(_SPIN_US), "spin_backoff_max": str(_PAUSES)}
    return {"allow_spinning": "0"}


def strays_on_cpu(session: InferenceSession) -> list[str]:
    """Operator kinds, shape arithmetic aside, that a session runs on the CPU; empty before ONNX Runtime 1.24."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return []
    found: set[str] = set()
    for subgraph in session.get_provider_graph_assignment_info():
        if subgraph.ep_name == CPU:
            found.update(node.op_type for node in subgraph.get_nodes())
    return sorted(found - SHAPE_WORK)


class OnnxRuntimeSession:
    """A loaded ONNX Runtime session; ``raw`` is the library's own object."""

    def __init__(self, session: InferenceSession, stage: Stage, keep_memory: bool = True) -> None:
        """Wrap a session; inputs that the graph does not use (lengths of a layer-norm frontend) are left out.

        keep_memory: False gives the memory of a run on the CPU back at its end. Without any pool the system clears
        every tensor above 32 MB again: runs of 30 s took three times as long.
        """
        self.raw: InferenceSession | None = session
        self._options: RunOptions | None = None
        if not keep_memory and sys.maxsize > 2**32:  # 32-bit builds have no pool, and refuse to shrink it
            self._options = library("onnxruntime").RunOptions()
            self._options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        names = {item.name for item in session.get_inputs()}
        self.inputs = tuple(name for name in STAGES[stage] if name in names)
        self.outputs = tuple(item.name for item in session.get_outputs())

    def run(self, feeds: Arrays) -> Arrays:
        """Run once; any number of threads may. Raises EngineError."""
        session = self.raw
        if session is None:
            raise EngineError("the session is closed")
        try:
            with running:
                values = session.run(None, {name: feeds[name] for name in self.inputs}, self._options)
        except EngineError:
            raise
        except Exception as error:  # onnxruntime's exceptions share no public base class
            raise EngineError(f"onnxruntime failed: {first_line(error)}") from error
        return dict(zip(self.outputs, values))

    def close(self) -> None:
        """Drop the session."""
        self.raw = None
