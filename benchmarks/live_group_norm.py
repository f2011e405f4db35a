"""Group norm: the error and the saving of keeping features between hops, as the default does.

    python benchmarks/live_group_norm.py [-m BUNDLE] [--engine E] [--variant V] [--speech FILE …]

New features are normalised by the statistics of the utterance so far, taken again when they have moved by a tenth.
Compared, as windows computed anew are, with one pass over the utterance so far: relative RMS of the features, frames
whose best label is the same, and CPU-seconds of a hop.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import _kit
import numpy as np
from numpy.typing import NDArray

from wav2edge.runtime.audio.loudness import measure
from wav2edge.runtime.bundle.spec import FEATURE_LENGTHS, FEATURES, INPUT_LENGTHS, NORMALIZED
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
        output.say(f"{'':14} {'features, rel. RMS':>19} {'same best label':>16} {'CPU-s of a hop':>15}")
        hops = list(compare(live, sound, base))
        for place, name in enumerate(("kept", "computed anew")):
            squares, power, same, frames, seconds = (sum(column) for column in zip(*(hop[place] for hop in hops)))
            output.say(
                f"{name:14} {np.sqrt(squares / power):19.4f} {100 * same / frames:15.1f}% {seconds / len(hops):15.3f}"
            )


Compared = tuple[float, float, int, int, float]
"""The squared difference of the features, their power, the frames whose best label is the same, all frames, and the
CPU-seconds."""


def compare(
    live: LiveTranscriber, sound: NDArray[np.float32], settings: LiveSettings
) -> Iterator[tuple[Compared, Compared]]:
    """Each hop with kept features and computed anew, against one pass over the utterance so far."""
    spec = live.model.spec
    buffer = SampleBuffer()
    buffer.append(sound)
    utterance = Utterance(1, 0, spec, settings)
    for end in range(2 * RATE, len(sound) + 1, RATE // 2):
        cpu = time.process_time()
        window = utterance.issue(buffer, end)
        while window.purpose == "features":
            utterance.keep(window, live.run(window))
            window = utterance.issue(buffer, end)
        logits = live.run(window)[spec.outputs[0].name][0]
        kept = np.asarray(window.feeds[FEATURES][0], np.float32), logits, time.process_time() - cpu
        cpu = time.process_time()
        features, logits = anew(live, buffer.read(window.start, end))
        again = features, logits, time.process_time() - cpu
        exact = anew(live, buffer.read(0, end))
        yield against(kept, exact), against(again, exact)


def anew(live: LiveTranscriber, samples: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.generic]]:
    """The features [frames, channels] and the logits [frames, labels] of one pass over samples."""
    model, spec = live.model, live.model.spec
    normalized = measure([samples]).normalized(samples) if spec.normalize else samples
    feeds: Arrays = {NORMALIZED: normalized[None], INPUT_LENGTHS: np.array([len(samples)], np.int64)}
    features = np.asarray(model.run("frontend", feeds, live.options("frontend"))[FEATURES][0], np.float32)
    encoded: Arrays = {FEATURES: features[None], FEATURE_LENGTHS: np.array([len(features)], np.int64)}
    return features, model.run("encoder", encoded, live.options("encoder"))[spec.outputs[0].name][0]


def against(
    own: tuple[NDArray[np.float32], NDArray[np.generic], float],
    exact: tuple[NDArray[np.float32], NDArray[np.generic]],
) -> Compared:
    """The last frames of a window against those of the whole."""
    count = min(len(own[0]), len(exact[0]))
    difference = own[0][-count:] - exact[0][-count:]
    same = own[1][:count].argmax(axis=1) == exact[1][len(exact[0]) - count : len(exact[0])].argmax(axis=1)
    power = float((exact[0][-count:] ** 2).sum())
    return float((difference**2).sum()), power, int(same.sum()), count, own[2]


if __name__ == "__main__":
    main()
