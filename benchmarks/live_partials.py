"""How much the partials of a bounded window differ from those of the whole utterance so far, on real speech.

    python benchmarks/live_partials.py MANIFEST [-m BUNDLE] [--engine E] [--variant V] [--split NAME] [--limit N]

At every partial window the text shown is compared with one pass over the utterance from its start to the same sample.
Differences are counted in characters (CER); references are the whole-utterance texts. Printed for windows with and
without kept features, and for group norm with several overlaps. The defaults come from this table.
"""

from __future__ import annotations

from dataclasses import replace

import _kit
import numpy as np

from wav2edge.measure import manifest, scoring
from wav2edge.runtime.audio import read
from wav2edge.runtime.heads import ctc
from wav2edge.runtime.live.decoder import LiveDecoder
from wav2edge.runtime.live.settings import LiveSettings
from wav2edge.runtime.live.sources import on_grid
from wav2edge.runtime.live.transcriber import LiveTranscriber

RATE = 16000


Known = dict[tuple[int, int, int], str]
"""The texts of whole utterances: by clip, first and last sample. Ways that are compared share their utterances."""


def compare(
    live: LiveTranscriber, settings: LiveSettings, rows: tuple[manifest.Row, ...], known: Known
) -> scoring.Scores:
    """The texts shown against those of whole utterances."""
    spec = live.spec
    whole, shown = [], []
    for number, row in enumerate(rows):
        decoder = LiveDecoder(spec, live.vad(), settings)
        samples = np.concatenate((on_grid(read.load(row.path, RATE)), np.zeros(RATE, np.float32)))
        for at in range(0, len(samples), 800):
            decoder.push(samples[at : at + 800], at)
            while (window := decoder.window()) is not None:
                utterance = decoder.utterance
                decoder.accept(window, live.run(window))
                if window.purpose != "partial" or utterance is None:
                    continue
                key = number, utterance.start, window.end
                if key not in known:
                    [logits] = live.model.logits([samples[utterance.start : window.end]])
                    known[key] = ctc.joined(ctc.greedy(logits, spec), spec)
                whole.append(known[key])
                shown.append(ctc.joined(utterance.agreement.words, spec))
    return scoring.score(whole, shown, "none")


def main() -> None:
    """Print the table."""
    parser = _kit.parser(__doc__)
    parser.add_argument("manifest")
    _kit.add_model(parser)
    parser.add_argument("--split")
    parser.add_argument("--corpus")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--left-context", type=float, nargs="*", default=[3.0, 4.0, 5.5])
    parser.add_argument("--kept-only", action="store_true", help="leave out windows that are computed anew")
    parser.add_argument("--hop", type=float, default=LiveSettings.hop)
    options = parser.parse_args()
    corpora = [options.corpus] if options.corpus else []
    rows = _kit.rows_of(options.manifest, split=options.split, corpora=corpora, limit=options.limit)
    base = LiveSettings(hop=options.hop, keep_features=True)
    model = _kit.open_model(options)
    with LiveTranscriber(model, base) as live, _kit.Output(options) as output:
        norm = model.spec.norm
        output.say(f"{len(rows)} clips, {norm} norm, {model.engine} {model.variant.name}, hop {base.hop:g} s")
        output.say(f"{'left context':>12} {'features':28} {'CER against whole-utterance partials':>38} {'partials':>9}")
        known: Known = {}
        for context in options.left_context:
            ways = {} if options.kept_only else {"computed anew": replace(base, keep_features=False)}
            for overlap in (0.0,) if norm == "layer" else (0.0, 0.5, 1.0, 2.0):
                name = "kept" if norm == "layer" else f"kept, overlap {overlap:g} s"
                ways[name] = replace(base, overlap=overlap)
            for name, settings in ways.items():
                scores = compare(live, replace(settings, left_context=context, kept_context=context), rows, known)
                output.say(f"{context:12g} {name:28} {scores.cer!s:>38} {scores.cer.clips:9}")


if __name__ == "__main__":
    main()
