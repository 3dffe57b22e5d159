"""The kitchen's version and knobs. A recipe that names a seed and knobs names its recordings, bit for bit per machine."""

from __future__ import annotations

from dataclasses import field

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

KITCHEN_VERSION = "1.1"
SPLITS = ("source", "train", "validation", "test")


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class KitchenConfig:
    """Seed and knobs of a simulated set; each knob named `…_level` is 1 as tuned, 0 off, 2 twice as strong.

    `hand_size` scales hands and forearms, and with them how much they hide; `clutter` counts things nobody touches.
    """

    seed: int = 0
    participants: dict[str, int] = field(default_factory=lambda: {"source": 10, "train": 12, "validation": 4, "test": 8})
    recordings_per_participant: int = 1
    recording_seconds: float = 90.0
    width: int = 192
    height: int = 144
    frames_hz: float = 15.0
    boxes_hz: float = 5.0
    imu_hz: float = 100.0
    audio_hz: int = 16000
    camera_motion_level: float = 1.0
    motion_blur_level: float = 1.0
    grain_level: float = 1.0
    clutter: int = 3
    hand_size: float = 1.0
    room_noise_level: float = 1.0
    mains_hum_level: float = 1.0
    neighbours_level: float = 1.0
    box_noise_level: float = 1.0
    imu_noise_level: float = 1.0
    variety_level: float = 1.0
    annotation_jitter_seconds: float = 0.1
    missing_sensor_rate: float = 0.0
    write_flow: bool = False
    write_depth: bool = False

    def __post_init__(self) -> None:
        unknown = sorted(set(self.participants) - set(SPLITS))
        if unknown:
            raise ValueError(f"participants: unknown split {unknown[0]!r}; allowed: {', '.join(SPLITS)}")
        if self.width % 2 or self.height % 2:
            raise ValueError(f"width and height must be even for H.264, not {self.width}x{self.height}")
        if not 0 <= self.missing_sensor_rate <= 1:
            raise ValueError(f"missing_sensor_rate must lie in 0–1, not {self.missing_sensor_rate}")
        if not 0.2 <= self.hand_size <= 3:
            raise ValueError(f"hand_size must lie in 0.2–3, not {self.hand_size}")
        if self.recording_seconds < 10:
            raise ValueError(f"recording_seconds must be at least 10, not {self.recording_seconds}")
