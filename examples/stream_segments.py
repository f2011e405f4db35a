"""Print the segments of a long recording as they end: python examples/stream_segments.py lecture.mp3 [BUNDLE]."""

import sys

import wav2edge

with wav2edge.Transcriber(*sys.argv[2:3], chunking=wav2edge.Chunking(length=20, context=2)) as transcribe:
    for segment in transcribe.stream(sys.argv[1]):
        print(f"{segment.start:7.2f} – {segment.end:7.2f}  {segment.text}", flush=True)
