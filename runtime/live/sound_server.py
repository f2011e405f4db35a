"""Where PulseAudio's library, which PortAudio loads, keeps its files of this machine's run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .. import cache
from ..errors import InputError

_PATH = "PULSE_RUNTIME_PATH"
_FOLDER = "pulse"


def keep_out_of_home() -> None:
    """Give the library a folder of the cache where the system names none; call it before PortAudio looks for devices.

    Without ``XDG_RUNTIME_DIR`` (as in containers, cron and sudo) it makes a link in ``~/.config/pulse`` and a folder in
    ``/tmp``, even where no sound server runs. A server that was started like that has left such a link, and is found
    by it (pulseaudio(1), pa_runtime_path in its core-util.c).
    """
    if sys.platform != "linux" or os.environ.get("XDG_RUNTIME_DIR"):
        return
    try:
        ours = str(cache.directory() / _FOLDER)
        settings = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
        has_server = any(settings.joinpath("pulse").glob("*-runtime"))
    except (InputError, OSError, RuntimeError):
        return
    named = os.environ.get(_PATH)
    if has_server and named == ours:
        del os.environ[_PATH]
    elif not has_server and not named:
        os.environ[_PATH] = ours
