"""The stage on which actions are played: where everything is, and the keyframes and sounds that actions leave behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .fixtures import AWAY, COUNTER_HEIGHT
from .objects import Random, Thing
from .scene import Kitchen
from .tracks import Track, Vector, rotations

Point = Sequence[float] | Vector
HEAD_HEIGHT = 1.50


@dataclass(frozen=True)
class Sound:
    """Something audible: `kind` is a voice of sound.py; `material` rings, `gain` is its strength, `rate_hz` its rhythm."""

    kind: str
    second: float
    seconds: float = 0.0
    material: str = "wood"
    gain: float = 1.0
    rate_hz: float = 0.0


@dataclass(frozen=True)
class Tremor:
    """Head vibration while the hands chop or shake."""

    start: float
    stop: float
    rate_hz: float
    metres: float


@dataclass
class Stage:
    """World state and script of one recording; actions write keyframes into `tracks`, the tracks of parts and hands."""

    kitchen: Kitchen
    random: Random
    tracks: dict[str, Track] = field(default_factory=dict)
    sounds: list[Sound] = field(default_factory=list)
    tremors: list[Tremor] = field(default_factory=list)
    where: dict[str, tuple[float, float] | None] = field(default_factory=dict)
    is_open: set[str] = field(default_factory=set)
    is_on: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, part in self.kitchen.parts.items():
            if "/" not in name:
                self.tracks[name] = Track([0.0], [np.array(part.rest)])
        self.tracks["body"] = Track([0.0], [np.array([0.0])])
        self.tracks["gaze"] = Track([0.0], [np.array([0.0, 0.9, 0.5])])
        for hand in ("right", "left"):
            self.tracks[hand] = Track([0.0], [self.idle(hand)])

    # Who and where

    @property
    def hand(self) -> str:
        """The dominant hand."""
        return "right" if self.kitchen.habits.side > 0 else "left"

    @property
    def helper(self) -> str:
        return "left" if self.kitchen.habits.side > 0 else "right"

    @staticmethod
    def side_of(hand: str) -> float:
        return 1.0 if hand == "right" else -1.0

    def idle(self, hand: str) -> Vector:
        """Hand pose out of sight, beside the hip: x, y, z, roll, closure."""
        return np.array([float(self.tracks["body"].last[0]) + 0.27 * self.side_of(hand), 0.95, -0.02, 0.0, 0.3])

    def thing(self, noun: str) -> Thing:
        return self.kitchen.things[noun]

    def yaw(self, noun: str) -> float:
        return 0.0 if self.kitchen.habits.side > 0 or noun == "board" else np.pi

    def standing(self, noun: str, spot: tuple[float, float]) -> Vector:
        return np.array([spot[0], COUNTER_HEIGHT + 0.002, spot[1], self.yaw(noun), 0.0, 0.0])

    def duration(self, seconds: float) -> float:
        return seconds * self.kitchen.habits.pace * float(np.exp(0.15 * self.random.standard_normal()))

    def wobble(self, metres: float) -> Vector:
        return self.random.normal(0, metres, 3)

    # Keyframes

    def look(self, second: float, point: Point, seconds: float = 0.35) -> None:
        """Turn the eyes and, if it is far, step sideways; both end at `second` + `seconds`."""
        target = np.array(point, float) + self.wobble(0.03)
        self.tracks["gaze"].stay(second)
        self.tracks["gaze"].key(second + seconds, target)
        body = self.tracks["body"]
        step = float(target[0]) - 0.05 * self.kitchen.habits.side - float(body.last[0])
        if abs(step) > 0.10:
            body.stay(second)
            body.key(second + seconds * (1 + min(abs(step), 1.0)), body.last + step * 0.85)

    def reach(
        self, hand: str, second: float, seconds: float, point: Point, roll: float = 0.0, closure: float = 0.15
    ) -> float:
        """Move a hand to `point`; returns when it is there. `roll` 1 turns the palm inwards, 0 down."""
        self.tracks[hand].stay(second)
        self.tracks[hand].key(second + seconds, np.array([*point, -1.25 * roll * self.side_of(hand), closure]))
        return second + seconds

    def retreat(self, hand: str, second: float, seconds: float = 0.4) -> float:
        self.tracks[hand].stay(second)
        self.tracks[hand].key(second + seconds, self.idle(hand))
        return second + seconds

    def grip_point(self, noun: str, pose: Vector) -> Vector:
        """Where the hand holds a thing that stands in `pose`."""
        turn = rotations(pose[3:4], pose[4:5], pose[5:6])[0]
        grip: Vector = np.asarray(pose[:3], float) + turn @ np.array(self.thing(noun).grip)
        return grip

    def roll_for(self, noun: str) -> float:
        return {"cup": 0.9, "glass": 1.0, "bottle": 1.0, "jar": 0.9, "box": 0.8, "bowl": 0.5, "plate": 0.4, "pot": 0.6}.get(
            noun, 0.1
        )

    def carry(self, noun: str, hand: str, second: float, pose: Vector, closure: float = 0.75) -> None:
        """Thing and hand together reach `pose` at `second`."""
        self.tracks[noun].key(second, pose)
        roll = -1.25 * self.roll_for(noun) * self.side_of(hand)
        self.tracks[hand].key(second, np.array([*self.grip_point(noun, pose), roll, closure]))
        if f"{noun} lid" in self.kitchen.parts and noun not in self.is_open:
            self.tracks[f"{noun} lid"].key(second, self.lid_pose(noun, pose))

    def hold_tool(self, tool: str, hand: str, second: float, pose: Vector) -> None:
        """As `carry`, for things and for the cloth and the peeler, which nobody names."""
        if tool in self.kitchen.things:
            self.carry(tool, hand, second, pose)
            return
        grip = {"cloth": (0.0, 0.025, 0.0), "peeler": (0.04 * self.kitchen.habits.side, 0.015, 0.0)}[tool]
        self.tracks[tool].key(second, pose)
        self.tracks[hand].key(second, np.array([*(pose[:3] + np.array(grip)), 0.0, 0.65]))

    def hold_still(self, noun: str, hand: str, second: float) -> None:
        self.tracks[noun].stay(second)
        self.tracks[hand].stay(second)
        if f"{noun} lid" in self.tracks:
            self.tracks[f"{noun} lid"].stay(second)

    def lid_pose(self, noun: str, pose: Vector) -> Vector:
        turn = rotations(pose[3:4], pose[4:5], pose[5:6])[0]
        return np.concatenate([pose[:3] + turn @ np.array([0.0, self.thing(noun).lid_height, 0.0]), pose[3:]])

    def vanish(self, name: str, second: float) -> None:
        self.tracks[name].jump(second, AWAY)
        if f"{name} lid" in self.tracks:
            self.tracks[f"{name} lid"].jump(second, AWAY)

    def appear(self, noun: str, second: float, pose: Vector) -> None:
        self.tracks[noun].jump(second, pose)
        if f"{noun} lid" in self.tracks and noun not in self.is_open:
            self.tracks[f"{noun} lid"].jump(second, self.lid_pose(noun, pose))

    def emit(
        self, kind: str, second: float, seconds: float = 0.0, material: str = "wood", gain: float = 1.0, rate_hz: float = 0.0
    ) -> None:
        self.sounds.append(Sound(kind, second, seconds, material, gain * self.kitchen.habits.vigour**0.5, rate_hz))

    # Moves that many actions share

    def chest(self, hand: str) -> Vector:
        """Pose of a thing that is brought to the body, below the lower edge of the picture."""
        return np.array([float(self.tracks["body"].last[0]) + 0.16 * self.side_of(hand), 0.93, -0.02, 0.0, 0.0, 0.0])

    def workplace(self, noun: str) -> Vector:
        """Pose in front of the body, where things are handled."""
        x = float(self.tracks["body"].last[0]) + 0.03 * self.kitchen.habits.side
        return np.array([x, 1.10, 0.29, self.yaw(noun), 0.0, 0.0]) + np.concatenate([self.wobble(0.02), np.zeros(3)])

    def pick_up(self, noun: str, second: float, target: Vector, hand: str | None = None) -> float:
        """Reach a standing thing and carry it to `target`; returns when it is there."""
        hand = hand or self.hand
        spot = self.where[noun]
        assert spot is not None, f"{noun} is not on the counter"
        pose = self.standing(noun, spot)
        self.look(second, pose[:3])
        second = self.reach(hand, second, self.duration(0.4), self.grip_point(noun, pose), self.roll_for(noun))
        self.hold_still(noun, hand, second)
        self.emit("impact", second, material=self.thing(noun).material, gain=0.12)
        stop = second + self.duration(0.35)
        self.look(second, target[:3], 0.3)
        self.carry(noun, hand, second + 0.12, pose + np.array([0, 0.03, 0, 0, 0, 0]))
        self.carry(noun, hand, stop, target)
        return stop

    def set_down(self, noun: str, second: float, hand: str | None = None, gain: float = 0.7) -> float:
        """Carry a held thing back to its spot and let go; returns when the hand is out of sight."""
        hand = hand or self.hand
        spot = self.where[noun]
        assert spot is not None, f"{noun} has no spot"
        pose = self.standing(noun, spot)
        self.hold_still(noun, hand, second)
        self.look(second, pose[:3], 0.3)
        stop = second + self.duration(0.45)
        self.carry(noun, hand, stop - 0.12, pose + np.array([0, 0.05, 0, 0, 0, 0]))
        self.carry(noun, hand, stop, pose)
        self.emit("impact", stop, material=self.thing(noun).material, gain=gain)
        return self.retreat(hand, stop + 0.08, 0.35)

    def swing(self, track: str, start: float, stop: float, centre: Vector, axis: Vector, rate_hz: float) -> None:
        """Keys of an oscillation about `centre` along `axis` (both in the track's own coordinates)."""
        self.tracks[track].stay(start)
        count = max(int((stop - start) * rate_hz * 2), 2)
        for index in range(1, count + 1):
            second = start + (stop - start) * index / count
            sign = (1.0 if index % 2 else -1.0) * float(self.random.uniform(0.8, 1.1))
            self.tracks[track].key(second, centre + axis * (sign if index < count else 0.0))
