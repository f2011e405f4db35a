"""Make the embedded checkpoint from a manifest, end to end: `python run.py --manifest M --whisper DIR`.

Every stage leaves its result in the work folder; run again, a stage that was at its end makes nothing anew, and an
interrupted one goes on where it stopped. Stages run as their own commands, so each can be tried alone. What was
measured of the weights (results, logs, curves, card) lies in their folder; of the shipped ones, beside the recipe.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from clips import ClipStore
from data import store_real

HERE = Path(__file__).resolve().parent
SHIPPED = HERE / "checkpoint"
SHARES = (
    '{"librispeech-train-clean-100": 1.9, "ljspeech": 0.8, "picovoice-wake-words": 0.8,'
    ' "picovoice-speech-to-intent": 1.5, "amazon-queen-dialogue": 1.6, "steel-sky-dialogue": 1.4,'
    ' "synthetic-kokoro": 0.6, "synthetic-piper": 1.2, "synthetic-flite": 1.2}'
)
SHAPE = ("--shape", 160, 8, 640, 4)


def stage(*arguments: object) -> None:
    """Run one command of the recipe and stop the recipe, with its exit code, if it fails or is ended."""
    line = [sys.executable, *(str(a) for a in arguments)]
    print("+", " ".join(line[1:]), flush=True)
    code = subprocess.run(line, cwd=HERE).returncode
    if code:
        print(f"error: {arguments[0]} ended with {code}: mend it and run the same again to go on", file=sys.stderr)
        sys.exit(code if code > 0 else 128 - code)


def once(marker: Path, stores: list[Path], *arguments: object) -> None:
    """Run a stage that rewrites `stores`, unless `marker` says that it was at its end with just these clips in them."""
    clips = "".join(f"{folder.name} {len(ClipStore(folder))}\n" for folder in stores)
    if marker.exists() and marker.read_text("utf-8") == clips:
        return
    marker.unlink(missing_ok=True)
    stage(*arguments)
    marker.write_text(clips, "utf-8")


def check_whisper(folder: Path, decoder: bool) -> None:
    """Exit with one line where the teacher's directory lacks a file; `decoder`: those of its decoder are needed too."""
    wanted = ["model.bin", *(["config.json", "tokenizer.json", "vocabulary.*"] if decoder else [])]
    missing = [name for name in wanted if not any(folder.glob(name))]
    if missing:
        sys.exit(f"error: {folder} lacks {', '.join(missing)} (README.md says where they come from)")


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
    parser.add_argument("--out", type=Path, default=SHIPPED)
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
    check_whisper(options.whisper, bool(options.dialogue))
    store_real(options.manifest, work / "real")
    real, dev, perturbed = work / "real/train", work / "real/dev", work / "perturbed"
    if not len(ClipStore(real)):
        sys.exit(f"error: {options.manifest} has no clips to train on")
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
        once(work / "transcribed.done", dialogues, "transcribe.py", options.whisper, *dialogues)
    again = ["--init-from", work / "head.pt", "--rate", 1e-3, "--hours", 0.4 * options.head_hours, "--redo", *threads]
    all_of_it = [work / "head-all.pt", "--stores", *stores, "--dev", dev, *again]
    once(work / "head-all.done", stores, "head.py", *all_of_it)
    once(work / "constrained.done", stores, "constrain.py", *stores)
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
    evidence = HERE if options.out == SHIPPED else options.out
    results = ["--why", "closing measurement of run.py", "--out", evidence / "results.json"]
    results += ["--readings", evidence / "eval_readings.jsonl"]
    stage("closing.py", options.out, "--manifest", options.manifest, *results)
    run = "run=" + "+".join(str(work / name) for name in ("front", "encoder", "whole") if (work / name).exists())
    sizes = [f"{folder.relative_to(work)}={folder}" for folder in (*stores, dev)]
    logs = ["--head", work / "head-all.json", "--logs", evidence / "logs"]
    stage("collect.py", "--runs", run, "--stores", *sizes, *logs)
    stage("curves.py", f"run={evidence / 'logs/run.jsonl'}", "--out", evidence / "curves")
    card = ["--checkpoint", options.out, "--evidence", evidence, "--log", "run"]
    stage("card.py", "--manifest", options.manifest, *card)


if __name__ == "__main__":
    main()
