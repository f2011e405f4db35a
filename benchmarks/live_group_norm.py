"""Group norm: the error and the saving of keeping features between hops, as the default does.

    python benchmarks/live_group_norm.py [-m BUNDLE] [--engine E] [--variant V] [--speech FILE …]

New features are normalised by the statistics of the utterance so far, taken again when they have moved by a tenth.
Compared with the features and outputs of each window computed anew: relative RMS of the features, frames whose best
label stays the same, and CPU-seconds of a hop.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import _kit
import numpy as np
from numpy.typing import NDArray

from wav2edge.runtime.audio.loudness import measure
from wav2edge.runtime.bundle.spec import FEATURES, INPUT_LENGTHS, NORMALIZED, OUTPUT_LENGTHS
from wav2edge.runtime.engines import Arrays
from wav2edge.runtime.live.sample_buffer import SampleBuffer
from wav2edge.runtime.live.settings import LiveSettings
from wav2edge.runtime.live.transcriber import LiveTranscriber
from wav2edge.runtime.live.utterance import Utterance

RATE = 16000


def main() -> None:
    """Print the table."""
    parser = _kit.parser(__doc__)
    _kit.add_model(parser)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--left-context", type=float, default=LiveSettings.left_context)
    parser.add_argument("--speech", nargs="*", default=[])
    options = parser.parse_args()
    sound = _kit.sound(options.speech, options.seconds)
    base = LiveSettings(left_context=options.left_context, kept_context=options.left_context, keep_features=True)
    model = _kit.open_model(options)
    with LiveTranscriber(model, base) as live, _kit.Output(options) as output:
        output.say(
            f"{model.bundle.path.name} ({model.spec.norm} norm), {model.engine} {model.variant.name}, "
            f"hop {base.hop:g} s, left context {base.left_context:g} s"
        )
        output.say(f"{'features, rel. RMS':>23} {'same best label':>16} {'CPU-s of a hop':>15} {'anew':>7}")
        hops = list(compare(live, sound, base))
        squares, power, same, frames, kept, anew = (sum(column) for column in zip(*hops))
        output.say(
            f"{np.sqrt(squares / power):23.4f} {100 * same / frames:15.1f}% {kept / len(hops):15.3f} "
            f"{anew / len(hops):7.3f}"
        )


def compare(
    live: LiveTranscriber, sound: NDArray[np.float32], settings: LiveSettings
) -> Iterator[tuple[float, float, int, int, float, float]]:
    """Each hop with kept features and computed anew.

    Yields the squared difference of the features, their power, the frames whose best label is the same, all frames,
    and the CPU-seconds of both ways.
    """
    model, spec = live.model, live.model.spec
    buffer = SampleBuffer()
    buffer.append(sound)
    utterance = Utterance(1, 0, spec, settings)
    for end in range(2 * RATE, len(sound) + 1, RATE // 2):
        cpu = time.process_time()
        window = utterance.issue(buffer, end)
        while window.purpose == "features":
            utterance.keep(window, live.run(window))
            window = utterance.issue(buffer, end)
        kept = live.run(window)
        kept_cpu = time.process_time() - cpu
        samples = buffer.read(window.start, end)
        lengths = np.array([len(samples)], np.int64)
        cpu = time.process_time()
        anew = model.run("full", {"input_values": samples[None], "input_lengths": lengths})
        anew_cpu = time.process_time() - cpu
        normalized = measure([samples]).normalized(samples) if spec.normalize else samples
        feeds: Arrays = {NORMALIZED: normalized[None], INPUT_LENGTHS: lengths}
        exact = model.run("frontend", feeds, live.options("frontend"))[FEATURES][0]
        count = min(len(exact), window.feeds[FEATURES].shape[1], int(kept[OUTPUT_LENGTHS][0]))
        difference = window.feeds[FEATURES][0, -count:] - exact[-count:]
        best = [values[spec.outputs[0].name][0, -count:].argmax(axis=1) for values in (kept, anew)]
        same = int((best[0] == best[1]).sum())
        yield float((difference**2).sum()), float((exact[-count:] ** 2).sum()), same, count, kept_cpu, anew_cpu


if __name__ == "__main__":
    main()
