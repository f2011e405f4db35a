"""Group norm: what keeping features would approximate, and what it would save; the evidence for the default.

    python benchmarks/live_group_norm.py BUNDLE [--engine E] [--variant V] [--speech FILE …]

New features are computed with some sound before them (the overlap), because group norm looks along its whole input.
Compared with the features and outputs of each window computed anew: relative RMS of the features, frames whose best
label stays the same, and CPU-seconds of a hop.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from wav2edge.devices.open import open_model
from wav2edge.runtime.audio import read
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.spec import FEATURES, INPUT_LENGTHS, NORMALIZED, OUTPUT_LENGTHS
from wav2edge.runtime.live.sample_buffer import SampleBuffer
from wav2edge.runtime.live.settings import LiveSettings
from wav2edge.runtime.live.transcriber import LiveTranscriber
from wav2edge.runtime.live.utterance import Utterance

RATE = 16000


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("bundle")
    parser.add_argument("--engine")
    parser.add_argument("--variant")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--left-context", type=float, default=LiveSettings.left_context)
    parser.add_argument("--speech", nargs="*", default=[])
    options = parser.parse_args()
    paths = [Path(name) for name in options.speech] or sorted(embedded.clips_manifest().parent.glob("librispeech*"))
    sound = np.resize(np.concatenate([read.load(path, RATE) for path in paths]), round(options.seconds * RATE))
    base = LiveSettings(left_context=options.left_context, kept_context=options.left_context, keep_features=True)
    model = open_model(options.bundle, options.engine, options.variant, threads=options.threads)
    with LiveTranscriber(model, base) as live:
        spec, name = model.spec, model.spec.outputs[0].name
        buffer = SampleBuffer()
        buffer.append(sound)
        print(f"{options.bundle} ({spec.norm} norm), {model.engine} {model.variant.name}, ", end="")
        print(f"hop {base.hop:g} s, left context {base.left_context:g} s")
        print(f"{'overlap s':>9} {'features, rel. RMS':>23} {'same best label':>16} {'CPU-s of a hop':>15} {'anew':>7}")
        for overlap in (0.0, 0.5, 1.0, 2.0, options.left_context):
            utterance = Utterance(1, 0, spec, replace(base, overlap=overlap))
            squares, power, same, frames, kept_cpu, anew_cpu, hops = 0.0, 0.0, 0, 0, 0.0, 0.0, 0
            for end in range(2 * RATE, len(sound) + 1, RATE // 2):
                cpu = time.process_time()
                window = utterance.issue(buffer, end)
                while window.purpose == "features":
                    assert utterance.cache is not None
                    utterance.cache.add(live.run(window)[FEATURES][0], window.start // spec.stride)
                    window = utterance.issue(buffer, end)
                kept = live.run(window)
                kept_cpu += time.process_time() - cpu
                samples = buffer.read(window.start, end)
                lengths = np.array([len(samples)], np.int64)
                cpu = time.process_time()
                anew = model.run("full", {"input_values": samples[None], "input_lengths": lengths})
                anew_cpu += time.process_time() - cpu
                scale = np.sqrt(samples.var() + 1e-7) if spec.normalize else 1.0
                mean = samples.mean() if spec.normalize else 0.0
                feeds = {NORMALIZED: ((samples - mean) / scale)[None].astype(np.float32), INPUT_LENGTHS: lengths}
                exact = model.run("frontend", feeds, live.options("frontend"))[FEATURES][0]
                count = min(len(exact), window.feeds[FEATURES].shape[1], int(kept[OUTPUT_LENGTHS][0]))
                squares += float(((window.feeds[FEATURES][0, -count:] - exact[-count:]) ** 2).sum())
                power += float((exact[-count:] ** 2).sum())
                best = [values[name][0, -count:].argmax(axis=1) for values in (kept, anew)]
                same += int((best[0] == best[1]).sum())
                frames += count
                hops += 1
            print(
                f"{overlap:9g} {np.sqrt(squares / power):23.4f} {100 * same / frames:15.1f}% "
                f"{kept_cpu / hops:15.3f} {anew_cpu / hops:7.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
