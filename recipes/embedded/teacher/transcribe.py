"""Transcribe clips that have no transcript with Whisper's decoder, from the cached features of its encoder.

    python -m recipes.embedded.teacher.transcribe WHISPER STORE…

A transcript is kept where it fits the head's posteriors (CTC loss a label); the others stay without.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import ctranslate2
import numpy as np
from tokenizers import Tokenizer

from ..frames import RATE
from ..labels import LABELS
from ..speech.clips import LONGEST, ClipStore, store_folder
from ..speech.dataset import Dataset
from ..speech.targets import FREE_POSTERIORS, POSTERIORS
from ..speech.texts import transcript
from .constrain import best_beginning, frame_batches
from .whisper import Whisper

_LOGGER = logging.getLogger("transcribe")
_PROMPT = ("<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>")
_SILENT_FRAMES = 100
"""Frames of silence after a clip, without which the decoder does not stop at its end."""


class Decoder:
    """Whisper's decoder, greedy, over features of its encoder that were computed before."""

    def __init__(self, whisper: Path, threads: int = 1) -> None:
        """Open a CTranslate2 Whisper directory with its `tokenizer.json`."""
        self.model = ctranslate2.models.Whisper(str(whisper), device="cpu", compute_type="int8", intra_threads=threads)
        self.tokenizer = Tokenizer.from_file(str(whisper / "tokenizer.json"))
        self.prompt = [self.tokenizer.token_to_id(token) for token in _PROMPT]
        (self.silence,) = Whisper(whisper).features([np.zeros(29 * RATE, np.float32)], [1440])

    def transcribe(self, clips: Sequence[np.ndarray]) -> list[str]:
        """Return transcripts from features [frames, 512] of clips of like length; empty where there are figures."""
        longest = max(len(features) for features in clips) + _SILENT_FRAMES
        padded = np.stack([np.concatenate([f, self.silence[len(f) : longest]]).astype(np.float32) for f in clips])
        results = self.model.generate(
            ctranslate2.StorageView.from_array(padded),
            [self.prompt] * len(clips),
            beam_size=1,
            max_length=10 + longest // 7,
            no_repeat_ngram_size=4,
        )
        texts = [self.tokenizer.decode(result.sequences_ids[0]) for result in results]
        return ["" if any(c.isdigit() for c in text) else transcript(text) for text in texts]


def transcribe(folder: Path, decoder: Decoder, worst: float) -> dict[str, object]:
    """Write transcripts into the index of a clip store, and the costs of all into `transcribed.jsonl` of its folder."""
    dataset = Dataset([folder], longest=LONGEST)
    table = np.fromfile(folder / (FREE_POSTERIORS if (folder / FREE_POSTERIORS).exists() else POSTERIORS), np.float16)
    table = table.reshape(-1, len(LABELS))
    texts: dict[int, str] = {}
    seconds = 0.0
    clips = [clip for clip in dataset.clips() if not clip.text]
    with open(folder / "transcribed.jsonl", "w", encoding="utf-8") as file:
        for batch in frame_batches(clips, 60.0):
            features = [np.asarray(dataset.feature_rows(clip)) for clip in batch]
            for clip, text in zip(batch, decoder.transcribe(features)):
                text, cost = best_beginning(table[clip.frame : clip.frame + clip.frames], text)
                file.write(json.dumps({"start": clip.start, "cost": round(cost, 3), "text": text}) + "\n")
                if cost < worst:
                    texts[clip.start] = text
                    seconds += clip.samples / RATE
    store = ClipStore(folder)
    rows = [{**row, "text": row["text"] or texts.get(int(str(row["start"])), "")} for row in store.rows]
    index = folder / "index.tmp"
    index.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    index.replace(folder / "index.jsonl")
    return {"clips": len(clips), "kept": len(texts), "kept_hours": round(seconds / 3600, 3)}


def main() -> None:
    """Transcribe some stores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("whisper", type=Path, help="CTranslate2 Whisper directory")
    parser.add_argument("stores", type=store_folder, nargs="+")
    parser.add_argument("--worst", type=float, default=2.0, help="most CTC loss a label (nats) of a kept text")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    decoder = Decoder(options.whisper)
    for store in options.stores:
        _LOGGER.info(json.dumps({"store": store.name, **transcribe(store, decoder, options.worst)}))


if __name__ == "__main__":
    main()
