"""What the engines ``tensorrt`` and ``tensorrt-rtx`` offer: load a plan from the cache, or build it once."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from ... import cache
from ...bundle.read import Bundle, Variant
from ...bundle.spec import Stage
from ...errors import EngineError
from .. import BuildProgress, EngineOptions, _gpu
from .._profiles import output_steps, plan
from . import flavor as flavors
from . import proof, store
from .builder import BuildRequest, build_apart
from .cuda import Cuda, CudaDevice
from .flavor import Flavor
from .session import TensorRtSession

_log = logging.getLogger("wav2edge.engines")


def load(flavor: Flavor, bundle: Bundle, variant: Variant, stage: Stage, options: EngineOptions) -> TensorRtSession:
    """A session on the cached plan; builds, proves and keeps it first where there is none that fits.

    What happens then is logged (level WARNING, which Python prints on stderr): a build takes minutes.
    Raises EngineError.
    """
    cuda = _cuda(options)
    key = _key(flavor, bundle, variant, stage, options, cuda.gpu())
    content = _obtain(flavor, bundle, variant, key, _log.warning, _prover(flavor, bundle, variant, key, options))
    return _open(flavor, bundle, key, content, cuda)


def build(
    flavor: Flavor, bundle: Bundle, variant: Variant, stage: Stage, options: EngineOptions, progress: BuildProgress
) -> Path:
    """Build a plan ahead of its first use; returns its file in the cache. Raises EngineError.

    Without a GPU a portable plan is kept unproven: the first load on a GPU runs the selftest.
    """
    if reason := flavors.cannot_build(flavor):
        raise EngineError(f"engine {flavor.engine}: {reason}")
    if reason := flavors.refuses(bundle.spec, variant):
        raise EngineError(f"engine {flavor.engine} does not build {variant.name}: {reason}")
    bundle.graph(variant, stage)
    bundle.verify(variant, stage)
    here = flavors.cannot_run(flavor) is None
    gpu = _gpu_facts(options) if here else None
    key = _key(flavor, bundle, variant, stage, options, gpu)
    prove = _prover(flavor, bundle, variant, key, options) if here else None
    _obtain(flavor, bundle, variant, key, progress, prove)
    return key.path


def _obtain(
    flavor: Flavor,
    bundle: Bundle,
    variant: Variant,
    key: store.Key,
    progress: BuildProgress,
    prove: Callable[[bytes], None] | None,
) -> bytes:
    name = f"{variant.graphs[key.stage]} for {flavor.title} {key.version}"
    stored = store.read(key)
    if stored.plan is not None and (stored.proven or prove is None):
        return stored.plan

    def waiting() -> None:
        progress(f"{name}: another process is building it; waiting")

    with cache.lock(key.path.with_suffix(".lock"), waiting):
        stored = store.read(key)
        content, proven = stored.plan, stored.proven
        if content is None:
            if stored.reason:
                progress(f"{name}: {stored.reason}; building it again")
            progress(f"{name}: building {len(key.profiles)} length ranges; this happens once on a machine")
            content, proven = _build_plan(flavor, bundle, variant, key, lambda text: progress(f"{name}: {text}")), False
        elif proven or prove is None:
            return content
        if prove is not None:
            progress(f"{name}: selftest")
            prove(content)
            proven = True
        store.write(key, content, proven=proven)
    return content


def _build_plan(flavor: Flavor, bundle: Bundle, variant: Variant, key: store.Key, progress: BuildProgress) -> bytes:
    folder = cache.directory("engines")
    prefix = f".{key.path.name}."
    for leftover in folder.glob(f"{prefix}*"):  # of a builder that was killed; this process holds the lock
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=folder) as temporary:
        target = Path(temporary) / "plan"
        # Timings belong to a version and a GPU; a portable plan is built from no timings.
        timing = None
        if not flavor.portable:
            timing = str(folder / f"{flavor.engine}-{cache.key({'version': key.version, 'gpu': key.gpu})}.timing")
        graph = str(bundle.graph(variant, key.stage))
        before = None
        if key.stage == "encoder" and "frontend" in variant.graphs:
            bundle.verify(variant, "frontend")
            before = str(bundle.graph(variant, "frontend"))
        build_apart(BuildRequest(flavor.module, graph, str(target), key.profiles, timing, before), progress)
        return target.read_bytes()


def _key(
    flavor: Flavor, bundle: Bundle, variant: Variant, stage: Stage, options: EngineOptions, gpu: CudaDevice | None
) -> store.Key:
    graph = tuple(variant.sha256[name] for name in (variant.graphs[stage], *variant.data))
    profiles = plan(bundle.spec, stage, options)
    key = store.Key(graph, stage, flavor.engine, flavors.version(flavor), profiles)
    if flavor.portable or gpu is None:
        return key
    return store.Key(key.graph, stage, key.library, key.version, profiles, gpu.name, gpu.capability, gpu.driver)


def _prover(
    flavor: Flavor, bundle: Bundle, variant: Variant, key: store.Key, options: EngineOptions
) -> Callable[[bytes], None]:
    def prove(content: bytes) -> None:
        session = _open(flavor, bundle, key, content, _cuda(options))
        try:
            proof.check(session, bundle, variant, key)
        finally:
            session.close()

    return prove


def _open(flavor: Flavor, bundle: Bundle, key: store.Key, content: bytes, cuda: Cuda) -> TensorRtSession:
    trt = flavors.module(flavor)
    logger = trt.Logger(trt.Logger.ERROR)
    runtime = trt.Runtime(logger)
    engine = runtime.deserialize_cuda_engine(content)
    if engine is None:
        raise EngineError(
            f"{flavor.title} {key.version} cannot load the engine it built ({key.path}); "
            "this GPU may be older than it supports: `wav2edge devices`"
        )
    spec = bundle.spec
    session = TensorRtSession(
        trt, engine, cuda, key.stage, key.profiles, lambda steps: output_steps(spec, key.stage, steps)
    )
    session.owners = (runtime, logger)  # they must outlive the engine
    return session


def _cuda(options: EngineOptions) -> Cuda:
    return Cuda(_gpu.index(options.device))


def _gpu_facts(options: EngineOptions) -> CudaDevice:
    cuda = _cuda(options)
    try:
        return cuda.gpu()
    finally:
        cuda.close()
