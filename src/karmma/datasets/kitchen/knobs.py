"""The kitchen's version and knobs. A recipe that names a seed and knobs names its recordings, bit for bit per machine."""

from __future__ import annotations

from dataclasses import field

from pydantic.dataclasses import dataclass

from ...config import STRICT, Amount, Count, Natural, Positive, Probability

KITCHEN_VERSION = "1.1"
SPLITS = ("source", "train", "validation", "test")


@dataclass(frozen=True, config=STRICT)
class KitchenConfig:
    """Seed and knobs of a simulated set; each knob named `…_level` is 1 as tuned, 0 off, 2 twice as strong.

    `hands_hz` is how often a headset's tracker says where both hands are, 0: there is none. `hand_size` scales hands and forearms,
    and with them how much they hide; `clutter` counts things nobody touches.
    """

    seed: Natural = 0
    participants: dict[str, Natural] = field(default_factory=lambda: {"source": 10, "train": 12, "validation": 4, "test": 8})
    recordings_per_participant: Count = 1
    recording_seconds: float = 90.0
    width: Count = 192
    height: Count = 144
    frames_hz: Positive = 15.0
    boxes_hz: Positive = 5.0
    imu_hz: Positive = 100.0
    hands_hz: Amount = 0.0
    audio_hz: Count = 16000
    camera_motion_level: Amount = 1.0
    motion_blur_level: Amount = 1.0
    grain_level: Amount = 1.0
    clutter: Natural = 3
    hand_size: float = 1.0
    room_noise_level: Amount = 1.0
    mains_hum_level: Amount = 1.0
    neighbours_level: Amount = 1.0
    box_noise_level: Amount = 1.0
    imu_noise_level: Amount = 1.0
    variety_level: Amount = 1.0
    hand_noise_level: Amount = 1.0
    annotation_jitter_seconds: Amount = 0.1
    missing_sensor_rate: Probability = 0.0
    write_flow: bool = False
    write_depth: bool = False

    def __post_init__(self) -> None:
        unknown = sorted(set(self.participants) - set(SPLITS))
        if unknown:
            raise ValueError(f"participants: unknown split {unknown[0]!r}; allowed: {', '.join(SPLITS)}")
        if self.width % 2 or self.height % 2:
            raise ValueError(f"width and height must be even for H.264, not {self.width}x{self.height}")
        if not 0.2 <= self.hand_size <= 3:
            raise ValueError(f"hand_size must lie in 0.2–3, not {self.hand_size}")
        if self.recording_seconds < 10:
            raise ValueError(f"recording_seconds must be at least 10, not {self.recording_seconds}")
