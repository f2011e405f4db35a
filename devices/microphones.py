"""The microphones that PortAudio lists, and why it lists none.

PortAudio and ALSA write to stderr, may hang on a broken sound server and keep their device list for the life of a
process; so the list is asked for in a short process of its own.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass

from wav2edge.runtime import children
from wav2edge.runtime.live import sound_server

TIMEOUT = 15.0
"""Seconds after which a sound system that does not answer is given up."""


@dataclass(frozen=True)
class InputDevice:
    """An input device. channels: at most; sample_rate: its default in Hz; default: the one that ``listen`` opens."""

    index: int
    name: str
    channels: int
    sample_rate: int
    host: str
    default: bool = False


@dataclass(frozen=True)
class Microphones:
    """The input devices. problem: None, ``no sounddevice``, ``no PortAudio``, ``no answer`` or ``no device``."""

    devices: tuple[InputDevice, ...] = ()
    problem: str | None = None


# sounddevice raises OSError at import when the PortAudio library is missing; with no device at all query_devices gives
# an empty list, and the default input is -1.
_PROGRAM = """
import json
try:
    import sounddevice
except ImportError:
    print(json.dumps({"problem": "no sounddevice"}))
except OSError:
    print(json.dumps({"problem": "no PortAudio"}))
else:
    hosts = [host["name"] for host in sounddevice.query_hostapis()]
    default = sounddevice.default.device[0]
    found = [
        [index, device["name"], device["max_input_channels"], int(device["default_samplerate"]),
         hosts[device["hostapi"]], index == default]
        for index, device in enumerate(sounddevice.query_devices()) if device["max_input_channels"] > 0
    ]
    print(json.dumps({"devices": found, "problem": None if found else "no device"}))
"""


def detect(timeout: float = TIMEOUT) -> Microphones:
    """The microphones of this machine; never raises."""
    sound_server.keep_out_of_home()
    try:
        done = subprocess.run(
            children.code(_PROGRAM),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
        )
        answer = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return Microphones(problem="no answer")
    return Microphones(tuple(InputDevice(*values) for values in answer.get("devices", ())), answer["problem"])
