"""Captions of a microphone, or of a file in real time: python examples/live_captions.py [talk.flac] [BUNDLE]."""

import sys

import wav2edge

source, bundle = (*sys.argv[1:3], None, None)[:2]
with wav2edge.listen(bundle, source) as captions:
    for event in captions:
        if isinstance(event, wav2edge.events.Partial):
            print(f"\r{event.stable} [{event.tentative}]", end="", flush=True)
        elif isinstance(event, wav2edge.events.Final):
            print(f"\r{event.start:7.2f}  {event.text}")
