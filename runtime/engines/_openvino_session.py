"""One compiled OpenVINO model and its inference request.

The first run packs the weights: from then on they would be in memory twice, packed and as pages of the file that they
are read from (the bundle's where the model was compiled just now, else the cache's), which are given back. So that the
largest tensors do not come on top of both, an encoder's first run is on few frames.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..bundle.spec import FEATURE_LENGTHS, FEATURES, STAGES, Stage
from ..errors import EngineError
from . import Arrays, _mapped
from ._running import running

if TYPE_CHECKING:
    from openvino import CompiledModel

_FEW = 32
"""Frames of an encoder's first run."""


class OpenVinoSession:
    """A compiled model and one inference request; ``raw`` is the library's compiled model."""

    def __init__(self, compiled: CompiledModel, stage: Stage, known: set[str], read: Sequence[Path]) -> None:
        """Wrap a compiled model; inputs that the graph does not use are left out.

        known: the outputs' names in the contract; OpenVINO gives a port every name that its value had in the graph.
        read: the files that the compiled model's weights are read from, or their folders.
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
                raise EngineError(f"openvino failed: {reason(error)}") from error
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


def reason(error: BaseException) -> str:
    """The line of OpenVINO's long exceptions that names the cause: the last one that is not a source location."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return (telling or lines or [type(error).__name__])[-1]
