"""``wav2edge demo``: the whole path on the embedded checkpoint, each step shown as the command that does it."""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
from pathlib import Path

from wav2edge.runtime.bundle import embedded

HELP = "show the whole path on the embedded checkpoint: export, parity, words, latency, live captions"

CHECKPOINT = Path("recipes/embedded/checkpoint")
SHOWN = ("coffee-latte.opus", "smart-mirror.opus", "librispeech-5339.flac")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("--checkpoint", type=Path, help=f"checkpoint to export (default: {CHECKPOINT} of the project)")
    parser.add_argument("--output", type=Path, help="keep the bundle there (default: a temporary directory)")


def run(arguments: argparse.Namespace) -> int:
    """Run every step; the first that fails ends the demo with its exit code."""
    with tempfile.TemporaryDirectory(prefix="wav2edge-demo-") as scratch:
        bundle = arguments.output or Path(scratch) / "my-bundle"
        clips = embedded.clips_manifest().parent
        code = _export(arguments.checkpoint or _project_checkpoint(), bundle)
        if code:
            return code
        if not bundle.exists():
            bundle = embedded.bundle_path()
        steps: tuple[tuple[str, list[str]], ...] = (
            ("What is in it", ["inspect", str(bundle)]),
            ("The same numbers on every engine here", ["selftest", str(bundle)]),
        )
        for title, command in steps:
            if code := _step(title, command):
                return code
        _words(bundle, clips)
        return _step("How fast it is here", ["bench", "-m", str(bundle), "--quick"]) or _step(
            "Live captions of one clip, played in real time",
            ["listen", "-m", str(bundle), "--file", str(clips / "coffee-milk-and-sugar.opus")],
        )


def _export(checkpoint: Path | None, bundle: Path) -> int:
    if checkpoint is None:
        print("(no checkpoint here: the project's checkout has it; going on with the embedded bundle)")
        return 0
    missing = [name for name in ("torch", "transformers", "onnx") if importlib.util.find_spec(name) is None]
    if missing:
        print(f'(no {", ".join(missing)} here: `pip install "wav2edge[export]"` shows the export too)')
        return 0
    return _step("From the checkpoint to a proven bundle", ["export", str(checkpoint), str(bundle)])


def _words(bundle: Path, clips: Path) -> None:
    import json

    from wav2edge.devices.open import open_model
    from wav2edge.measure.scoring import score
    from wav2edge.runtime.recordings.transcriber import Transcriber

    _title("What it hears", f"wav2edge transcribe clips/*.opus clips/*.flac -m {bundle.name}")
    rows = [json.loads(line) for line in (clips / "manifest.jsonl").read_text("utf-8").splitlines()]
    with Transcriber(open_model(bundle)) as transcriber:
        for row in rows:
            if row["path"] in SHOWN:
                text = transcriber(clips / row["path"]).text
                print(f"  {row['path']} ({row['seconds']} s, {row['corpus']})")
                print(f"    said   {row['text']}\n    heard  {text}")
                if importlib.util.find_spec("jiwer") is not None:
                    print(f"    WER    {score([row['text']], [text]).wer}")


def _step(title: str, command: list[str]) -> int:
    from wav2edge.cli import main

    _title(title, " ".join(["wav2edge", *command]))
    return main(command)


def _title(title: str, command: str) -> None:
    print(f"\n\033[1m{title}\033[0m\n$ {command}\n" if _terminal() else f"\n== {title}\n$ {command}\n", flush=True)


def _terminal() -> bool:
    import sys

    return sys.stdout.isatty()


def _project_checkpoint() -> Path | None:
    """The checkpoint of the checkout that this installation runs from, if it does."""
    for parent in Path(__file__).resolve().parents:
        if (parent / CHECKPOINT / "config.json").is_file():
            return parent / CHECKPOINT
    return None
