"""Compile a stage for OpenVINO, or take what was compiled before from the cache directory.

Compiled models are kept in ``openvino/``, keyed by the variant's digests, and within by OpenVINO itself from the graph,
the device and the options: a second start skips the compilation.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .. import cache
from ..bundle.read import Bundle, Variant
from ..bundle.spec import BETWEEN_STAGES, Stage
from ..errors import EngineError, InputError
from . import _mapped
from ._openvino_session import OpenVinoSession, reason

if TYPE_CHECKING:
    from openvino import CompiledModel, Core, Model

FIXED = {"SNIPPETS_MODE": "DISABLE"}
"""Settings for a fixed length. OpenVINO would compute element-wise operators by other kernels than where lengths vary,
whose results differ in the last bit, and in INT8 one value in a million by a step of its quantiser."""
_LONGEST_WAIT = 120.0
"""Seconds to wait for another process that compiles the same stage."""


@dataclass(frozen=True)
class Compiler:
    """Compiles a stage of a variant on a device, for clips of any length or for one of a fixed length."""

    core: Core
    bundle: Bundle
    variant: Variant
    stage: Stage
    device: str
    settings: Mapping[str, str | int]
    keep: bool
    """Whether what is compiled is kept in the cache directory."""
    must_keep: bool = False
    """Whether it is an error that it cannot be kept there."""

    def read(self) -> Model:
        """The graph of the stage."""
        return self.core.read_model(str(self.bundle.graph(self.variant, self.stage)))

    def session(self, make: Callable[[], Model], samples: int | None = None) -> OpenVinoSession:
        """A session of the model that ``make`` gives, for one clip of so many samples (None: any clips).

        Raises EngineError; with ``must_keep`` also InputError where what was compiled could not be kept.
        """
        # A folder for each stage, its settings and its length: every file in it is read whole to be checked.
        settings = dict(self.settings)
        parts = {"stage": self.stage, "device": self.device}
        if samples is not None:
            settings |= FIXED
            parts["samples"] = str(samples)
        with contextlib.ExitStack() as held:
            kept = self._kept_folder({**parts, **settings}, held) if self.keep else None
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
                raise EngineError(f"openvino cannot load {graph} on {self.device}: {reason(error)}") from error
            if kept is not None:
                self._record(kept, unchanged, compiled)
        # What was compiled just now reads its weights from the bundle, what was kept from its own file.
        places = [*(self.bundle.directory / name for name in self.variant.files), *(() if kept is None else (kept,))]
        read = tuple(place.resolve() for place in places)
        _mapped.release(*read)
        return OpenVinoSession(compiled, self.stage, {*self.bundle.spec.output_names, *BETWEEN_STAGES}, read)

    def _kept_folder(self, parts: Mapping[str, object], held: contextlib.ExitStack) -> Path | None:
        """The folder of what OpenVINO compiles, which no other process uses until ``held`` ends; None for no folder.

        OpenVINO reads compiled models that another process is writing. A machine without a writable cache still runs;
        it only compiles at each start, as where another process holds the folder for too long.
        """
        try:
            kept = cache.compiled("openvino", self.variant.sha256, cache.key(parts))
            held.enter_context(cache.lock(kept.with_name(f"{kept.name}.lock"), timeout=_LONGEST_WAIT))
        except InputError:
            if self.must_keep:
                raise
            return None
        except TimeoutError as error:
            if self.must_keep:
                raise EngineError(f"{error}; try again when it has ended") from error
            return None
        return kept

    def _record(self, kept: Path, unchanged: Mapping[str, str], compiled: CompiledModel) -> None:
        """Keep the digests of a folder's compiled models.

        OpenVINO says nothing where it cannot write what it compiled, as on a full disk: then no file is new.
        """
        loaded = _was_kept(compiled)
        try:
            digests = cache.record_digests(kept, "*.blob", unchanged if loaded else {})
            if not loaded and digests == unchanged:
                raise cache.unwritable(kept, "openvino wrote no compiled model there")
        except InputError:
            if self.must_keep:
                raise


def _was_kept(compiled: CompiledModel) -> bool:
    """Whether a model was taken from its folder of the cache rather than compiled."""
    try:
        return bool(compiled.get_property("LOADED_FROM_CACHE"))
    except RuntimeError:  # a device that does not say so
        return False


def _unchanged(kept: Path | None) -> dict[str, str]:
    """The digests of the compiled models in a folder of the cache that are as they were written; others are removed."""
    return {} if kept is None else cache.drop_changed(kept, "*.blob")
