"""Which utterances a head trains on, which guide its choices, and which are read once at the end.

    python -m recipes.embedded.heads.splits DIR --manifest MANIFEST

writes them as manifests for `wav2edge` and the benchmarks: `keyword-train.jsonl` (phrases with their label),
`other-train.jsonl` (speech without phrases), `speaker-train.jsonl`, and those of dev and test.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from ..speech.manifest import Utterance, read_manifest, split_of

DEV_SHARE = 0.15
"""Share of the encoder's training speakers that a head does not train on, to guide its choices."""


def head_split(row: Utterance) -> str:
    """Return train, dev or test.

    Wake words keep the recipe's split. Of all other speech, what the encoder never trained on (the recipe's dev, and
    eval) is test; dev is taken from its training speech, by speaker where speakers are named.
    """
    split = split_of(row)
    if "wake" in row.corpus:
        return "test" if split == "eval" else split
    if split != "train":
        return "test"
    name = str(row.speaker) if row.by_speaker else row.key
    digest = hashlib.sha256(f"heads {name}".encode()).digest()
    return "dev" if int.from_bytes(digest[:4], "big") / 2**32 < DEV_SHARE else "train"


def rows_for(rows: Sequence[Utterance], split: str) -> list[Utterance]:
    """Return the utterances of a head's split, in their order."""
    return [row for row in rows if head_split(row) == split]


def genders_of(rows: Sequence[Utterance], speakers: Path | None) -> dict[str, str]:
    """Return "m" or "f" for each speaker that a JSON Lines file names, and for AN4's, whose names begin with it."""
    found = {}
    for row in rows:
        if row.corpus == "an4" and row.speaker is not None:
            found[str(row.speaker)] = str(row.speaker).removeprefix("an4-")[0]
    for line in speakers.read_text("utf-8").splitlines() if speakers else ():
        named = json.loads(line)
        found[str(named["speaker"])] = str(named["gender"])
    return found


def phrases_of(rows: Sequence[Utterance]) -> list[str]:
    """Return the wake phrases that are trained on."""
    return sorted({row.text for row in rows_for(rows, "train") if "wake" in row.corpus})


def without_phrases(rows: Sequence[Utterance], phrases: Sequence[str]) -> list[Utterance]:
    """Return the utterances of other corpora whose text has none of the phrases."""
    return [row for row in rows if "wake" not in row.corpus and not any(phrase in row.text for phrase in phrases)]


def write(rows: Sequence[Utterance], path: Path) -> Path:
    """Write a manifest of absolute paths for wav2edge; wake phrases have a label. Return its path."""
    lines = []
    for row in rows:
        values: dict[str, object] = {"path": str(row.path.resolve()), "text": row.text, "corpus": row.corpus}
        values["label"] = row.text if "wake" in row.corpus else "other"
        if row.speaker is not None:
            values["speaker"] = str(row.speaker)
        lines.append(json.dumps(values))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def main() -> None:
    """Write the manifests."""
    from .speaker import CLIPS, SHORTEST, by_speaker, speaker_splits

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--manifest", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rows = read_manifest(options.manifest)
    phrases = phrases_of(rows)
    known, dev, test = speaker_splits(rows)
    speakers = {"train": [row for own in known.values() for row in own], "dev": dev, "test": test}
    for split, spoken in speakers.items():
        own = rows_for(rows, split)
        write([row for row in own if "wake" in row.corpus], options.out / f"keyword-{split}.jsonl")
        write(without_phrases(own, phrases), options.out / f"other-{split}.jsonl")
        long = [row for row in spoken if row.seconds >= SHORTEST]
        kept = [row for clips in by_speaker(long, CLIPS).values() for row in clips]
        write(kept, options.out / f"speaker-{split}.jsonl")


if __name__ == "__main__":
    main()
