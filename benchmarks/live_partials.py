"""How much the partials of a bounded window differ from those of the whole utterance so far, on real speech.

    python benchmarks/live_partials.py MANIFEST [-m BUNDLE] [--engine E] [--variant V] [--split NAME] [--limit N]

At every partial window the text shown is compared with one pass over the utterance from its start to the same sample.
Differences are counted in characters (CER); references are the whole-utterance texts. Printed for windows with and
without kept features, and for several hops of long utterances; the last column is against the texts that the first
such hop showed at the same moments. The defaults come from this table.
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
) -> tuple[scoring.Scores, Known]:
    """The texts shown against those of whole utterances, and the texts shown."""
    spec = live.spec
    whole: list[str] = []
    shown: Known = {}
    for number, row in enumerate(rows):
        decoder = LiveDecoder(spec, live.vad(), settings)
        samples = np.concatenate((on_grid(read.load(row.audio, RATE)), np.zeros(RATE, np.float32)))
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
                shown[key] = ctc.joined(utterance.agreement.words, spec)
    return scoring.score(whole, list(shown.values()), "none"), shown


def against(first: Known, other: Known) -> str:
    """The CER of texts against others of the same moments."""
    same = [key for key in other if key in first]
    if not same:
        return "–"
    return f"{scoring.score([first[key] for key in same], [other[key] for key in same], 'none').cer} of {len(same)}"


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
    parser.add_argument("--long-hop", type=float, nargs="*", default=[LiveSettings.hop, LiveSettings.long_hop])
    options = parser.parse_args()
    corpora = [options.corpus] if options.corpus else []
    rows = _kit.rows_of(options.manifest, split=options.split, corpora=corpora, limit=options.limit)
    base = LiveSettings(hop=options.hop, keep_features=True)
    model = _kit.open_model(options)
    with LiveTranscriber(model, base) as live, _kit.Output(options) as output:
        norm = model.spec.norm
        output.say(f"{len(rows)} clips, {norm} norm, {model.engine} {model.variant.name}, hop {base.hop:g} s")
        output.say(
            f"{'left context':>12} {'features':14} {'long hop':>8} {'CER against whole-utterance partials':>38} "
            f"{'partials':>9} {'CER against the first long hop':>38}"
        )
        known: Known = {}
        for context in options.left_context:
            ways = {"kept": base} | ({} if options.kept_only else {"computed anew": replace(base, keep_features=False)})
            for name, settings in ways.items():
                first: Known | None = None
                for hop in options.long_hop:
                    chosen = replace(settings, left_context=context, kept_context=context, long_hop=hop)
                    scores, shown = compare(live, chosen, rows, known)
                    first = shown if first is None else first
                    output.say(
                        f"{context:12g} {name:14} {hop:8g} {scores.cer!s:>38} {scores.cer.clips:9} "
                        f"{against(first, shown):>38}"
                    )


if __name__ == "__main__":
    main()
