"""Open a model as it suits this machine: the one place where engine, variant, threads and live settings are chosen."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from ..runtime.bundle import embedded
from ..runtime.bundle.read import Bundle
from ..runtime.model import Model, options_by_size
from . import choice
from . import profile as profiles
from .detect import Machine, detect
from .profile import DeviceProfile

if TYPE_CHECKING:
    from ..runtime.live.settings import LiveSettings


def open_model(
    bundle: str | Path | Bundle | None = None,
    engine: str | None = None,
    variant: str | None = None,
    *,
    threads: int | None = None,
    device: str | None = None,
    machine: Machine | None = None,
    profile: DeviceProfile | None = None,
) -> Model:
    """A bundle's model with the engine, variant and threads that suit this machine; its sessions load on first use.

    What is named wins, then what ``bench`` measured and kept for this bundle on this machine, then the board's
    profile, then whatever runs. bundle: a path or an open Bundle; None means the embedded one. device: an engine's
    device by its own name, such as ``cuda:0``. machine, profile: detected when omitted.

    Raises BundleError for a bundle that cannot be used, or that no key of WAV2EDGE_TRUSTED_KEYS has signed, InputError
    for an engine that does not exist, EngineError, with each engine's reason, when nothing here runs the bundle.
    """
    opened = embedded.resolve(bundle)
    chosen = choice.choose(opened, engine, variant, threads, device=device, machine=machine, profile=profile)
    options = options_by_size(chosen.variant, threads=chosen.threads, device=device)
    return Model(opened, chosen.engine, chosen.variant, options, reason=chosen.reason)


def live_settings(profile: DeviceProfile | None = None) -> LiveSettings:
    """The settings of live captions that suit this machine: the defaults, with the hop and window of its profile.

    profile: detected when omitted.
    """
    from ..runtime.live.settings import LiveSettings  # which transcribing recordings does without

    profile = profile or profiles.for_machine(detect())
    default = LiveSettings()
    context = profile.window.value - profile.hop.value
    kept = context * default.kept_context / default.left_context
    return dataclasses.replace(default, hop=profile.hop.value, left_context=context, kept_context=kept)
