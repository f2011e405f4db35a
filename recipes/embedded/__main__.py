"""Make the embedded checkpoint from a manifest, end to end.

    python -m recipes.embedded --manifest speech/manifest.jsonl --whisper whisper-base/

Every stage leaves its result in the work folder. Run the same command again after an interruption: finished stages are
skipped and the interrupted one resumes. Results, logs, curves and card are written into the folder of the weights;
those of the shipped weights into the recipe's own folder.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from .speech.clips import ClipStore
from .speech.manifest import store_real
from .stages import once, stage

HERE = Path(__file__).resolve().parent
SHIPPED = HERE / "checkpoint"
SHARES = (
    '{"librispeech-train-clean-5": 6, "librispeech-train-clean-100": 2.2, "speechocean762": 2.6, "an4": 1.2,'
    ' "common-voice-en-first-clips": 0.3, "rhasspy-kathleen-arctic": 0.7, "ljspeech": 0.7,'
    ' "free-spoken-digit-dataset": 0.2, "picovoice-speech-to-intent": 1.7, "picovoice-wake-words": 1.0}'
)
SHAPE = ("--shape", 160, 12, 896, 4)
NEEDED: dict[str, tuple[str, ...]] = {
    "kokoro": ("kokoro", "kokoro_voices", "kokoro_symbols"),
    "piper": ("piper",),
    "flite": (),
}
"""The options without which an engine of synthetic speech has nothing to speak with."""


def check_whisper(folder: Path, decoder: bool) -> None:
    """Exit with one line where the teacher's directory lacks a file; `decoder`: its decoder's files are needed too."""
    wanted = ["model.bin", *(["config.json", "tokenizer.json", "vocabulary.*"] if decoder else [])]
    missing = [name for name in wanted if not any(folder.glob(name))]
    if missing:
        sys.exit(f"error: {folder} lacks {', '.join(missing)} (README.md says where they come from)")


def arguments() -> argparse.Namespace:
    """Return the options of the command line, with absolute paths."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--whisper", type=Path, required=True, help="CTranslate2 Whisper directory: the teacher")
    parser.add_argument("--work", type=Path, default=HERE / "work")
    parser.add_argument("--out", type=Path, default=SHIPPED)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--init-from", type=Path, help="go on from a checkpoint instead of training a front end")
    parser.add_argument("--head-hours", type=float, default=16.0)
    parser.add_argument("--front-hours", type=float, default=20.0)
    parser.add_argument("--encoder-hours", type=float, default=20.0)
    parser.add_argument("--whole-hours", type=float, default=60.0)
    parser.add_argument("--perturb", action="store_true", help="add speed-perturbed copies with teacher targets")
    parser.add_argument("--books", type=Path, nargs="*", default=[], help="texts to speak: .txt, fortune files, .rdb")
    for name in ("kokoro", "kokoro-voices", "kokoro-symbols", "piper"):
        parser.add_argument("--" + name, type=Path)
    dialogue = "queen.1c, sky.dsk: speech of many actors, which the teacher transcribes"
    parser.add_argument("--dialogue", type=Path, nargs="*", default=[], help=dialogue)
    for name in ("kokoro", "piper", "flite"):
        parser.add_argument(f"--{name}-hours", type=float, default=0.0)
    parser.add_argument("--bundle", action="store_true", help="also make the bundle that the package ships")
    options = parser.parse_args()
    for name, value in vars(options).items():
        if isinstance(value, Path):
            setattr(options, name, value.resolve())
        elif isinstance(value, list):
            setattr(options, name, [path.resolve() for path in value])
    check_inputs(parser, options)
    if options.bundle and options.out != SHIPPED:
        parser.error(f"--bundle is made of the shipped weights, {SHIPPED}")
    return options


def check_inputs(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End with one line for a file that is not there, or that synthetic speech needs and that was not named."""
    files = [options.manifest, options.init_from, options.kokoro, options.kokoro_voices, options.kokoro_symbols]
    for path in (*files, options.piper, *options.books, *options.dialogue):
        if path is not None and not path.exists():
            parser.error(f"{path}: no such file")
    for engine, names in NEEDED.items():
        if getattr(options, f"{engine}_hours") > 0:
            missing = [name for name in (*names, "books") if not getattr(options, name)]
            if missing:
                parser.error(f"--{engine}-hours needs --{missing[0].replace('_', '-')}")


def synthesise(options: argparse.Namespace) -> list[Path]:
    """Extend the synthetic stores that were asked for and return their folders."""
    folders = []
    kokoro = ["--model", options.kokoro, "--voices", options.kokoro_voices, "--symbols", options.kokoro_symbols]
    models: dict[str, list[object]] = {"kokoro": kokoro, "piper": ["--model", options.piper], "flite": []}
    for engine, extra in models.items():
        folder, hours = options.work / f"synthetic-{engine}", getattr(options, f"{engine}_hours")
        if hours > 0:
            texts = ["--books", *options.books, "--manifest", options.manifest, "--seed", options.seed]
            stage("speech.synthesis", engine, folder, "--hours", hours, *texts, *extra)
            folders.append(folder)
    return folders


def prepare(options: argparse.Namespace) -> tuple[list[Path], Path]:
    """Make the stores with the teacher's targets; return those of train and the one of dev."""
    work, threads = options.work, ["--threads", options.threads]
    store_real(options.manifest, work / "real")
    real, dev, perturbed = work / "real/train", work / "real/dev", work / "perturbed"
    if not len(ClipStore(real)):
        sys.exit(f"error: {options.manifest} has no clips to train on")
    stores = [real, *synthesise(options)]
    dialogues = [work / f"dialogue-{archive.stem}" for archive in options.dialogue]
    for archive, folder in zip(options.dialogue, dialogues):
        stage("speech.dialogue", archive, folder)
    stores += dialogues
    stage("teacher.features", options.whisper, dev, *stores)
    if options.perturb:
        copies = ["--perturb-from", real, "--skip", "wake", "--seed", options.seed]
        stage("teacher.features", options.whisper, perturbed, *copies)
        stores.append(perturbed)
    head = ["--dev", dev, *threads]
    stage("teacher.head", work / "head.pt", "--stores", *stores, dev, "--hours", options.head_hours, *head)
    if dialogues:  # Their transcripts by the decoder then train the head too.
        once(work / "transcribed.done", dialogues, "teacher.transcribe", options.whisper, *dialogues)
        again = ["--init-from", work / "head.pt", "--rate", 1e-3, "--hours", 0.4 * options.head_hours, "--redo"]
        once(work / "head-all.done", stores, "teacher.head", work / "head-all.pt", "--stores", *stores, *head, *again)
    once(work / "constrained.done", stores, "teacher.constrain", *stores)
    return stores, dev


def train(options: argparse.Namespace, stores: list[Path], dev: Path) -> list[Path]:
    """Train front end, encoder and the whole; return the folders of the runs."""
    work = options.work
    common = ["--dev", dev, "--shares", SHARES, "--seed", options.seed, "--stores", *stores]
    runs, start = [], options.init_from
    if start is None:
        budget = ["--hours", options.front_hours, "--front-hours", options.front_hours, "--rate", 3e-3]
        front = ["--whisper", options.whisper, "--threads", options.threads]
        stage("student.train", work / "front", *budget, *front, *common)
        runs.append(work / "front")
        start = work / "front/checkpoint"
    count = options.threads  # Processes of one thread each, which share the hours.
    rates = ["--front-hours", 0, "--rate", 1.1e-3, "--matrix-rate", 2.75e-3, "--batch-seconds", 60, *SHAPE, *common]
    encoder = ["--hours", options.encoder_hours / count, "--frozen", 7, "--decay-from", 0.8]
    stage("student.train", work / "encoder", *encoder, "--init-from", start, *rates, processes=count)
    whole = ["--hours", options.whole_hours / count, "--whisper", options.whisper, "--joined", 0.1, "--piece", 5]
    stage("student.train", work / "whole", *whole, "--init-from", work / "encoder/checkpoint", *rates, processes=count)
    return [*runs, work / "encoder", work / "whole"]


def report(options: argparse.Namespace, runs: list[Path], stores: list[Path], dev: Path) -> None:
    """Measure the weights, draw the curves and write the card."""
    evidence = HERE if options.out == SHIPPED else options.out
    results = ["--why", "closing measurement of the recipe", "--out", evidence / "results.json"]
    results += ["--readings", evidence / "eval_readings.jsonl", "--threads", options.threads]
    stage("report.measure", options.out, "--manifest", options.manifest, *results)
    sizes = [f"{folder.relative_to(options.work)}={folder}" for folder in (*stores, dev)]
    head = options.work / ("head-all.json" if options.dialogue else "head.json")
    logs = ["--runs", "run=" + "+".join(map(str, runs)), "--head", head, "--logs", evidence / "logs"]
    stage("report.collect", *logs, "--stores", *sizes)
    stage("report.curves", f"run={evidence / 'logs/run.jsonl'}", "--out", evidence / "curves")
    card = ["--checkpoint", options.out, "--evidence", evidence, "--log", "run"]
    stage("report.card", "--manifest", options.manifest, *card)


def main() -> None:
    """Run every stage."""
    options = arguments()
    check_whisper(options.whisper, bool(options.dialogue))
    stores, dev = prepare(options)
    runs = train(options, stores, dev)
    options.out.mkdir(parents=True, exist_ok=True)
    for file in (runs[-1] / "checkpoint").iterdir():
        if file.name != "heads.pt":
            (options.out / file.name).write_bytes(file.read_bytes())
    stage("student.balance", options.out, "--dev", dev, "--threads", options.threads)
    report(options, runs, stores, dev)
    if options.bundle:
        stage("bundle", "--speech", options.manifest)


if __name__ == "__main__":
    main()
