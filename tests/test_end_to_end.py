"""The whole way on real speech: the project's checkpoint in, a bundle, the same text as torch's, and the demo."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CHECKPOINT = ROOT / "recipes" / "embedded" / "checkpoint"

Clips = list[tuple[Path, str]]


def wav2edge(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    command = [sys.executable, "-m", "wav2edge", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, cwd=ROOT)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that the command exported from the project's checkpoint."""
    path = tmp_path_factory.mktemp("whole") / "bundle"
    done = wav2edge("export", CHECKPOINT, path)
    assert done.returncode == 0, done.stderr
    assert "parity" in done.stdout
    return path


@pytest.fixture(scope="module")
def torch_texts(clips: Clips) -> list[str]:
    """What transformers itself makes of each clip alone."""
    import torch
    from transformers import AutoModelForCTC, AutoProcessor

    from wav2edge.runtime.audio import read

    model = AutoModelForCTC.from_pretrained(CHECKPOINT, dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(CHECKPOINT)  # type: ignore[no-untyped-call]
    texts = []
    for path, _ in clips:
        inputs = processor(read.load(path), sampling_rate=16000, return_tensors="pt")
        with torch.inference_mode():
            best = model(inputs.input_values).logits.argmax(-1)
        texts.append(" ".join(processor.batch_decode(best)[0].split()))
    return texts


@pytest.mark.slow
def test_the_bundle_gives_torchs_text_word_for_word(exported: Path, clips: Clips, torch_texts: list[str]) -> None:
    done = wav2edge("transcribe", *[path for path, _ in clips], "-m", exported, "-f", "jsonl", "--variant", "fp32")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["text"] for line in done.stdout.splitlines()] == torch_texts


@pytest.mark.slow
def test_the_embedded_bundle_was_made_from_the_checkpoint(clips: Clips, torch_texts: list[str]) -> None:
    import wav2edge as package

    with package.Transcriber(package.open(engine="onnxruntime", variant="fp32")) as transcribe:
        assert [transcribe(path).text for path, _ in clips] == torch_texts


def test_the_embedded_bundle_recognises_real_speech(clips: Clips) -> None:
    """Commands and wake words of the clips that ship; far from its best, but no decoder that is broken gets there."""
    import wav2edge as package
    from wav2edge.measure.scoring import character_edits, rate

    known = [(path, text) for path, text in clips if path.suffix == ".opus"]
    with package.Transcriber() as transcribe:
        transcribed = [transcribe(path).text for path, _ in known]
    assert rate([character_edits(text, said) for (_, text), said in zip(known, transcribed)]).value < 0.35


@pytest.mark.slow
def test_selftest_passes_on_every_engine_here(exported: Path) -> None:
    done = wav2edge("selftest", exported)
    assert done.returncode == 0, done.stdout + done.stderr
