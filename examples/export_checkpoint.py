"""Export a checkpoint and check it on every engine here: python examples/export_checkpoint.py CHECKPOINT BUNDLE."""

import sys

import wav2edge

checkpoint, bundle = sys.argv[1:3]
try:
    wav2edge.export(checkpoint, bundle)
except wav2edge.errors.GateRefused as refusal:
    sys.exit(f"not good enough: {refusal}")
for result in wav2edge.selftest(bundle):
    print(f"{result.engine:24} {result.variant:8} {result.status} {result.reason}")
