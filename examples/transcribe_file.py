"""Transcribe a recording: python examples/transcribe_file.py talk.flac [BUNDLE]."""

import sys

import wav2edge

with wav2edge.Transcriber(*sys.argv[2:3]) as transcribe:
    transcript = transcribe(sys.argv[1])
print(transcript.text)
for word in transcript.words:
    print(f"{word.start:7.2f} {word.end:7.2f} {word.confidence:5.2f}  {word.text}")
