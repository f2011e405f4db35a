"""A session for clips of any length beside sessions for single clips of a few lengths, each compiled for its length."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ..bundle.spec import NORMALIZED
from . import Arrays, _openvino_copies, _openvino_fixed
from ._openvino_compiler import Compiler
from ._openvino_session import OpenVinoSession

if TYPE_CHECKING:
    from openvino import CompiledModel, Model


class FixedLengths:
    """A session for any clips, and for single ones of some lengths a session each, compiled when they first come."""

    def __init__(
        self, any_length: OpenVinoSession, compiler: Compiler, prepared: Model, lengths: frozenset[int]
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
