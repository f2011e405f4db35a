"""How far the text of a long recording depends on the window and the context it is cut with.

    python benchmarks/chunking.py SPEECH [-m BUNDLE] [--recordings 10] [--seconds 60]

SPEECH is a manifest or a folder of recordings with text. Recordings are made of whole utterances in a drawn order,
with 0.3 s between them. ``changed`` is the character error rate of the chunked text against that of one pass over the
whole recording; ``work`` is how many seconds the model is run on for each second of audio. ``alone`` is ``changed``
where every window is normalised by itself instead of by the whole recording, printed for the defaults.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from wav2edge.runtime import audio, manifest, scoring
from wav2edge.runtime.chunking import Chunking, windows
from wav2edge.runtime.transcriber import Transcriber

GAP = 0.3
WINDOWS = (15.0, 20.0, 30.0, 45.0)
CONTEXTS = (0.5, 1.0, 2.0, 4.0)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("speech")
    parser.add_argument("-m", "--model", metavar="BUNDLE")
    parser.add_argument("--engine")
    parser.add_argument("--variant")
    parser.add_argument("--split")
    parser.add_argument("--recordings", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--windows", type=float, nargs="+", default=WINDOWS)
    parser.add_argument("--contexts", type=float, nargs="+", default=CONTEXTS)
    parser.add_argument("--minutes", type=float, default=3.5, help="stop after so long")
    arguments = parser.parse_args()
    deadline = time.monotonic() + 60 * arguments.minutes
    rows = manifest.scan(arguments.speech, split=arguments.split)[0]
    with Transcriber.open(arguments.model, arguments.engine, arguments.variant) as transcriber:
        made = [
            recording(rows, seed, arguments.seconds, transcriber.spec.sample_rate)
            for seed in range(arguments.recordings)
        ]
        seconds = sum(len(samples) for samples, _ in made) / transcriber.spec.sample_rate
        references = [text for _, text in made]
        transcriber.chunking = Chunking(10 * arguments.seconds, 1.0)
        whole = [transcriber(samples).text for samples, _ in made]
        rate = scoring.score(references, whole)
        print(f"{transcriber.engine} {transcriber.variant}: {len(made)} recordings, {seconds / 60:.1f} minutes")
        print(f"one pass over each whole recording: WER {rate.wer}, CER {rate.cer}\n")
        print(f"{'window':>7} {'context':>8} {'changed':>9} {'WER':>8} {'work':>6} {'× real time':>12}")
        for window in arguments.windows:
            for context in arguments.contexts:
                if 4 * context > window or time.monotonic() > deadline:
                    continue
                transcriber.chunking = Chunking(window, context)
                started = time.perf_counter()
                texts = [transcriber(samples).text for samples, _ in made]
                elapsed = time.perf_counter() - started
                changed = scoring.score(whole, texts, "none").cer.value
                wer = scoring.score(references, texts).wer.value
                run = sum(
                    len(cut.samples)
                    for samples, _ in made
                    for cut in windows([samples], transcriber.spec, transcriber.chunking)
                )
                work = run / transcriber.spec.sample_rate / seconds
                print(
                    f"{window:5.0f} s {context:6.1f} s {100 * changed:7.2f} % {100 * wer:6.1f} % {work:6.2f} "
                    f"{seconds / elapsed:12.1f}",
                    flush=True,
                )
        transcriber.chunking = Chunking()
        apart = scoring.score(whole, [alone(transcriber, samples) for samples, _ in made], "none").cer.value
        print(f"alone, {Chunking().window:g} s and {Chunking().context:g} s: {100 * apart:.2f} %")
        if time.monotonic() > deadline:
            print(f"stopped after {arguments.minutes:g} minutes")


def alone(transcriber: Transcriber, samples: np.ndarray) -> str:
    """The text of a recording whose windows are normalised each by itself."""
    decoding = transcriber.decoding()
    for window in windows([samples], transcriber.spec, transcriber.chunking):
        decoding.push(window, transcriber.logits([window.samples])[0])
    return decoding.transcript().text


def recording(rows: tuple[manifest.Row, ...], seed: int, seconds: float, sample_rate: int) -> tuple[np.ndarray, str]:
    """Whole utterances in a drawn order, up to ``seconds``, and what is said in them."""
    order = np.random.default_rng(seed).permutation(len(rows))
    pieces: list[np.ndarray] = []
    texts: list[str] = []
    length = 0.0
    for index in order:
        samples = audio.load(rows[index].path, sample_rate)
        if length + len(samples) / sample_rate + GAP > seconds:
            break
        pieces += [samples, np.zeros(int(GAP * sample_rate), np.float32)]
        texts.append(rows[index].text)
        length += len(samples) / sample_rate + GAP
    return np.concatenate(pieces), " ".join(texts)


if __name__ == "__main__":
    main()
