"""``wav2edge demo``: export the embedded model, check and measure it, and show live captions."""

from __future__ import annotations

import importlib.util
import shlex
from pathlib import Path

from wav2edge.runtime import remedies

from . import _options, _terminal
from ._command import command, option

CHECKPOINT = Path("recipes/embedded/checkpoint")
SHOWN = ("coffee-latte.opus", "smart-mirror.opus", "librispeech-5339.flac")


@command("wav2edge demo", "wav2edge demo --output my-bundle  # keep the bundle that it exports")
@option(
    "--checkpoint",
    "checkpoint to export (default: that of the embedded model, where the project's files are)",
    metavar="DIR",
    type=_options.FILE,
)
@option("--output", "keep the bundle there (default: a temporary directory)", metavar="DIR", type=_options.FILE)
def run(checkpoint: str | None, output: str | None) -> int:
    """Export the embedded model, check and measure it, and show live captions.

    Export with its parity check, the content of the bundle, a selftest on every engine here, the text of a few clips,
    the speed, and live captions of one clip. Each step prints its command. Takes a minute or two. Without torch and
    transformers the export is left out.
    """
    import tempfile

    from wav2edge.runtime.bundle import embedded

    with tempfile.TemporaryDirectory(prefix="wav2edge-demo-") as scratch:
        bundle = Path(output) if output is not None else Path(scratch) / "my-bundle"
        clips = embedded.clips_manifest().parent
        if code := _export(_project_checkpoint() if checkpoint is None else Path(checkpoint), bundle):
            return code
        if not bundle.exists():
            bundle = embedded.bundle_path()
        steps: tuple[tuple[str, list[str]], ...] = (
            ("The content of the bundle", ["inspect", str(bundle)]),
            ("The same numbers on every engine here", ["selftest", str(bundle)]),
        )
        for title, words in steps:
            if code := _step(title, words):
                return code
        _words(bundle, clips)
        return _step("How fast it is here", ["bench", "-m", str(bundle), "--quick"]) or _step(
            "Live captions of one clip, played in real time",
            ["listen", "-m", str(bundle), "--file", str(clips / "coffee-milk-and-sugar.opus")],
        )


def _export(checkpoint: Path | None, bundle: Path) -> int:
    if checkpoint is None:
        _terminal.out("(no checkpoint here: the project's repository has it; continuing with the embedded bundle)")
        return 0
    missing = [name for name in ("torch", "transformers", "onnx") if importlib.util.find_spec(name) is None]
    if missing:
        _terminal.out(f"(no {', '.join(missing)} here: `{remedies.install('export')}` shows the export too)")
        return 0
    return _step("From the checkpoint to a bundle, compared with torch", ["export", str(checkpoint), str(bundle)])


def _words(bundle: Path, clips: Path) -> None:
    import json

    from wav2edge.devices.open import open_model
    from wav2edge.measure.scoring import score
    from wav2edge.runtime.recordings.transcriber import Transcriber

    _title("What it recognises", f"wav2edge transcribe clips/*.opus clips/*.flac -m {bundle.name}")
    rows = [json.loads(line) for line in (clips / "manifest.jsonl").read_text("utf-8").splitlines()]
    with Transcriber(open_model(bundle)) as transcriber:
        for row in rows:
            if row["path"] in SHOWN:
                text = transcriber(clips / row["path"]).text
                _terminal.out(f"  {row['path']} ({row['seconds']} s, {row['corpus']})")
                _terminal.out(f"    spoken      {row['text']}\n    recognised  {text}")
                if importlib.util.find_spec("jiwer") is not None:
                    _terminal.out(f"    WER         {score([row['text']], [text]).wer}")


def _step(title: str, words: list[str]) -> int:
    from . import main

    _title(title, shlex.join(["wav2edge", *words]))
    return main(words)


def _title(title: str, line: str) -> None:
    _terminal.heading(title, f"$ {line}")


def _project_checkpoint() -> Path | None:
    """The checkpoint of the checkout that this installation runs from, if it does."""
    for parent in Path(__file__).resolve().parents:
        if (parent / CHECKPOINT / "config.json").is_file():
            return parent / CHECKPOINT
    return None
