"""Captions inside an audio loop of your own: python examples/own_audio_loop.py talk.flac [BUNDLE]."""

import sys

import soundfile

import wav2edge

bundle = sys.argv[2] if len(sys.argv) > 2 else None
with wav2edge.LiveTranscriber(bundle) as captions, soundfile.SoundFile(sys.argv[1]) as sound:
    assert sound.samplerate == 16000, "LiveTranscriber takes 16 kHz mono"
    for block in sound.blocks(1600, dtype="float32"):  # 0.1 s at a time, as a sound card gives it
        for event in captions.push(block):
            print(event)
    for event in captions.finish():
        print(event)
