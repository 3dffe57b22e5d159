"""One participant's kitchen: fixtures, things, light, skin and habits, all drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .fixtures import AWAY, COUNTER_HEIGHT, Layout, Part, clutter_parts, fixture_parts
from .hands import HandLook, bone_meshes
from .knobs import KitchenConfig
from .meshes import Colour
from .objects import THINGS, Random, Thing, pick

SKINS: tuple[Colour, ...] = (
    (0.96, 0.80, 0.69), (0.90, 0.70, 0.57), (0.80, 0.58, 0.44), (0.66, 0.45, 0.32), (0.48, 0.32, 0.23), (0.33, 0.22, 0.17),
)  # fmt: skip
SLEEVES: tuple[Colour | None, ...] = (
    None, None, (0.20, 0.25, 0.40), (0.55, 0.15, 0.15), (0.30, 0.32, 0.33), (0.75, 0.74, 0.70), (0.18, 0.38, 0.25),
)  # fmt: skip


@dataclass(frozen=True)
class Light:
    """Direction towards the lamp, its colour, and the ambient light."""

    direction: tuple[float, float, float]
    lamp: Colour
    ambient: Colour


@dataclass(frozen=True)
class Habits:
    """How a participant is: dominant side (+1 right), hand size, slowness, vigour, pitch of their things, favourite things."""

    side: float
    hand_scale: float
    pace: float
    vigour: float
    pitch: float
    taste: dict[str, float]


@dataclass(frozen=True)
class Kitchen:
    """What a participant owns and how they are. `slots` are places (x, z) on the counter, `hob_slots` on the burners."""

    parts: dict[str, Part]
    things: dict[str, Thing]
    slots: list[tuple[float, float]]
    hob_slots: list[tuple[float, float]]
    layout: Layout
    light: Light
    habits: Habits

    @property
    def tap_mouth(self) -> tuple[float, float, float]:
        return (self.layout.sink_x, COUNTER_HEIGHT + 0.22, 0.60)


def furnish(random: Random, config: KitchenConfig) -> Kitchen:
    """A kitchen of its own for one participant."""
    variety = config.variety_level
    layout, habits = make_layout(random, variety), make_habits(random, variety, config.hand_size)
    things = {noun: make(random) for noun, make in THINGS.items()}
    parts = {**fixture_parts(random, layout), **thing_parts(things), **clutter_parts(random, config.clutter)}
    look = HandLook(pick(random, SKINS), SLEEVES[int(random.integers(len(SLEEVES)))], habits.hand_scale)
    for hand in ("right", "left"):
        for bone, mesh in bone_meshes(look).items():
            parts[f"{hand}/{bone}"] = Part(mesh, 4, owner=f"{hand} hand", casts_shadow=bone in ("palm", "forearm"))
    offsets = random.normal(0, 0.012, (8, 2))
    places = [(x, z) for z in (0.38, 0.60) for x in (-0.33, -0.11, 0.11, 0.33)]
    slots = [(x + float(dx), z + float(dz)) for (x, z), (dx, dz) in zip(places, offsets, strict=True)]
    burners = [(layout.hob_x - 0.13, 0.40), (layout.hob_x + 0.13, 0.62)]
    return Kitchen(parts, things, slots, burners, layout, make_light(random, variety), habits)


def make_layout(random: Random, variety: float) -> Layout:
    """Sink and hob on either side, fridge at the end; half of the kitchens are mirrored."""
    mirror = -1.0 if random.random() < 0.5 else 1.0
    sink, hob, drawer, cupboard = random.normal(0, 0.04 * variety, 4).tolist()
    return Layout(-0.62 * mirror + sink, 0.62 * mirror + hob, 3 * drawer, 0.25 * mirror + cupboard, 1.28 * mirror)


def make_habits(random: Random, variety: float, hand_size: float) -> Habits:
    side = 1.0 if random.random() < 0.88 else -1.0
    scale = float(random.uniform(0.9, 1.12)) * hand_size
    pace, vigour, pitch = np.exp(variety * random.normal(0, (0.12, 0.2, 0.1))).tolist()
    taste = {noun: float(np.exp(0.35 * variety * random.standard_normal())) for noun in THINGS}
    return Habits(side, scale, pace, vigour, pitch, taste)


def make_light(random: Random, variety: float) -> Light:
    direction = np.array([random.normal(0, 0.5 * variety), 1.0, random.normal(-0.3, 0.3 * variety)])
    direction /= np.linalg.norm(direction)
    warm = float(random.uniform(-1, 1)) * variety
    level = float(random.uniform(1 - 0.22 * variety, 1 + 0.08 * variety))
    lamp: Colour = (0.55 * level * (1 + 0.10 * warm), 0.55 * level, 0.55 * level * (1 - 0.16 * warm))
    ambient: Colour = (0.46 * level * (1 + 0.05 * warm), 0.46 * level, 0.46 * level * (1 - 0.08 * warm))
    return Light((float(direction[0]), float(direction[1]), float(direction[2])), lamp, ambient)


def thing_parts(things: dict[str, Thing]) -> dict[str, Part]:
    """Movable things and their lids, out of the world until an action or the first scene brings them in."""
    parts = {}
    for noun, thing in things.items():
        parts[noun] = Part(thing.mesh, 4, owner=noun, casts_shadow=True, rest=AWAY)
        if thing.lid is not None:
            parts[f"{noun} lid"] = Part(thing.lid, 4, owner=noun, rest=AWAY)
    return parts
