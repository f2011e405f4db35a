"""Give untranscribed clips the transcripts that Whisper's decoder reads from the cached features of its encoder.

A transcript is kept where the head's posteriors bear it out (CTC loss a label); the others stay without.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import ctranslate2
import numpy as np
from batches import Clip, Speech
from clips import ClipStore
from constrain import batches, fitting
from head import FREE
from model import LABELS
from teacher import Teacher
from texts import transcript
from tokenizers import Tokenizer

_LOGGER = logging.getLogger("transcribe")
_PROMPT = ("<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>")
_SILENT_FRAMES = 100  # Silence behind a clip, without which the decoder does not know that it is at an end.


class Decoder:
    """Whisper's decoder, greedy, over features of its encoder that were computed before."""

    def __init__(self, whisper: Path, threads: int = 1) -> None:
        """Open a CTranslate2 Whisper directory with its `tokenizer.json`."""
        self.model = ctranslate2.models.Whisper(str(whisper), device="cpu", compute_type="int8", intra_threads=threads)
        self.tokenizer = Tokenizer.from_file(str(whisper / "tokenizer.json"))
        self.prompt = [self.tokenizer.token_to_id(token) for token in _PROMPT]
        (self.silence,) = Teacher(whisper).features([np.zeros(29 * 16000, np.float32)], [1440])

    def read(self, clips: Sequence[np.ndarray]) -> list[str]:
        """Return what is said in features [frames, width] of clips of like length; empty where figures are in it."""
        longest = max(len(features) for features in clips) + _SILENT_FRAMES
        heard = np.stack([np.concatenate([f, self.silence[len(f) : longest]]).astype(np.float32) for f in clips])
        found = self.model.generate(
            ctranslate2.StorageView.from_array(heard),
            [self.prompt] * len(clips),
            beam_size=1,
            max_length=10 + longest // 7,
            no_repeat_ngram_size=4,
        )
        texts = [self.tokenizer.decode(result.sequences_ids[0]) for result in found]
        return ["" if any(c.isdigit() for c in text) else transcript(text) for text in texts]


def transcribe(folder: Path, decoder: Decoder, worst: float) -> dict[str, object]:
    """Write transcripts into the index of a clip store, and the costs of all beside it."""
    speech = Speech([folder], True, longest=29.0)
    table = np.fromfile(folder / (FREE if (folder / FREE).exists() else "posteriors.f16"), np.float16)
    table = table.reshape(-1, len(LABELS))
    texts: dict[int, str] = {}
    kept = 0.0
    with open(folder / "transcribed.jsonl", "w", encoding="utf-8") as file:
        clips: list[Clip] = [c for group in speech.groups.values() for c in group if not c.text]
        for some in batches(clips, 60.0):
            places = [slice(clip.frame, clip.frame + clip.frames) for clip in some]
            for clip, here, text in zip(some, places, decoder.read([speech.features[0][here] for here in places])):
                text, price = fitting(table[here], text)
                file.write(json.dumps({"start": clip.start, "cost": round(price, 3), "text": text}) + "\n")
                if price < worst:
                    texts[clip.start] = text
                    kept += clip.samples / 16000 / 3600
    store = ClipStore(folder)
    rows = [{**row, "text": row["text"] or texts.get(int(row["start"]), "")} for row in store.rows]
    index = folder / "index.tmp"
    index.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    index.replace(folder / "index.jsonl")
    return {"clips": len(clips), "kept": len(texts), "kept_hours": round(kept, 3)}


def main() -> None:
    """Transcribe some stores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("whisper", type=Path, help="CTranslate2 Whisper directory")
    parser.add_argument("stores", type=Path, nargs="+")
    parser.add_argument("--worst", type=float, default=2.0, help="CTC loss a label (nats) above which none is kept")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    decoder = Decoder(options.whisper)
    for store in options.stores:
        _LOGGER.info(json.dumps({"store": store.name, **transcribe(store, decoder, options.worst)}))


if __name__ == "__main__":
    main()
