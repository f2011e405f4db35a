"""Make the embedded checkpoint from a manifest, end to end: `python run.py --manifest M --whisper DIR`.

Every stage leaves its result in the work folder and is skipped when that is there; an interrupted stage goes on where
it stopped. Stages run as their own commands, so each can be tried alone.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from data import store_real

HERE = Path(__file__).parent
SHARES = (
    '{"librispeech-train-clean-100": 1.6, "ljspeech": 0.7, "picovoice-wake-words": 0.5,'
    ' "picovoice-speech-to-intent": 1.6, "synthetic-kokoro": 0.4, "synthetic-piper": 0.4}'
)


def stage(*arguments: object) -> None:
    """Run one command of the recipe and stop the recipe if it fails."""
    line = [sys.executable, *(str(a) for a in arguments)]
    print("+", " ".join(line[1:]), flush=True)
    subprocess.run(line, check=True, cwd=HERE)


def synthesise(options: argparse.Namespace, work: Path) -> list[Path]:
    """Grow the synthetic stores that were asked for."""
    folders = []
    for engine, hours in (("kokoro", options.kokoro_hours), ("piper", options.piper_hours)):
        folder = work / f"synthetic-{engine}"
        if hours > 0:
            extra: list[object] = ["--model", options.kokoro if engine == "kokoro" else options.piper]
            if engine == "kokoro":
                extra += ["--voices", options.kokoro_voices, "--symbols", options.kokoro_symbols]
            books = ["--books", *options.books, "--manifest", options.manifest, "--seed", options.seed]
            stage("synthesis.py", engine, folder, "--hours", hours, *books, *extra)
            folders.append(folder)
    return folders


def main() -> None:
    """Run every stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--whisper", type=Path, required=True, help="CTranslate2 Whisper directory: the teacher")
    parser.add_argument("--work", type=Path, default=HERE / "work")
    parser.add_argument("--out", type=Path, default=HERE / "checkpoint")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--init-from", type=Path, help="go on from a checkpoint: skips the convolutions' warm start")
    parser.add_argument("--head-hours", type=float, default=16.0)
    parser.add_argument("--mel-hours", type=float, default=4.0)
    parser.add_argument("--encoder-hours", type=float, default=60.0)
    parser.add_argument("--whole-hours", type=float, default=15.0)
    parser.add_argument("--copies", type=int, default=3, help="disturbed copies whose convolution features are kept")
    parser.add_argument("--books", type=Path, nargs="*", default=[], help="texts to speak: .txt, fortune files, .rdb")
    for name in ("kokoro", "kokoro-voices", "kokoro-symbols", "piper"):
        parser.add_argument("--" + name, type=Path)
    parser.add_argument("--kokoro-hours", type=float, default=0.0)
    parser.add_argument("--piper-hours", type=float, default=0.0)
    options = parser.parse_args()
    for name, value in vars(options).items():
        if isinstance(value, Path):
            setattr(options, name, value.resolve())
    options.books = [book.resolve() for book in options.books]
    work = options.work
    store_real(options.manifest, work / "real")
    real, dev, perturbed = work / "real/train", work / "real/dev", work / "perturbed"
    stores = [real, perturbed, *synthesise(options, work)]
    stage("cache.py", options.whisper, dev, real, *stores[2:])
    stage("cache.py", options.whisper, perturbed, "--perturb-from", real, "--skip", "wake", "--seed", options.seed)
    shares, threads = ["--shares", SHARES], ["--threads", options.threads]
    stage("head.py", work / "head.pt", "--stores", *stores, dev, "--dev", dev, "--hours", options.head_hours, *threads)
    common = ["--dev", dev, *shares, *threads, "--seed", options.seed, "--stores", *stores]
    front = options.init_from
    if front is None:
        budget = ["--hours", options.mel_hours, "--mel-hours", options.mel_hours, "--rate", 1e-3]
        stage("train.py", work / "front", *budget, *common)
        front = work / "front/checkpoint"
    stage("frontend.py", front, *stores, "--copies", *range(1, options.copies + 1))
    cached = ["--hours", options.encoder_hours, "--cached", "--mel-hours", 0, "--init-from", front]
    stage("train.py", work / "encoder", *cached, *common)
    whole = ["--hours", options.whole_hours, "--mel-hours", 0, "--mel-until", 0.01, "--decay-from", 0.3, "--rate", 5e-4]
    whole += ["--matrix-rate", 8e-4]
    stage("train.py", work / "whole", *whole, "--init-from", work / "encoder/checkpoint", *common)
    options.out.mkdir(parents=True, exist_ok=True)
    for file in (work / "whole/checkpoint").iterdir():
        (options.out / file.name).write_bytes(file.read_bytes())
    stage("closing.py", options.out, "--manifest", options.manifest, "--why", "closing measurement of run.py")
    logs = [f"{name}={work / name / 'log.jsonl'}" for name in ("front", "encoder", "whole") if (work / name).exists()]
    stage("curves.py", *logs, "--out", HERE / "curves")


if __name__ == "__main__":
    main()
