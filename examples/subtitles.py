"""Write subtitles beside a recording: python examples/subtitles.py talk.flac [BUNDLE]."""

import sys
from pathlib import Path

import wav2edge

recording = Path(sys.argv[1])
with wav2edge.Transcriber(*sys.argv[2:3], segmentation=wav2edge.Segmentation(pause=0.4)) as transcribe:
    transcript = transcribe(recording)
recording.with_suffix(".srt").write_text(transcript.to_srt(), "utf-8")
recording.with_suffix(".vtt").write_text(transcript.to_vtt(), "utf-8")
