"""Make the bundles of the two heads that ship with the package, and measure them on test.

    python -m recipes.embedded.heads.bundle --manifest MANIFEST [--head keyword] [--test]

Exports the checkpoints in `checkpoints/`, quantises them (calibrated on train, judged on dev), and notes the threshold
that was chosen on dev. `--test` compares INT8 with fp32 on the test split, notes the reading, and adds the figures to
`results.json`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from wav2edge.cli import main as wav2edge
from wav2edge.measure import heads
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.write import write_manifest
from wav2edge.runtime.heads import sequence_classification, xvector
from wav2edge.runtime.model import Model

from ..speech.manifest import Utterance, every, read_manifest
from .results import note_reading
from .speaker import CLIPS, SHORTEST, by_speaker, speaker_splits
from .splits import phrases_of, rows_for, without_phrases, write

HERE = Path(__file__).resolve().parent
CHECKPOINTS = HERE / "checkpoints"
SHIPPED = HERE.parents[2] / "runtime" / "embedded_data"
VARIANT = "int8-u8s8"
NAMES = ("keyword", "speaker")
OTHERS = 200
"""Recordings of other speech that a keyword classifier is calibrated and judged on besides the phrases."""


def chosen(rows: Sequence[Utterance], head: str, split: str) -> list[Utterance]:
    """Return the utterances of a split that a head's bundle is made or measured with."""
    if head == "speaker":
        known, dev, test = speaker_splits(rows)
        spoken = {"train": [row for clips in known.values() for row in clips], "dev": dev, "test": test}[split]
        long = [row for row in spoken if row.seconds >= SHORTEST]
        return [row for clips in by_speaker(long, CLIPS).values() for row in clips]
    own = rows_for(rows, split)
    others = without_phrases(own, phrases_of(rows))
    return [*(row for row in own if "wake" in row.corpus), *every(others, OTHERS)]


def make(head: str, rows: Sequence[Utterance]) -> Bundle:
    """Export, quantise and put in place one bundle; exits with the code of the command that failed."""
    results = json.loads((CHECKPOINTS / head / "results.json").read_text("utf-8"))
    with tempfile.TemporaryDirectory(dir=SHIPPED, prefix=".bundle-") as scratch:
        made = Path(scratch) / "bundle"
        speech, dev = (write(chosen(rows, head, split), Path(scratch) / f"{split}.jsonl") for split in ("train", "dev"))
        command = ["quantize", str(made), "--variant", VARIANT, "--speech", str(speech), "--dev", str(dev)]
        command += ["--dev-limit", "400", "--report", str(Path(scratch) / "report")]
        code = wav2edge(["export", str(CHECKPOINTS / head), str(made)]) or wav2edge(command)
        if code:
            raise SystemExit(code)
        bundle = Bundle.open(made)
        given = bundle.spec.head_options
        assert isinstance(given, (xvector.Options, sequence_classification.Options))
        options = dataclasses.replace(given, threshold=results["threshold"])
        spec = dataclasses.replace(bundle.spec, head_options=options)
        write_manifest(made, spec, bundle.variants, bundle.provenance, bundle.files, bundle.document)
        shutil.rmtree(SHIPPED / head, ignore_errors=True)
        made.rename(SHIPPED / head)
    return Bundle.open(SHIPPED / head)


def compare(bundle: Bundle, head: str, rows: Sequence[Utterance]) -> None:
    """Add the figures of fp32 and INT8 on test to a head's results."""
    test = chosen(rows, head, "test")
    runs = {}
    with tempfile.TemporaryDirectory() as scratch:
        manifest = write(test, Path(scratch) / "test.jsonl")
        for name in ("fp32", VARIANT):
            with Model(bundle, "onnxruntime", name) as model:
                runs[name] = heads.run(model, manifest)
    note_reading(CHECKPOINTS / head, f"{head}, its bundle", len(test))
    change = runs["fp32"].change(runs[VARIANT])
    figures = {
        name: {estimate.figure.name: estimate.to_json() for estimate in run.estimates()} for name, run in runs.items()
    }
    path = CHECKPOINTS / head / "results.json"
    results = json.loads(path.read_text("utf-8"))
    results["bundle"] = {**figures, "change": change.to_json(), "dev": bundle.variant(VARIANT).metrics}
    path.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    print(f"{head}: fp32 {runs['fp32'].estimates()[0]}, {VARIANT} {runs[VARIANT].estimates()[0]}, change {change}")


def main() -> None:
    """Make the bundles that are named, or both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--head", choices=NAMES, action="append")
    parser.add_argument("--test", action="store_true", help="read the test split, and note that it was read")
    options = parser.parse_args()
    rows = read_manifest(options.manifest)
    for head in options.head or NAMES:
        bundle = make(head, rows)
        if options.test:
            compare(bundle, head, rows)


if __name__ == "__main__":
    main()
