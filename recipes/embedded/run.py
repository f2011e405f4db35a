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

HERE = Path(__file__).resolve().parent
CURVES = HERE / "curves"
SHARES = (
    '{"librispeech-train-clean-100": 1.9, "ljspeech": 0.8, "picovoice-wake-words": 0.8,'
    ' "picovoice-speech-to-intent": 1.5, "amazon-queen-dialogue": 1.6, "steel-sky-dialogue": 1.4,'
    ' "synthetic-kokoro": 0.6, "synthetic-piper": 1.2, "synthetic-flite": 1.2}'
)
SHAPE = ("--shape", 160, 8, 640, 4)


def stage(*arguments: object) -> None:
    """Run one command of the recipe and stop the recipe if it fails."""
    line = [sys.executable, *(str(a) for a in arguments)]
    print("+", " ".join(line[1:]), flush=True)
    subprocess.run(line, check=True, cwd=HERE)


def synthesise(options: argparse.Namespace, work: Path) -> list[Path]:
    """Grow the synthetic stores that were asked for."""
    folders = []
    kokoro = ["--model", options.kokoro, "--voices", options.kokoro_voices, "--symbols", options.kokoro_symbols]
    models: dict[str, list[object]] = {"kokoro": kokoro, "piper": ["--model", options.piper], "flite": []}
    for engine, extra in models.items():
        folder, hours = work / f"synthetic-{engine}", getattr(options, f"{engine}_hours")
        if hours > 0:
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
    parser.add_argument("--init-from", type=Path, help="go on from a checkpoint: skips the front end's warm start")
    parser.add_argument("--head-hours", type=float, default=16.0)
    parser.add_argument("--front-hours", type=float, default=20.0)
    parser.add_argument("--encoder-hours", type=float, default=20.0)
    parser.add_argument("--whole-hours", type=float, default=60.0)
    parser.add_argument("--books", type=Path, nargs="*", default=[], help="texts to speak: .txt, fortune files, .rdb")
    for name in ("kokoro", "kokoro-voices", "kokoro-symbols", "piper"):
        parser.add_argument("--" + name, type=Path)
    parser.add_argument(
        "--dialogue",
        type=Path,
        nargs="*",
        default=[],
        help="queen.1c, sky.dsk: speech of many actors, which the teacher transcribes (dialogue.py)",
    )
    for name in ("kokoro", "piper", "flite"):
        parser.add_argument(f"--{name}-hours", type=float, default=0.0)
    options = parser.parse_args()
    for name, value in vars(options).items():
        if isinstance(value, Path):
            setattr(options, name, value.resolve())
        elif isinstance(value, list):
            setattr(options, name, [path.resolve() for path in value])
    work = options.work
    store_real(options.manifest, work / "real")
    real, dev, perturbed = work / "real/train", work / "real/dev", work / "perturbed"
    stores = [real, perturbed, *synthesise(options, work)]
    for archive in options.dialogue:
        stores.append(work / f"dialogue-{archive.stem}")
        stage("dialogue.py", archive, stores[-1])
    stage("cache.py", options.whisper, dev, real, *stores[2:])
    stage("cache.py", options.whisper, perturbed, "--perturb-from", real, "--skip", "wake", "--seed", options.seed)
    shares, threads = ["--shares", SHARES], ["--threads", options.threads]
    stage("head.py", work / "head.pt", "--stores", *stores, dev, "--dev", dev, "--hours", options.head_hours, *threads)
    dialogues = [folder for folder in stores if folder.name.startswith("dialogue-")]
    if dialogues:
        stage("transcribe.py", options.whisper, *dialogues)
    again = ["--init-from", work / "head.pt", "--rate", 1e-3, "--hours", 0.4 * options.head_hours, "--redo", *threads]
    stage("head.py", work / "head-all.pt", "--stores", *stores, "--dev", dev, *again)
    stage("constrain.py", *stores)
    common = ["--dev", dev, *shares, *threads, "--seed", options.seed, "--stores", *stores]
    front = options.init_from
    if front is None:
        budget = ["--hours", options.front_hours, "--ear-hours", options.front_hours, "--rate", 3e-3]
        stage("train.py", work / "front", *budget, "--whisper", options.whisper, *common)
        front = work / "front/checkpoint"
    rates = ["--rate", 1.2e-3, "--matrix-rate", 2e-3, "--batch-seconds", 40, *SHAPE, *common]
    encoder = ["--hours", options.encoder_hours, "--ear-hours", 0, "--frozen", 7, "--decay-from", 0.8]
    stage("train.py", work / "encoder", *encoder, "--init-from", front, *rates)
    whole = ["--hours", options.whole_hours, "--ear-hours", 0, "--whisper", options.whisper, "--joined", 0.3]
    stage("train.py", work / "whole", *whole, "--init-from", work / "encoder/checkpoint", *rates)
    options.out.mkdir(parents=True, exist_ok=True)
    for file in (work / "whole/checkpoint").iterdir():
        if file.name != "heads.pt":
            (options.out / file.name).write_bytes(file.read_bytes())
    stage("balance.py", options.out, "--dev", dev)
    stage("closing.py", options.out, "--manifest", options.manifest, "--why", "closing measurement of run.py")
    runs = [f"{name}={work / name}" for name in ("front", "encoder", "whole") if (work / name).exists()]
    sizes = [f"{folder.relative_to(work)}={folder}" for folder in (*stores, dev)]
    stage("collect.py", "--runs", *runs, "--stores", *sizes, "--head", work / "head-all.json")
    stage("curves.py", *(f"{run.split('=')[0]}={HERE}/logs/{run.split('=')[0]}.jsonl" for run in runs), "--out", CURVES)
    stage("card.py", "--manifest", options.manifest, "--checkpoint", options.out)


if __name__ == "__main__":
    main()
