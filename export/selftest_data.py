"""selftest.npz: real clips, their fp32 outputs and text, with which a device's outputs are compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..runtime.bundle.read import Bundle, Variant
from ..runtime.bundle.reference import clip_key, output_key, write_archive
from ..runtime.comparison import samples_of, text_of
from ..runtime.model import Model
from .parity import Clip, speech_clips

SECONDS = 6.0
"""Longest clip that is kept, in seconds; two of them in 16 bits cost some 200 kB."""
SHORTEST = 2.0
"""Shortest clip that is taken, in seconds: shorter shipped clips have one word, too little text to compare."""


def select(clips: Sequence[Clip], rate: int) -> tuple[Clip, Clip]:
    """The shortest clip of ``SHORTEST`` seconds or more at ``rate`` Hz, and the next longer one."""
    long_enough = sorted((clip for clip in clips if len(clip) >= SHORTEST * rate), key=len)
    return long_enough[0], long_enough[1]


def write_selftest(bundle: Bundle, variant: Variant, path: Path) -> None:
    """Write the clips and the given variant's outputs for them on ONNX Runtime's CPU."""
    spec = bundle.spec
    clips = []
    for samples in select(speech_clips(spec.sample_rate), spec.sample_rate):
        # 16 bits, so that the archive is small and holds the very samples that were run.
        kept = samples[: int(SECONDS * spec.sample_rate)]
        clips.append(np.round(np.clip(kept, -1.0, 1.0) * 32767).astype(np.int16))
    with Model(bundle, "onnxruntime", variant) as model:
        outputs = [model.outputs([samples_of(clip)])[0] for clip in clips]
    arrays: dict[str, np.ndarray] = {}
    for index, (clip, values) in enumerate(zip(clips, outputs)):
        arrays[clip_key(index)] = clip
        arrays.update({output_key(index, name): value for name, value in values.items()})
        if spec.head == "ctc":
            arrays[output_key(index, "text")] = np.array(text_of(values, spec))
    write_archive(path, arrays)
