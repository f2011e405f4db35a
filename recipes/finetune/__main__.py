"""Fine-tune a checkpoint on your own transcribed speech.

python -m recipes.finetune speech.jsonl --checkpoint CHECKPOINT --out TUNED
wav2edge export TUNED my-bundle
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from dataclasses import asdict, fields, replace
from pathlib import Path

import torch

from wav2edge.measure.scoring import score
from wav2edge.runtime.errors import Wav2EdgeError

from .speech import LONGEST, SHORTEST, Speech, read_speech
from .train import Settings, fine_tune, open_checkpoint, trainable, word_error_rate


def arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path, help="recordings and what is said: `path` and `text`, as for evaluate")
    parser.add_argument("--checkpoint", required=True, help="folder or hub name of a Wav2Vec 2.0 family checkpoint")
    parser.add_argument("--out", type=Path, required=True, help="folder of the fine-tuned checkpoint")
    parser.add_argument("--threads", type=positive, default=torch.get_num_threads())
    parser.add_argument("--device", type=device, default="cuda" if torch.cuda.is_available() else "cpu")
    for field in fields(Settings):
        name = "--" + field.name.replace("_", "-")
        parser.add_argument(name, type=type(field.default), default=field.default, help=f"default {field.default}")
    options = parser.parse_args()
    try:
        options.settings = Settings(**{field.name: getattr(options, field.name) for field in fields(Settings)})
    except ValueError as error:
        parser.error("--" + str(error).replace("_", "-"))
    return options


def positive(text: str) -> int:
    """Return a number of at least 1; raises ValueError."""
    if (number := int(text)) < 1:
        raise ValueError
    return number


def device(text: str) -> str:
    """Return a device of torch that is here; raises argparse.ArgumentTypeError."""
    try:
        torch.empty(1, device=text)
    except (RuntimeError, AssertionError) as error:
        raise argparse.ArgumentTypeError(f"{text}: {str(error).splitlines()[0]}") from error
    return text


def check_out(folder: Path, checkpoint: str) -> None:
    """Raise ValueError, before the training, for a folder that cannot become the fine-tuned checkpoint."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--out {folder}: is a file; name a folder")
    if folder.is_dir() and any(folder.iterdir()):
        which = "the checkpoint itself" if Path(checkpoint).resolve() == folder.resolve() else "not empty"
        raise ValueError(f"--out {folder}: is {which}; name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def checked_speech(manifest: Path) -> Speech:
    """Return the speech of a manifest; exits with one line where it cannot be trained on."""
    try:
        speech = read_speech(manifest)
    except Wav2EdgeError as error:
        sys.exit(f"error: {error}")
    for name, count in speech.left_out.items():
        if count:
            print(f"{name}: {count} recordings left out (shorter than {SHORTEST:g} s or longer than {LONGEST:g} s)")
    if not speech.train or not speech.dev:
        sys.exit(f"error: {manifest} needs at least two recordings of 0.3 to 30 s, to train on and to stop by")
    if not score([clip.text for clip in speech.dev], [""] * len(speech.dev)).wer.length:
        sys.exit(f"error: {manifest}: no recording of dev has words, so there is nothing to stop by")
    return speech


def main() -> None:
    """Fine-tune, measure before and after, write the checkpoint and `finetune.json` in its folder."""
    options = arguments()
    torch.set_num_threads(options.threads)
    settings: Settings = options.settings
    speech = checked_speech(options.manifest)
    minutes = {name: sum(clip.seconds for clip in getattr(speech, name)) / 60 for name in ("train", "dev", "test")}
    print(", ".join(f"{name}: {value:.1f} min" for name, value in minutes.items()))
    texts = [clip.text for clip in speech.train]
    try:
        check_out(options.out, options.checkpoint)
        checkpoint = open_checkpoint(options.checkpoint, texts, settings)
    except (OSError, ValueError) as error:
        sys.exit(f"error: {str(error).splitlines()[0]}")
    writer = checkpoint.writer()
    for text in texts:
        writer.write(text)
    if writer.dropped:
        print(f"left out, because the checkpoint has no label for them: {dict(writer.dropped.most_common(10))}")
    kept, reasons = trainable(checkpoint, speech.train)
    for reason, count in reasons.items():
        print(f"train: {count} recordings left out ({reason})")
    if not kept:
        sys.exit(f"error: {options.manifest}: none of its transcripts can be learned; look at the lines above")
    speech = replace(speech, train=kept)
    checkpoint.model.to(options.device)
    before = word_error_rate(checkpoint, speech.test) if speech.test else None
    history = fine_tune(checkpoint, speech, settings, lambda row: print(json.dumps(row), flush=True))
    best = min(row["dev_wer"] for row in history)
    if history[0]["dev_wer"] == 0:
        sys.exit("error: WER on dev is 0.0 % before any training, so nothing is written; give other speech as dev")
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
        "test_wer": None if after is None or math.isnan(after) else {"before": before, "after": after},
        "history": history,
    }
    (options.out / "finetune.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    print(f"WER on dev: {100 * history[0]['dev_wer']:.1f} % before, {100 * best:.1f} % after")
    if before is not None and after is not None and not math.isnan(after):
        print(f"WER on test: {100 * before:.1f} % before, {100 * after:.1f} % after")


if __name__ == "__main__":
    main()
