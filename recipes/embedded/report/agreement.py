"""Whether the bundle's fp32 variant writes what torch wrote, word for word, on every clip of eval; logged as a reading.

As torch was: one pass over each clip, and spaces where the labels have them, not also at pauses.

python -m recipes.embedded.report.agreement BUNDLE --manifest MANIFEST
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import wav2edge
from wav2edge.runtime.recordings.chunking import Chunking
from wav2edge.runtime.recordings.segmentation import Segmentation

from ..error_rates import Transcribed, error_rates
from ..speech.manifest import read_manifest, rows_of
from .readings import log_reading

HERE = Path(__file__).resolve().parents[1]
LONGEST = 60.0
"""Seconds of the longest clip."""


def texts(bundle: Path, engine: str, manifest: Path) -> list[Transcribed]:
    """Transcribe the eval split by the runtime."""
    with wav2edge.open(bundle, engine=engine, variant="fp32") as model:
        segmentation = Segmentation(word_gap=LONGEST, longest=LONGEST)
        transcriber = wav2edge.Transcriber(model, chunking=Chunking(LONGEST), segmentation=segmentation)
        rows = rows_of(read_manifest(manifest), "eval")
        return [Transcribed(row.corpus, row.text, transcriber(row.path).text) for row in rows]


def main() -> None:
    """Compare with the transcripts of the closing measurement; the exit code is 1 where one differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--engines", nargs="+", default=["onnxruntime", "openvino"])
    parser.add_argument("--results", type=Path, default=HERE / "results.json", help="of report.measure")
    parser.add_argument("--readings", type=Path, default=HERE / "eval_readings.jsonl", help="log of uses of eval")
    options = parser.parse_args()
    results = json.loads(options.results.read_text("utf-8"))
    by_torch = sorted(Transcribed(**row) for row in results["eval_transcripts"])
    different = 0
    for engine in options.engines:
        found = sorted(texts(options.bundle, engine, options.manifest))
        pairs = [(torch, ours) for torch, ours in zip(by_torch, found, strict=True) if torch != ours]
        for torch, ours in pairs:
            print(f"{engine}: {ours.hypothesis!r}, torch: {torch.hypothesis!r}")
        print(f"{engine}: {len(found) - len(pairs)} of {len(found)} clips as torch")
        different += len(pairs)
        why = f"torch's text against that of the bundle (fp32, {engine})"
        log_reading(options.readings, why, results["sha256"], error_rates(found))
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
