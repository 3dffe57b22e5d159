"""What the microphone hears: modal synthesis of struck things, friction, water, rattles, and the room behind it all.

A struck thing rings in a few damped modes whose frequencies and decay follow from its material (and, through the
kitchen's own factor, from its size); rubbing and water are shaped noise. Amplitudes are in full scale (1.0).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .knobs import KitchenConfig
from .objects import Random
from .stage import Sound

Samples = NDArray[np.float64]


@dataclass(frozen=True)
class Material:
    """Lowest mode in Hz, mode ratios, decay time in seconds of the lowest mode, share of contact noise."""

    base_hz: float
    ratios: tuple[float, ...]
    decay_seconds: float
    noise: float


MATERIALS = {
    "ceramic": Material(1350, (1, 1.58, 2.24, 2.92, 3.4), 0.070, 0.25),
    "glass": Material(2300, (1, 1.32, 2.05, 2.66), 0.160, 0.12),
    "metal": Material(640, (1, 1.48, 2.03, 2.76, 3.94, 5.1), 0.240, 0.15),
    "thin-metal": Material(2900, (1, 1.27, 1.83, 2.31), 0.110, 0.20),
    "plastic": Material(520, (1, 1.9, 2.6), 0.020, 0.5),
    "cardboard": Material(260, (1, 2.1, 3.3), 0.014, 0.8),
    "wood": Material(410, (1, 1.7, 2.9, 4.2), 0.030, 0.4),
    "hollow-wood": Material(150, (1, 1.6, 2.3, 3.7), 0.070, 0.35),
    "soft-thud": Material(85, (1, 1.5, 2.2), 0.090, 0.4),
    "food": Material(180, (1, 1.6), 0.012, 0.8),
    "soft": Material(140, (1, 1.4), 0.008, 0.9),
    "click": Material(3400, (1, 1.5), 0.006, 0.7),
}
FRICTION_BANDS = {
    "ceramic": (1800, 5000), "glass": (2500, 6500), "metal": (900, 3800), "thin-metal": (2500, 6000), "wood": (250, 1500),
    "plastic": (500, 2500), "cardboard": (300, 3000), "food": (300, 1800), "soft": (150, 1100), "scrape": (1200, 4500),
    "squeak": (900, 1300),
}  # fmt: skip


def synthesise(sounds: list[Sound], config: KitchenConfig, random: Random, pitch: float) -> Samples:
    """The recording's waveform in −1…1; `pitch` scales the pitch of all this kitchen's things."""
    rate = config.audio_hz
    track = np.zeros(int(config.recording_seconds * rate) + rate)
    for sound in sounds:
        samples = render(sound, rate, random, pitch)
        start = int(max(sound.second, 0) * rate)
        stop = min(start + len(samples), len(track))
        if start < stop:
            track[start:stop] += samples[: stop - start]
    track = echo(track[: int(config.recording_seconds * rate)], rate, random)
    track = 0.22 * float(random.uniform(0.5, 1.4)) * track + background(len(track), config, random)
    return np.asarray(np.tanh(1.4 * track) / 1.4)


def render(sound: Sound, rate: int, random: Random, pitch: float) -> Samples:
    if sound.kind == "impact":
        return impact(sound, rate, random, pitch)
    count = max(int(sound.seconds * rate), 16)
    seconds = np.arange(count) / rate
    fade = np.minimum(1, np.minimum(seconds, seconds[::-1]) / 0.05)
    if sound.kind == "friction":
        low, high = FRICTION_BANDS.get(sound.material, (300, 2000))
        stroke = np.abs(np.sin(np.pi * sound.rate_hz * seconds + random.uniform(0, 0.4))) ** 0.7 if sound.rate_hz else 1.0
        return 0.35 * sound.gain * fade * stroke * noise(count, low, high, rate, random)
    if sound.kind == "water":
        gurgle = 1 + 0.35 * noise(count, 1, 9, rate, random)
        return 0.30 * sound.gain * fade * gurgle * noise(count, 500, 6500, rate, random)
    if sound.kind == "hiss":
        return 0.20 * sound.gain * fade * noise(count, 1500, 7500, rate, random)
    if sound.kind == "sizzle":
        return 0.22 * sound.gain * fade * noise(count, 2500, 7500, rate, random) * (1 + noise(count, 5, 60, rate, random))
    if sound.kind == "splash":
        swell = np.maximum(0, np.sin(2 * np.pi * sound.rate_hz * seconds)) ** 2
        return 0.35 * sound.gain * fade * swell * noise(count, 300, 3500, rate, random)
    if sound.kind == "pour":
        return fade * (bubbles(sound, rate, random) + 0.14 * sound.gain * noise(count, 400, 5000, rate, random))
    if sound.kind == "rattle":
        return rattle(sound, rate, random, pitch)
    raise ValueError(f"unknown sound kind {sound.kind!r}")


def impact(sound: Sound, rate: int, random: Random, pitch: float) -> Samples:
    material = MATERIALS[sound.material]
    seconds = np.arange(int(rate * min(0.6, 6 * material.decay_seconds + 0.03))) / rate
    ring = np.zeros(len(seconds))
    for ratio in material.ratios:
        hertz = material.base_hz * ratio * pitch * float(np.exp(0.03 * random.standard_normal()))
        if hertz < rate * 0.47:
            decay = material.decay_seconds / ratio**0.6
            ring += random.uniform(0.4, 1.0) / ratio**0.5 * np.exp(-seconds / decay) * np.sin(2 * np.pi * hertz * seconds)
    burst = random.standard_normal(len(seconds)) * np.exp(-seconds / 0.004)
    return np.asarray(sound.gain * (ring / len(material.ratios) ** 0.5 + material.noise * burst) * 0.6)


def bubbles(sound: Sound, rate: int, random: Random) -> Samples:
    """A vessel that fills: short chirps whose pitch rises."""
    track = np.zeros(max(int(sound.seconds * rate), 16))
    for start in np.sort(random.uniform(0, sound.seconds, int(sound.rate_hz * sound.seconds))):
        hertz = (500 + 700 * start / sound.seconds) * float(np.exp(0.3 * random.standard_normal()))
        seconds = np.arange(int(0.03 * rate)) / rate
        chirp = np.sin(2 * np.pi * hertz * seconds * (1 + 4 * seconds)) * np.exp(-seconds / 0.008)
        first = int(start * rate)
        piece = chirp[: len(track) - first]
        track[first : first + len(piece)] += 0.25 * sound.gain * piece
    return track


def rattle(sound: Sound, rate: int, random: Random, pitch: float) -> Samples:
    """Many small knocks in swings of `rate_hz`."""
    track = np.zeros(max(int(sound.seconds * rate), 16) + rate)
    for start in random.uniform(0, sound.seconds, int(28 * sound.seconds)):
        swing = 0.3 + 0.7 * abs(np.sin(np.pi * sound.rate_hz / 2 * start))
        grain = Sound("impact", 0, material=sound.material, gain=0.22 * sound.gain * swing * float(random.uniform(0.3, 1)))
        samples = impact(grain, rate, random, pitch)
        track[int(start * rate) : int(start * rate) + len(samples)] += samples
    return track


def echo(dry: Samples, rate: int, random: Random) -> Samples:
    """The room's reverberation: an exponentially fading noise tail of 0.2–0.5 s."""
    seconds = np.arange(int(0.4 * rate)) / rate
    tail = random.standard_normal(len(seconds)) * np.exp(-6.9 * seconds / random.uniform(0.2, 0.5))
    tail *= random.uniform(0.15, 0.45) / np.sqrt((tail**2).sum())
    size = fast_length(len(dry) + len(tail))
    wet = np.fft.irfft(np.fft.rfft(dry, size) * np.fft.rfft(tail, size), size)[: len(dry)]
    return np.asarray(dry + wet)


def fast_length(count: int) -> int:
    """The next length made of small primes, for which Fourier transforms are fast."""
    return min(factor << max((count - 1) // factor, 1).bit_length() for factor in (1, 3, 5, 9, 15))


def noise(count: int, low_hz: float, high_hz: float, rate: int, random: Random) -> Samples:
    """Band-passed Gaussian noise of unit variance."""
    size = fast_length(count)
    spectrum = np.fft.rfft(random.standard_normal(size))
    hertz = np.fft.rfftfreq(size, 1 / rate)
    spectrum *= 1 / np.sqrt((1 + (low_hz / np.maximum(hertz, 1e-3)) ** 4) * (1 + (hertz / high_hz) ** 4))
    shaped = np.fft.irfft(spectrum, size)[:count]
    return np.asarray(shaped / max(float(shaped.std()), 1e-9))


def background(count: int, config: KitchenConfig, random: Random) -> Samples:
    """Room tone, an extractor hood, a radio, mains hum with harmonics, clatter of others in the room, and neighbours."""
    rate = config.audio_hz
    seconds = np.arange(count) / rate
    room = 0.012 * config.room_noise_level * float(random.uniform(0.5, 1.6)) * noise(count, 40, 900, rate, random)
    if random.random() < 0.4:
        room += 0.03 * config.room_noise_level * float(random.uniform(0.4, 1.2)) * noise(count, 120, 3000, rate, random)
    if random.random() < 0.5:
        room += 0.03 * config.room_noise_level * float(random.uniform(0.4, 1.2)) * radio(count, rate, random)
    mains_hz = 50.0 if random.random() < 0.7 else 60.0
    hum = np.zeros(count)
    for harmonic in (1, 2, 3, 5):
        hum += random.uniform(0.2, 1) / harmonic * np.sin(2 * np.pi * mains_hz * harmonic * seconds + random.uniform(0, 6))
    hum *= 0.008 * config.mains_hum_level * float(random.uniform(0, 1.5))
    return np.asarray(room + hum + config.neighbours_level * neighbours(count, rate, random))


def radio(count: int, rate: int, random: Random) -> Samples:
    """Speech-like noise in syllables over a slow melody."""
    seconds = np.arange(count) / rate
    syllables = np.maximum(0, np.sin(2 * np.pi * random.uniform(2.5, 4.5) * seconds + 3 * np.sin(0.7 * seconds)))
    notes = 220 * 2 ** (random.integers(0, 13, int(seconds[-1] * 3) + 2) / 12)
    hertz = notes[(seconds * 3).astype(int)]
    return np.asarray(
        0.7 * syllables * noise(count, 200, 2500, rate, random) + 0.4 * np.sin(2 * np.pi * np.cumsum(hertz) / rate)
    )


def neighbours(count: int, rate: int, random: Random) -> Samples:
    track = np.zeros(count)
    seconds = count / rate
    for _ in range(random.poisson(seconds / 0.9)):
        kind = random.random()
        start = float(random.uniform(0, seconds))
        if kind < 0.15:
            length = int(random.uniform(0.5, 2.0) * rate)
            syllables = np.maximum(0, np.sin(2 * np.pi * random.uniform(2.5, 5) * np.arange(length) / rate))
            piece = 0.03 * syllables * noise(length, 150, 900, rate, random)
        elif kind < 0.8:
            material = list(MATERIALS)[int(random.integers(len(MATERIALS)))]
            piece = 0.3 * impact(
                Sound("impact", 0, material=material, gain=float(random.uniform(0.2, 1.0))), rate, random, 1.0
            )
        else:
            length = int(random.uniform(0.8, 2.5) * rate)
            piece = 0.03 * noise(length, 300, 4000, rate, random) * np.hanning(length)
        first = int(start * rate)
        piece = piece[: count - first]
        track[first : first + len(piece)] += piece
    return track
