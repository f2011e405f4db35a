"""Fine-tune a checkpoint on your own transcribed speech.

python -m recipes.finetune speech.jsonl --checkpoint CHECKPOINT --out TUNED
wav2edge export TUNED my-bundle
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, fields
from pathlib import Path

import torch

from wav2edge.runtime.errors import Wav2EdgeError

from .labels import Writer
from .speech import LONGEST, SHORTEST, read_speech
from .train import Settings, fine_tune, open_checkpoint, word_error_rate


def arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path, help="recordings and what is said: `path` and `text`, as for evaluate")
    parser.add_argument("--checkpoint", required=True, help="folder or hub name of a Wav2Vec 2.0 family checkpoint")
    parser.add_argument("--out", type=Path, required=True, help="folder of the fine-tuned checkpoint")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    for field in fields(Settings):
        name = "--" + field.name.replace("_", "-")
        parser.add_argument(name, type=type(field.default), default=field.default, help=f"default {field.default}")
    return parser.parse_args()


def main() -> None:
    """Fine-tune, measure before and after, write the checkpoint and `finetune.json` in its folder."""
    options = arguments()
    torch.set_num_threads(options.threads)
    settings = Settings(**{field.name: getattr(options, field.name) for field in fields(Settings)})
    try:
        speech = read_speech(options.manifest)
    except Wav2EdgeError as error:
        sys.exit(f"error: {error}")
    minutes = {name: sum(clip.seconds for clip in getattr(speech, name)) / 60 for name in ("train", "dev", "test")}
    print(", ".join(f"{name}: {value:.1f} min" for name, value in minutes.items()))
    for name, count in speech.left_out.items():
        if count:
            print(f"{name}: {count} recordings left out (shorter than {SHORTEST:g} s or longer than {LONGEST:g} s)")
    if not speech.train or not speech.dev:
        sys.exit(f"error: {options.manifest} needs at least two recordings of 0.3 to 30 s, to train on and to stop by")
    texts = [clip.text for clip in speech.train]
    checkpoint = open_checkpoint(options.checkpoint, texts, options.out, settings)
    checkpoint.model.to(options.device)
    writer = Writer(checkpoint.tokenizer)
    for text in texts:
        writer.write(text)
    if writer.dropped:
        print(f"left out, because the checkpoint has no label for them: {dict(writer.dropped.most_common(10))}")
    before = word_error_rate(checkpoint, speech.test) if speech.test else None
    history = fine_tune(checkpoint, speech, settings, lambda row: print(json.dumps(row), flush=True))
    best = min(row["dev_wer"] for row in history)
    if best >= history[0]["dev_wer"]:
        sys.exit(
            f"error: no pass lowered the error rate on dev ({100 * best:.1f} %), so nothing is written; give more "
            "speech, more --epochs and --minutes, or another --rate"
        )
    after = word_error_rate(checkpoint, speech.test) if speech.test else None
    checkpoint.save(options.out)
    result = {
        "checkpoint": options.checkpoint,
        "minutes": minutes,
        "settings": asdict(settings),
        "dev_wer": {"before": history[0]["dev_wer"], "after": best},
        "test_wer": None if after is None else {"before": before, "after": after},
        "history": history,
    }
    (options.out / "finetune.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    print(f"WER on dev: {100 * history[0]['dev_wer']:.1f} % before, {100 * best:.1f} % after")
    if before is not None and after is not None:
        print(f"WER on test: {100 * before:.1f} % before, {100 * after:.1f} % after")


if __name__ == "__main__":
    main()
