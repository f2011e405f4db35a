"""Make the bundle that ships with the package: export the checkpoint, quantise it, note its error rates.

    python -m recipes.embedded.bundle --speech speech/manifest.jsonl [--variant int8-u8s8,int8-s8s8,int8-u7s8]

Calibration takes train clips and the gate dev clips (by the recipe's split); eval is not used. The error rates of the
closing measurement come from results.json, where there is one; it must be of these weights.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
from pathlib import Path

from wav2edge.cli import main as wav2edge
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.write import add_variants

from .speech.dataset import LONGEST
from .speech.manifest import every, read_manifest, rows_of, write_manifest

HERE = Path(__file__).resolve().parent
CHECKPOINT = HERE / "checkpoint"
RESULTS = HERE / "results.json"
BUNDLE = HERE.parent.parent / "runtime" / "embedded_data" / "bundle"


def closing_results(weights: Path, results: Path) -> dict[str, dict[str, dict[str, float]]] | None:
    """Return the results of the closing measurement, or None without any; exits with one line if of other weights."""
    if not results.exists():
        return None
    found = json.loads(results.read_text("utf-8"))
    if found["sha256"] != hashlib.sha256(weights.read_bytes()).hexdigest():
        sys.exit(f"error: {results} is not of {weights}: run report.measure on these weights first")
    return found


def main() -> int:
    """Make the bundle in a scratch directory, then put it in its place."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speech", type=Path, required=True, help="manifest that the checkpoint was trained on")
    parser.add_argument("--variant", dest="variants", default="int8-u8s8,int8-s8s8,int8-u7s8", help="'' for fp32 alone")
    parser.add_argument("--max-wer-rise", default="0.5")
    arguments = parser.parse_args()
    results = closing_results(CHECKPOINT / "model.safetensors", RESULTS)
    rows = read_manifest(arguments.speech)
    with tempfile.TemporaryDirectory(dir=BUNDLE.parent, prefix=".bundle-") as scratch:
        made = Path(scratch) / "bundle"
        command = ["quantize", str(made), "--variant", arguments.variants, "--max-wer-rise", arguments.max_wer_rise]
        calibration, dev = every(rows_of(rows, "train"), 100), rows_of(rows, "dev")
        command += ["--speech", str(write_manifest(calibration, Path(scratch) / "calibration.jsonl"))]
        command += ["--dev", str(write_manifest(dev, Path(scratch) / "dev.jsonl")), "--dev-limit", str(len(dev))]
        command += ["--report", str(Path(scratch) / "report")]
        code = wav2edge(["export", str(CHECKPOINT), str(made), "--trained-seconds", f"{LONGEST:g}"])
        # A refused variant leaves the bundle without it, which is still a good bundle.
        if code or (arguments.variants and wav2edge(command) > 1):
            return code or 1
        bundle = Bundle.open(made)
        if results is not None:
            wer = {corpus: rates["wer"] for corpus, rates in results["eval"].items()}
            add_variants(bundle, made, [], extra={"provenance": {**bundle.provenance, "wer": wer}})
        shutil.rmtree(BUNDLE, ignore_errors=True)
        made.rename(BUNDLE)
    return wav2edge(["inspect", str(BUNDLE)])


if __name__ == "__main__":
    raise SystemExit(main())
