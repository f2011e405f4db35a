"""How clips are varied in training: formants, spectral colour, missing bands, room, noise, masked frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..frames import RATE

_FRAME = 512
_SMOOTH = 33  # Quefrencies of the envelope, in samples.
_KNOTS = (0, 500, 1500, 3000, 8000)  # Hz
_TAKEN_OUT = 0.03  # Gain in a band that is taken out: -30 dB.


@dataclass(frozen=True)
class Augmentation:
    """How often each variation is applied and how strongly; `strength` 0 turns all of it off.

    Chances from 0 to 1: `noise`, `colour`, `bands` (one or two bands of frequency taken out), `room`, `speed`,
    `formants`, `trimmed` (silence cut off), `inside` (a part of the speech alone). Signal-to-noise ratios in dB from
    `quietest_ratio` to `loudest_ratio`; speed from 1 / `fastest` to `fastest`; a band is up to `widest_band` wide, in
    mel; `masked_share` of the frames is masked.
    """

    strength: float = 1.0
    noise: float = 0.6
    quietest_ratio: float = 6.0
    loudest_ratio: float = 30.0
    colour: float = 0.6
    bands: float = 0.6
    widest_band: float = 900.0
    room: float = 0.3
    speed: float = 0.8
    fastest: float = 1.15
    formants: float = 0.6
    trimmed: float = 0.45
    inside: float = 0.25
    masked_share: float = 0.2


class NoiseBank:
    """Coloured noise and babble, 20 s of each, made once."""

    def __init__(self, clips: list[np.ndarray], generator: np.random.Generator, seconds: float = 20.0) -> None:
        """Make the noises; babble is cut from the given clips (16 kHz)."""
        length = int(seconds * RATE)
        self.noises: list[np.ndarray] = []
        bins = np.arange(length // 2 + 1) / length * RATE
        for power in (0.0, 0.5, 1.0, 1.5):
            spectrum = np.fft.rfft(generator.standard_normal(length)) / np.maximum(bins, 30.0) ** power
            self.noises.append(_level(np.fft.irfft(spectrum, length)))
        for voices in (3, 8):
            babble = np.zeros(length, np.float32)
            for _ in range(voices * 6):
                clip = clips[int(generator.integers(len(clips)))][:length]
                start = int(generator.integers(length - len(clip) + 1))
                babble[start : start + len(clip)] += _level(clip)
            self.noises.append(_level(babble))

    def cut(self, length: int, generator: np.random.Generator) -> np.ndarray:
        """Return a random stretch of a random noise, at unit level."""
        noise = self.noises[int(generator.integers(len(self.noises)))]
        start = int(generator.integers(len(noise)))
        return np.resize(np.roll(noise, -start) if length > len(noise) - start else noise[start:], length)


def _level(samples: np.ndarray) -> np.ndarray:
    return (samples / (np.sqrt((samples**2).mean()) + 1e-9)).astype(np.float32)


def disturb(clip: np.ndarray, how: Augmentation, bank: NoiseBank, generator: np.random.Generator) -> np.ndarray:
    """Return the clip through a random colour and room, without some bands, with noise added; same length, no delay."""
    if how.strength <= 0:
        return clip
    coloured, roomy = generator.random() < how.colour, generator.random() < how.room
    narrowed = generator.random() < how.bands
    if coloured or roomy or narrowed:
        length = 1 << int(np.ceil(np.log2(len(clip) + (RATE // 3 if roomy else 0))))
        spectrum = np.fft.rfft(clip, length)
        if coloured:
            gains = generator.normal(0, 4 * how.strength, 9)
            edges = np.linspace(0, len(spectrum) - 1, 9)
            spectrum *= 10 ** (np.interp(np.arange(len(spectrum)), edges, gains) / 20)
        if roomy:
            decay = generator.uniform(0.05, 0.3)
            tail = generator.standard_normal(int(decay * RATE)) * 10 ** (
                -3 * np.arange(int(decay * RATE)) / decay / RATE
            )
            tail *= generator.uniform(0.1, 0.6) * how.strength / (np.sqrt((tail**2).sum()) + 1e-9)
            tail[0] = 1.0
            spectrum *= np.fft.rfft(tail, length)
        if narrowed:
            spectrum *= _without_bands(len(spectrum), how, generator)
        clip = np.fft.irfft(spectrum, length)[: len(clip)].astype(np.float32)
    if generator.random() < how.noise:
        ratio = generator.uniform(how.quietest_ratio, how.loudest_ratio)
        loud = np.sqrt((clip**2).mean()) + 1e-6
        clip = clip + bank.cut(len(clip), generator) * np.float32(loud * 10 ** (-ratio / 20))
    return clip


def _without_bands(bins: int, how: Augmentation, generator: np.random.Generator) -> np.ndarray:
    """Return gains [bins] up to 8 kHz that are small in one or two bands, 1 elsewhere.

    The frequency masks of SpecAugment (Park et al., 2019), made on the samples because the first convolution is learnt.
    """
    mels = 2595 * np.log10(1 + np.linspace(0, RATE / 2, bins) / 700)
    gains = np.ones(bins)
    for _ in range(int(generator.integers(1, 3))):
        width = generator.uniform(0, how.strength * how.widest_band)
        first = generator.uniform(0, mels[-1] - width)
        gains[(mels >= first) & (mels < first + width)] = _TAKEN_OUT
    return gains


def move_formants(clip: np.ndarray, how: Augmentation, generator: np.random.Generator) -> np.ndarray:
    """Return the clip with its formants moved, as of another vocal tract; same pitch, timing and length, no delay.

    The spectral envelope (cepstrum up to 2 ms) of each 32 ms is sampled on a frequency axis stretched at random,
    differently at low and high frequencies: vocal tract length perturbation (Jaitly and Hinton, 2013) of the envelope
    alone. Targets stay as they are.
    """
    window = np.sqrt(np.hanning(_FRAME + 1)[:-1]).astype(np.float32)
    hop, bins = _FRAME // 2, _FRAME // 2 + 1
    count = -(-len(clip) // hop) + 1
    padded = np.zeros((count + 1) * hop, np.float32)
    padded[hop : hop + len(clip)] = clip
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[::hop] * window
    spectra = np.fft.rfft(frames)
    magnitudes = np.abs(spectra)
    levels = np.log(magnitudes + 1e-3 * magnitudes.max(1, keepdims=True) + 1e-7)
    cepstra = np.fft.irfft(levels)[:, :bins]
    cepstra[:, _SMOOTH:] = 0
    cepstra[:, 1:_SMOOTH] *= 2 * np.cos(np.linspace(0, np.pi / 2, _SMOOTH))[1:]
    envelope = np.fft.rfft(cepstra, _FRAME).real
    octaves = how.strength * (generator.uniform(-0.25, 0.25) + generator.normal(0, 0.08, len(_KNOTS)))
    grid = np.arange(bins)
    asked = np.clip(grid * 2 ** np.interp(grid, np.asarray(_KNOTS) / RATE * _FRAME, octaves), 0, bins - 1.001)
    below = asked.astype(int)
    share = asked - below
    moved = envelope[:, below] * (1 - share) + envelope[:, below + 1] * share
    spectra *= np.exp(np.clip(moved - envelope, -3, 3))
    pieces = np.fft.irfft(spectra) * window
    summed = np.zeros_like(padded).reshape(-1, hop)
    summed[:-1] += pieces[:, :hop]
    summed[1:] += pieces[:, hop:]
    return summed.ravel()[hop : hop + len(clip)].astype(np.float32)


def mask_frames(batch: int, frames: int, how: Augmentation, generator: np.random.Generator) -> np.ndarray:
    """Return a mask [batch, frames, 1]: 0 on stretches of 4 to 16 frames, about `masked_share` of all."""
    mask = np.ones((batch, frames, 1), np.float32)
    for row in mask:
        for _ in range(int(generator.poisson(how.strength * how.masked_share * frames / 10))):
            start = int(generator.integers(frames))
            row[start : start + int(generator.integers(4, 17))] = 0
    return mask
