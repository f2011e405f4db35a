"""Synthetic speech of books and mixed commands: Kokoro (mixed voices), Piper, flite and espeak-ng.

    python -m recipes.embedded.speech.synthesis flite STORE --hours 1 --books book.txt

Clips are appended to a clip store; run the same command again to go on after an interruption.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import soxr

from ..frames import RATE
from .clips import ClipStore
from .manifest import read_manifest, split_of
from .texts import book_lines, command_mixtures, phrases, transcript

PACKAGES = {"onnxruntime": "onnxruntime", "piper": "piper-tts"}
"""What Kokoro and Piper need beyond requirements.txt: module, and the package that has it."""

Speak = Callable[[str, random.Random], tuple[np.ndarray, str]]


def trim(samples: np.ndarray, generator: random.Random, floor_db: float = -45.0) -> np.ndarray:
    """Cut the silence at both ends down to a random 50 to 250 ms."""
    hop = RATE // 100
    frames = samples[: len(samples) // hop * hop].reshape(-1, hop)
    level = 10 * np.log10((frames**2).mean(1) + 1e-12)
    loud = np.flatnonzero(level > level.max() + floor_db + 10)
    if not len(loud):
        return samples
    first = max(0, loud[0] - generator.randint(5, 25)) * hop
    return samples[first : (loud[-1] + generator.randint(5, 25)) * hop]


def kokoro(model: Path, voices: Path, symbols: Path) -> Speak:
    """Open Kokoro-82M (ONNX). Every clip mixes the style of one to three voices, so speakers do not repeat."""
    import onnxruntime
    from piper.phonemize_espeak import EspeakPhonemizer

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    table = json.loads(symbols.read_text())["vocab"]
    files = sorted(voices.glob("*.bin"))
    english = [f for f in files if f.name[0] in "ab"]
    phonemizer = EspeakPhonemizer()

    def speak(text: str, generator: random.Random) -> tuple[np.ndarray, str]:
        count = generator.choice((1, 1, 2, 2, 3))
        chosen = [generator.choice(english if generator.random() < 0.7 else files) for _ in range(count)]
        language = "en-gb-x-rp" if chosen[0].name[0] == "b" else "en-us"
        said = "".join("".join(p) for p in phonemizer.phonemize(language, text))
        said = said.replace("ʲ", "").replace("r", "ɹ").replace("x", "k")
        tokens = [table[p] for p in said if p in table][:500]
        weights = np.random.default_rng(generator.getrandbits(32)).dirichlet(np.ones(count))
        styles = [np.fromfile(f, np.float32).reshape(-1, 1, 256)[len(tokens)] for f in chosen]
        style = sum(w * s for w, s in zip(weights, styles))
        inputs = {
            "tokens": np.array([[0, *tokens, 0]], np.int64),
            "style": np.asarray(style, np.float32),
            "speed": np.array([generator.uniform(0.85, 1.3)], np.float32),
        }
        audio = session.run(None, inputs)[0].reshape(-1)
        return soxr.resample(audio, 24000, RATE), "kokoro:" + "+".join(f.stem for f in chosen)

    return speak


def piper(model: Path) -> Speak:
    """Open a Piper voice; length and noise scales vary from clip to clip, and so does the size of the speaker.

    Resampling moves pitch and formants together (0.85 to 1.35 times) while the length is kept: many voices of one.
    """
    from piper import PiperVoice, SynthesisConfig

    voice = PiperVoice.load(model)
    voice.session.disable_fallback()

    def speak(text: str, generator: random.Random) -> tuple[np.ndarray, str]:
        higher = 2.0 ** generator.uniform(-0.23, 0.43)
        config = SynthesisConfig(
            length_scale=generator.uniform(0.8, 1.25) * higher, noise_scale=generator.uniform(0.4, 0.9)
        )
        chunks = list(voice.synthesize(text, config))
        audio = np.concatenate([chunk.audio_float_array for chunk in chunks])
        return soxr.resample(audio, chunks[0].sample_rate * higher, RATE), f"piper:{model.stem}@{higher:.2f}"

    return speak


def _command(name: str, arguments: Callable[[str, random.Random, str], tuple[list[str], str]]) -> Speak:
    def speak(text: str, generator: random.Random) -> tuple[np.ndarray, str]:
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            line, voice = arguments(text, generator, file.name)
            subprocess.run(line, check=True, capture_output=True)
            audio, rate = soundfile.read(file.name, dtype="float32")
        return soxr.resample(audio, rate, RATE), f"{name}:{voice}"

    return speak


def flite() -> Speak:
    """Speak with the voices of the flite command, resampled as Piper's are."""
    higher = 1.0

    def arguments(text: str, generator: random.Random, out: str) -> tuple[list[str], str]:
        nonlocal higher
        voice, higher = (
            generator.choice(("awb", "rms", "slt", "rms", "slt", "kal16")),
            2.0 ** generator.uniform(-0.3, 0.35),
        )
        if voice == "slt":
            higher *= 0.9
        stretch = generator.uniform(0.85, 1.2) * higher
        line = ["flite", "-voice", voice, "--setf", f"duration_stretch={stretch:.2f}", "-t", text, "-o", out]
        return line, f"{voice}@{higher:.2f}"

    say = _command("flite", arguments)

    def speak(text: str, generator: random.Random) -> tuple[np.ndarray, str]:
        audio, voice = say(text, generator)
        return soxr.resample(audio, RATE * higher, RATE), voice

    return speak


def espeak() -> Speak:
    """Speak with the espeak-ng command: accents times voice variants."""

    def arguments(text: str, generator: random.Random, out: str) -> tuple[list[str], str]:
        accent = generator.choice(("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp"))
        voice = accent + "+" + generator.choice(("m1", "m2", "m3", "m4", "m7", "f1", "f2", "f3", "f4", "f5"))
        speed, pitch = str(generator.randint(130, 190)), str(generator.randint(30, 70))
        return ["espeak-ng", "-v", voice, "-s", speed, "-p", pitch, "-w", out, text], voice

    return _command("espeak-ng", arguments)


def main() -> None:
    """Speak until the wanted hours are there; run it again to go on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", choices=("kokoro", "piper", "flite", "espeak"))
    parser.add_argument("out", type=Path, help="folder of the clip store to grow")
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--books", type=Path, nargs="+", required=True)
    parser.add_argument("--manifest", type=Path, help="manifest whose command transcripts are mixed")
    parser.add_argument("--commands", type=float, default=0.1, help="share of clips that are mixed commands")
    parser.add_argument("--first-line", type=int, help="first of the shuffled sentences to speak")
    parser.add_argument("--model", type=Path, help="Kokoro or Piper ONNX file")
    parser.add_argument("--voices", type=Path, help="folder of Kokoro's style files")
    parser.add_argument("--symbols", type=Path, help="Kokoro's config.json")
    parser.add_argument("--corpus", help="corpus name in the store (default: synthetic-ENGINE)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.engine in ("kokoro", "piper"):
        missing = [name for module, name in PACKAGES.items() if importlib.util.find_spec(module) is None]
        if missing:
            sys.exit(f"error: {options.engine} needs packages: {sys.executable} -m pip install {' '.join(missing)}")
    engines = {"piper": lambda: piper(options.model), "flite": flite, "espeak": espeak}
    engines["kokoro"] = lambda: kokoro(options.model, options.voices, options.symbols)
    speak = engines[options.engine]()
    store, corpus = ClipStore(options.out), options.corpus or f"synthetic-{options.engine}"
    lines = phrases(book_lines(options.books))
    random.Random(7).shuffle(lines)
    offset = options.first_line
    if offset is None:
        offset = {"kokoro": 0, "piper": 25000, "flite": 50000, "espeak": 75000}[options.engine]
    commands: list[str] = []
    if options.manifest:
        rows = read_manifest(options.manifest)
        real = [r.text for r in rows if "intent" in r.corpus and split_of(r) == "train"]
        commands = command_mixtures(real, 2000, random.Random(options.seed)) if real else []
    while store.seconds < options.hours * 3600:
        generator = random.Random(f"{options.seed}/{options.engine}/{len(store)}")
        text = lines[(offset + len(store)) % len(lines)]
        if commands and generator.random() < options.commands:
            text = generator.choice(commands)
        audio, voice = speak(re.sub(r"[“”\"()_]", "", text), generator)
        store.append(trim(audio, generator), transcript(text), voice, corpus)


if __name__ == "__main__":
    main()
