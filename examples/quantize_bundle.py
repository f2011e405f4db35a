"""Add INT8 variants and compare their words: python examples/quantize_bundle.py BUNDLE CALIBRATION.jsonl DEV.jsonl."""

import sys

import wav2edge
from wav2edge.calibration.options import Options

bundle, speech, dev = sys.argv[1:4]
wav2edge.quantize(bundle, speech=speech, dev=dev, options=Options(variants=("int8-u8s8",)))
for variant in wav2edge.Bundle.open(bundle).variants:
    print(f"{variant.name:12} {variant.bytes / 1e6:7.1f} MB  {variant.metrics}")
