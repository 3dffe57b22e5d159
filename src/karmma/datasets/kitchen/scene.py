"""One participant's kitchen: room, fixtures, things, light, skin and habits, all drawn from a seed.

x runs along the counter, y up, z from the person to the wall; metres. The person stands at z = 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .hands import HandLook, bone_meshes
from .knobs import KitchenConfig
from .meshes import Colour, Mesh, box, disk, grid, join, lathe, open_box, tube
from .objects import CROCKERY, STEEL, THINGS, WOOD, Random, Thing, darker, pick

COUNTER_HEIGHT = 0.90
COUNTER_FRONT, COUNTER_BACK = 0.22, 0.82
AWAY = (0.0, -9.0, 0.0, 0.0, 0.0, 0.0)
SKINS: tuple[Colour, ...] = (
    (0.96, 0.80, 0.69), (0.90, 0.70, 0.57), (0.80, 0.58, 0.44), (0.66, 0.45, 0.32), (0.48, 0.32, 0.23), (0.33, 0.22, 0.17),
)  # fmt: skip
SLEEVES: tuple[Colour | None, ...] = (
    None, None, (0.20, 0.25, 0.40), (0.55, 0.15, 0.15), (0.30, 0.32, 0.33), (0.75, 0.74, 0.70), (0.18, 0.38, 0.25),
)  # fmt: skip
WALLS: tuple[Colour, ...] = ((0.82, 0.80, 0.75), (0.62, 0.72, 0.72), (0.78, 0.66, 0.50), (0.55, 0.60, 0.66), (0.85, 0.85, 0.88))
COUNTERS: tuple[Colour, ...] = ((0.58, 0.43, 0.29), (0.35, 0.35, 0.37), (0.72, 0.70, 0.67), (0.45, 0.33, 0.25), (0.22, 0.22, 0.24))
FRONTS: tuple[Colour, ...] = ((0.90, 0.89, 0.86), (0.50, 0.36, 0.24), (0.30, 0.40, 0.48), (0.70, 0.72, 0.66), (0.25, 0.25, 0.28))


@dataclass(frozen=True)
class Part:
    """A mesh that moves as one. Lower layers are drawn first; `owner` names the thing or hand a box is drawn around."""

    mesh: Mesh
    layer: int
    owner: str | None = None
    casts_shadow: bool = False
    takes_shadow: bool = False
    rest: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Light:
    """Direction towards the lamp, its colour, and the ambient light."""

    direction: tuple[float, float, float]
    lamp: Colour
    ambient: Colour


@dataclass
class Kitchen:
    """What a participant owns and how they are. Built by `furnish`."""

    parts: dict[str, Part]
    things: dict[str, Thing]
    slots: list[tuple[float, float]]
    hob_slots: list[tuple[float, float]]
    sink_x: float
    hob_x: float
    drawer_x: float
    cupboard_x: float
    fridge_x: float
    light: Light
    side: float
    hand_scale: float
    pace: float
    liveliness: float
    voice: float
    taste: dict[str, float] = field(default_factory=dict)

    @property
    def tap_mouth(self) -> tuple[float, float, float]:
        return (self.sink_x, COUNTER_HEIGHT + 0.22, 0.60)


def furnish(random: Random, config: KitchenConfig) -> Kitchen:
    """A kitchen of its own for one participant."""
    variety = config.variety_level
    mirror = -1.0 if random.random() < 0.5 else 1.0
    jitter = lambda: float(random.normal(0, 0.04 * variety))  # noqa: E731
    sink_x, hob_x = -0.62 * mirror + jitter(), 0.62 * mirror + jitter()
    drawer_x, cupboard_x = jitter() * 3, 0.25 * mirror + jitter()
    fridge_x = 1.28 * mirror
    things = {noun: make(random) for noun, make in THINGS.items()}
    parts = room_parts(random, fridge_x)
    parts |= fixture_parts(random, sink_x, hob_x, drawer_x, cupboard_x, fridge_x)
    parts |= thing_parts(things)
    parts |= clutter_parts(random, config.clutter)
    look = HandLook(pick(random, SKINS), SLEEVES[int(random.integers(len(SLEEVES)))], float(random.uniform(0.9, 1.12)))
    for hand in ("right", "left"):
        for bone, mesh in bone_meshes(look).items():
            parts[f"{hand}/{bone}"] = Part(mesh, 4, owner=f"{hand} hand", casts_shadow=bone in ("palm", "forearm"))
    slots = [
        (x + float(random.normal(0, 0.012)), z + float(random.normal(0, 0.012)))
        for z in (0.38, 0.60)
        for x in (-0.33, -0.11, 0.11, 0.33)
    ]
    return Kitchen(
        parts, things, slots, [(hob_x - 0.13, 0.40), (hob_x + 0.13, 0.62)], sink_x, hob_x, drawer_x, cupboard_x, fridge_x,
        make_light(random, variety), 1.0 if random.random() < 0.88 else -1.0, look.scale,
        float(np.exp(0.12 * variety * random.standard_normal())), float(np.exp(0.2 * variety * random.standard_normal())),
        float(np.exp(0.1 * variety * random.standard_normal())),
        {noun: float(np.exp(0.35 * variety * random.standard_normal())) for noun in THINGS},
    )  # fmt: skip


def make_light(random: Random, variety: float) -> Light:
    direction = np.array([random.normal(0, 0.5 * variety), 1.0, random.normal(-0.3, 0.3 * variety)])
    direction /= np.linalg.norm(direction)
    warm = float(random.uniform(-1, 1)) * variety
    level = float(random.uniform(1 - 0.22 * variety, 1 + 0.08 * variety))
    lamp: Colour = (0.55 * level * (1 + 0.10 * warm), 0.55 * level, 0.55 * level * (1 - 0.16 * warm))
    ambient: Colour = (0.46 * level * (1 + 0.05 * warm), 0.46 * level, 0.46 * level * (1 - 0.08 * warm))
    return Light((float(direction[0]), float(direction[1]), float(direction[2])), lamp, ambient)


def room_parts(random: Random, fridge_x: float) -> dict[str, Part]:
    seed = int(random.integers(2**31))
    wall, counter, front = pick(random, WALLS), pick(random, COUNTERS), pick(random, FRONTS)
    columns = int(random.choice([15, 20, 26]))
    left, width = -2.8, 5.6
    return {
        "floor": Part(grid((left, 0, -0.6), (0, 0, 0.9), (width, 0, 0), 3, 12, (0.42, 0.36, 0.30), checker=0.15, seed=seed), 0),
        "wall": Part(
            grid((left, COUNTER_HEIGHT, COUNTER_BACK), (0, 1.6, 0), (width, 0, 0), 9, columns, wall, grain=0.03, checker=float(random.choice([0.0, 0.06, 0.12])), seed=seed), 0
        ),
        "fronts": Part(grid((left, 0.0, COUNTER_FRONT + 0.02), (0, 0.88, 0), (width, 0, 0), 2, 10, front, grain=0.02, checker=0.04, seed=seed), 1),
        "counter": Part(
            grid((left, COUNTER_HEIGHT, COUNTER_FRONT), (0, 0, COUNTER_BACK - COUNTER_FRONT), (width, 0, 0), int(random.choice([3, 5])), columns, counter, grain=0.05, seed=seed),
            2, takes_shadow=True,
        ),
        "edge": Part(grid((left, COUNTER_HEIGHT - 0.04, COUNTER_FRONT), (0, 0.04, 0), (width, 0, 0), 1, 10, darker(counter, 0.7)), 2),
    }  # fmt: skip


def fixture_parts(
    random: Random, sink_x: float, hob_x: float, drawer_x: float, cupboard_x: float, fridge_x: float
) -> dict[str, Part]:
    front = pick(random, FRONTS)
    grey = pick(random, (STEEL, (0.85, 0.84, 0.82), (0.40, 0.41, 0.43)))
    top = COUNTER_HEIGHT + 0.002
    sink = join(
        box(0.46, 0.003, 0.40, grey, gloss=0.5), box(0.38, 0.004, 0.32, darker(grey, 0.55)), box(0.26, 0.005, 0.2, darker(grey, 0.4))
    )
    hob = join(
        box(0.54, 0.004, 0.46, (0.09, 0.09, 0.10), gloss=0.6),
        *[disk(0.085, 0.007, (0.22, 0.20, 0.20), sides=12).moved(x, 0, z) for x, z in ((-0.13, -0.12), (0.13, 0.10))],
    )
    flame = join(*[lathe([(0.095, 0.008), (0.085, 0.016)], (0.25, 0.45, 0.98), sides=10, inner=(0.55, 0.7, 1.0)).moved(-0.13, 0, -0.12)])
    knob_row = box(0.5, 0.03, 0.02, darker(front, 0.8)).moved(0, 0, 0)
    knob = join(lathe([(0.022, 0), (0.02, 0.025), (0, 0.026)], (0.15, 0.15, 0.16), sides=8), box(0.006, 0.03, 0.036, (0.9, 0.9, 0.9)))
    spout = join(
        tube((0, 0, 0), (0, 0.26, 0), 0.016, 0.014, grey), tube((0, 0.26, 0), (0, 0.28, -0.12), 0.013, 0.012, grey),
        tube((0, 0.285, -0.12), (0, 0.25, -0.135), 0.012, 0.012, grey),
    )  # fmt: skip
    lever = tube((0, 0, 0), (0.0, 0.02, -0.08), 0.01, 0.008, darker(grey, 0.8), sides=5)
    water = lathe([(0.008, 0.0), (0.010, 0.24)], (0.72, 0.84, 0.93), sides=5, gloss=1.0)
    drawer = join(
        open_box(0.40, 0.12, 0.42, darker(front, 0.75), (0.60, 0.50, 0.38)).moved(0, 0, 0.21),
        box(0.43, 0.15, 0.015, front).moved(0, -0.015, 0), box(0.12, 0.015, 0.025, STEEL, gloss=0.8).moved(0, 0.06, -0.02),
        box(0.03, 0.02, 0.3, STEEL, gloss=0.8).moved(-0.1, 0.01, 0.2), box(0.03, 0.02, 0.3, STEEL, gloss=0.8).moved(0.05, 0.01, 0.2),
    )  # fmt: skip
    cupboard = join(
        box(0.46, 0.62, 0.02, (0.35, 0.28, 0.22)).moved(0, 0, 0.15), box(0.46, 0.02, 0.30, darker(front, 0.8)),
        box(0.02, 0.62, 0.30, darker(front, 0.9)).moved(-0.22, 0, 0), box(0.02, 0.62, 0.30, darker(front, 0.9)).moved(0.22, 0, 0),
        *[lathe([(0.07, 0.02), (0.08, 0.06 + 0.03 * i)], pick(random, CROCKERY), sides=8).moved(-0.1 + 0.2 * i, 0, 0) for i in range(2)],
    )  # fmt: skip
    door = join(box(0.45, 0.61, 0.018, front).moved(0.225, 0, 0), box(0.015, 0.12, 0.02, STEEL).moved(0.41, 0.04, -0.02))
    white = pick(random, ((0.90, 0.91, 0.92), (0.75, 0.76, 0.78), (0.30, 0.31, 0.33), (0.65, 0.18, 0.16)))
    fridge = join(
        box(0.56, 1.75, 0.04, (0.88, 0.92, 0.95)).moved(0, 0, 0.25),
        *[box(0.54, 0.012, 0.4, (0.75, 0.82, 0.86)).moved(0, y, 0.05) for y in (0.5, 0.85, 1.2)],
        *[lathe([(0.04, 0), (0.04, 0.16)], pick(random, CROCKERY), sides=7).moved(-0.15 + 0.15 * i, y, 0.02) for i in range(3) for y in (0.86, 1.21)],
    )  # fmt: skip
    fridge_shell = join(
        grid((-0.30, 0, -0.25), (0, 0, 0.5), (0, 1.75, 0), 2, 6, white, grain=0.01), grid((0.30, 0, -0.25), (0, 1.75, 0), (0, 0, 0.5), 6, 2, white, grain=0.01)
    )  # fmt: skip
    fridge_door = join(box(0.58, 1.72, 0.05, white, gloss=0.3).moved(0.29, 0, 0), box(0.02, 0.4, 0.03, STEEL).moved(0.53, 0.9, -0.04))
    z_top = 0.52
    return {
        "sink": Part(sink, 3, takes_shadow=True, rest=(sink_x, top - 0.002, z_top, 0, 0, 0)),
        "hob": Part(hob, 3, takes_shadow=True, rest=(hob_x, top - 0.002, 0.52, 0, 0, 0)),
        "knob_row": Part(knob_row, 3, rest=(hob_x, COUNTER_HEIGHT - 0.035, COUNTER_FRONT - 0.01, 0, 0, 0)),
        "flame": Part(flame, 4, rest=AWAY),
        "knob": Part(knob, 4, rest=(hob_x - 0.1, COUNTER_HEIGHT - 0.02, COUNTER_FRONT - 0.02, 0, -1.3, 0)),
        "spout": Part(spout, 4, rest=(sink_x, COUNTER_HEIGHT, 0.735, 0, 0, 0)),
        "lever": Part(lever, 4, rest=(sink_x, COUNTER_HEIGHT + 0.29, 0.735, 0, 0, 0)),
        "water": Part(water, 4, rest=AWAY),
        "drawer": Part(drawer, 1, rest=(drawer_x, 0.74, COUNTER_FRONT, 0, 0, 0)),
        "cupboard": Part(cupboard, 3, rest=(cupboard_x, 1.38, 0.66, 0, 0, 0)),
        "cupboard door": Part(door, 4, rest=(cupboard_x - 0.225, 1.385, 0.50, 0, 0, 0)),
        "fridge": Part(fridge, 3, rest=(fridge_x, 0.02, 0.45, 0, 0, 0)),
        "fridge shell": Part(fridge_shell, 4, rest=(fridge_x, 0.02, 0.45, 0, 0, 0)),
        "fridge door": Part(fridge_door, 4, rest=(fridge_x - 0.29, 0.03, 0.19, 0, 0, 0)),
        "stream": Part(lathe([(0.006, 0.0), (0.008, 0.1)], (0.75, 0.60, 0.35), sides=5, gloss=0.8), 4, rest=AWAY),
        "cloth": Part(box(0.11, 0.02, 0.08, pick(random, ((0.80, 0.25, 0.25), (0.85, 0.85, 0.80), (0.30, 0.50, 0.70))), grain=0.06), 4, rest=AWAY),
        "slices": Part(join(*[disk(0.02, 0.004, (0.9, 0.6, 0.4), sides=6).moved(0.03 * i, 0, 0.01 * i) for i in range(3)]), 4, rest=AWAY),
        "peeler": Part(join(box(0.06, 0.008, 0.01, STEEL).moved(-0.04, 0, 0), box(0.09, 0.016, 0.016, WOOD).moved(0.03, 0, 0)), 4, rest=AWAY),
    }  # fmt: skip


def thing_parts(things: dict[str, Thing]) -> dict[str, Part]:
    parts = {}
    for noun, thing in things.items():
        parts[noun] = Part(thing.mesh, 4, owner=noun, casts_shadow=True, rest=AWAY)
        if thing.lid is not None:
            parts[f"{noun} lid"] = Part(thing.lid, 4, owner=noun, rest=AWAY)
    return parts


def clutter_parts(random: Random, count: int) -> dict[str, Part]:
    """Things nobody touches: pots of herbs, rolls, tins, at the back of the counter and at its ends."""
    parts = {}
    for index in range(count):
        x = float(random.uniform(-1.0, 1.0))
        colour = pick(random, CROCKERY + ((0.2, 0.4, 0.2), (0.7, 0.5, 0.3)))
        if random.random() < 0.5:
            mesh = lathe([(0.045, 0), (0.05, 0.1), (0.04, float(random.uniform(0.1, 0.22)))], colour, sides=8)
        else:
            mesh = box(float(random.uniform(0.05, 0.14)), float(random.uniform(0.05, 0.22)), 0.06, colour)
        pose = (x, COUNTER_HEIGHT, 0.765, float(random.uniform(-0.4, 0.4)), 0, 0)
        parts[f"clutter{index}"] = Part(mesh, 4, owner=f"clutter{index}", casts_shadow=True, rest=pose)
    return parts
