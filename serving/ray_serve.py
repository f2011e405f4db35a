"""A Ray Serve application: each replica is the whole server (API, sockets, page) on its own scheduler.

    WAV2EDGE_TOKEN=… serve run wav2edge.serving.ray_serve:application models=/models/my-bundle replicas=4 gpus=1

Ray Serve spreads requests and sockets over the replicas; in each, windows and chunks are put together to batches by
their seconds of sound, as in ``wav2edge serve``. Needs the extras [ray] and [serve] on every node.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from ..runtime.errors import InputError

if TYPE_CHECKING:
    from ray.serve import Application
    from starlette.applications import Starlette

    from .limits import Limits

TOKEN = "WAV2EDGE_TOKEN"
_NUMBERS = {"threads": int, "replicas": int, "gpus": float, "batch_seconds": float}


@dataclass(frozen=True)
class ServeArguments:
    """The arguments of ``serve run``, as ``name=value``; each field is one name."""

    token: str
    """The token that clients must send; WAV2EDGE_TOKEN where it is left out. It is required: Ray opens the port."""

    models: str = ""
    """Bundles, as paths or NAME=PATH, separated by commas; default the embedded demo model."""

    engine: str | None = None
    """The engine; default the best of the node."""

    variant: str | None = None
    """The variant; default the best of the node."""

    threads: int = 1
    """CPUs that a replica uses, and threads of its engine; default 1."""

    replicas: int = 1
    """Replicas; default 1."""

    gpus: float = 0.0
    """GPUs that a replica uses; default 0."""

    batch_seconds: float | None = None
    """Seconds of sound that one batch may hold; default as SchedulerSettings and the engine say."""

    @classmethod
    def parsed(cls, values: Mapping[str, str]) -> ServeArguments:
        """The arguments from text; raises InputError for an unknown name, an invalid value, and a missing token."""
        known = [field.name for field in fields(cls)]
        for name in (name for name in values if name not in known):
            raise InputError(f"{name}: choose from {', '.join(known)}")
        token = values.get("token") or os.environ.get(TOKEN)
        if not token:
            raise InputError(f"token is missing; give token=… or {TOKEN}")
        words = {name: value for name, value in values.items() if name not in _NUMBERS and name != "token"}
        try:
            numbers = {name: kind(values[name]) for name, kind in _NUMBERS.items() if name in values}
        except ValueError:
            raise InputError(f"{', '.join(_NUMBERS)} are numbers") from None
        return cls(token, **words, **numbers)  # type: ignore[arg-type]


def application(arguments: Mapping[str, str]) -> Application:
    """The application that ``serve run`` starts; arguments: those of ``ServeArguments``, as text."""
    from ray import serve

    from .limits import Limits

    options, limits = ServeArguments.parsed(arguments), Limits()

    def replica() -> Starlette:
        return _replica(options, limits)

    deployment = serve.deployment(
        serve.ingress(replica)(),
        name="wav2edge",
        num_replicas=options.replicas,
        ray_actor_options={"num_cpus": options.threads, "num_gpus": options.gpus},
        max_ongoing_requests=limits.streams + limits.files,
        graceful_shutdown_timeout_s=limits.stop_seconds,
    )
    return deployment.bind()


def _replica(options: ServeArguments, limits: Limits) -> Starlette:
    """One replica's server; its models are opened here, on its node."""
    from .app import application as server
    from .models import open_models
    from .service import Service

    bundles = [each for each in options.models.split(",") if each]
    catalogue = open_models(
        bundles, options.engine, options.variant, threads=options.threads, batch_seconds=options.batch_seconds
    )
    return server(Service(catalogue, limits), token=options.token)
