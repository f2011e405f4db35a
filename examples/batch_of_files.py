"""Transcribe many recordings with one model: python examples/batch_of_files.py talks/*.flac > talks.jsonl."""

import json
import sys

import wav2edge

with wav2edge.Transcriber() as transcribe:
    for recording, result in zip(sys.argv[1:], transcribe.batch(sys.argv[1:])):
        if result.transcript is None:
            print(result.error, file=sys.stderr)
        else:
            print(json.dumps({"path": recording, "text": result.transcript.text}, ensure_ascii=False))
