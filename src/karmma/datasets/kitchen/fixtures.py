"""What stays in a kitchen: room, sink and tap, hob, drawer, cupboard, fridge. Parts with the pose in which they rest.

x runs along the counter, y up, z from the person to the wall; metres. The person stands at z = 0.
"""

from __future__ import annotations

from dataclasses import dataclass

from .meshes import Colour, Mesh, box, disk, grid, join, lathe, open_box, tube
from .objects import CROCKERY, STEEL, WOOD, Random, darker, pick

COUNTER_HEIGHT = 0.90
COUNTER_FRONT, COUNTER_BACK = 0.22, 0.82
AWAY = (0.0, -9.0, 0.0, 0.0, 0.0, 0.0)
WALLS: tuple[Colour, ...] = (
    (0.82, 0.80, 0.75), (0.62, 0.72, 0.72), (0.78, 0.66, 0.50), (0.55, 0.60, 0.66), (0.85, 0.85, 0.88),
)  # fmt: skip
COUNTERS: tuple[Colour, ...] = (
    (0.58, 0.43, 0.29), (0.35, 0.35, 0.37), (0.72, 0.70, 0.67), (0.45, 0.33, 0.25), (0.22, 0.22, 0.24),
)  # fmt: skip
FRONTS: tuple[Colour, ...] = (
    (0.90, 0.89, 0.86), (0.50, 0.36, 0.24), (0.30, 0.40, 0.48), (0.70, 0.72, 0.66), (0.25, 0.25, 0.28),
)  # fmt: skip
ENAMELS: tuple[Colour, ...] = ((0.90, 0.91, 0.92), (0.75, 0.76, 0.78), (0.30, 0.31, 0.33), (0.65, 0.18, 0.16))
CLOTHS: tuple[Colour, ...] = ((0.80, 0.25, 0.25), (0.85, 0.85, 0.80), (0.30, 0.50, 0.70))


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
class Layout:
    """Where along the counter the fixtures are, in metres."""

    sink_x: float
    hob_x: float
    drawer_x: float
    cupboard_x: float
    fridge_x: float


def room_parts(random: Random) -> dict[str, Part]:
    """Floor, wall, cupboard fronts, counter and its edge: tiled or planked planes."""
    seed = int(random.integers(2**31))
    wall, counter, front = pick(random, WALLS), pick(random, COUNTERS), pick(random, FRONTS)
    columns, planks = int(random.choice([15, 20, 26])), int(random.choice([3, 5]))
    checker = float(random.choice([0.0, 0.06, 0.12]))
    left, width, depth = -2.8, (5.6, 0.0, 0.0), COUNTER_BACK - COUNTER_FRONT
    floor = grid((left, 0, -0.6), (0, 0, 0.9), width, 3, 12, (0.42, 0.36, 0.30), checker=0.15, seed=seed)
    tiles = grid(
        (left, COUNTER_HEIGHT, COUNTER_BACK), (0, 1.6, 0), width, 9, columns, wall, grain=0.03, checker=checker, seed=seed
    )
    fronts = grid((left, 0, COUNTER_FRONT + 0.02), (0, 0.88, 0), width, 2, 10, front, grain=0.02, checker=0.04, seed=seed)
    top = grid((left, COUNTER_HEIGHT, COUNTER_FRONT), (0, 0, depth), width, planks, columns, counter, grain=0.05, seed=seed)
    edge = grid((left, COUNTER_HEIGHT - 0.04, COUNTER_FRONT), (0, 0.04, 0), width, 1, 10, darker(counter, 0.7))
    return {
        "floor": Part(floor, 0),
        "wall": Part(tiles, 0),
        "fronts": Part(fronts, 1),
        "counter": Part(top, 2, takes_shadow=True),
        "edge": Part(edge, 2),
    }


def sink_parts(random: Random, x: float) -> dict[str, Part]:
    """Basin, spout, lever, and the water that runs when it is on."""
    grey = pick(random, (STEEL, (0.85, 0.84, 0.82), (0.40, 0.41, 0.43)))
    basin = join(
        box(0.46, 0.003, 0.40, grey, gloss=0.5),
        box(0.38, 0.004, 0.32, darker(grey, 0.55)),
        box(0.26, 0.005, 0.20, darker(grey, 0.4)),
    )
    spout = join(
        tube((0, 0, 0), (0, 0.26, 0), 0.016, 0.014, grey),
        tube((0, 0.26, 0), (0, 0.28, -0.12), 0.013, 0.012, grey),
        tube((0, 0.285, -0.12), (0, 0.25, -0.135), 0.012, 0.012, grey),
    )
    lever = tube((0, 0, 0), (0, 0.02, -0.08), 0.01, 0.008, darker(grey, 0.8), sides=5)
    water = lathe([(0.008, 0.0), (0.010, 0.24)], (0.72, 0.84, 0.93), sides=5, gloss=1.0)
    return {
        "sink": Part(basin, 3, takes_shadow=True, rest=(x, COUNTER_HEIGHT, 0.52, 0, 0, 0)),
        "spout": Part(spout, 4, rest=(x, COUNTER_HEIGHT, 0.735, 0, 0, 0)),
        "lever": Part(lever, 4, rest=(x, COUNTER_HEIGHT + 0.29, 0.735, 0, 0, 0)),
        "water": Part(water, 4, rest=AWAY),
    }


def hob_parts(random: Random, x: float) -> dict[str, Part]:
    """Plate with two burners, flame, and the knob at the front."""
    burners = [disk(0.085, 0.007, (0.22, 0.20, 0.20), sides=12).moved(u, 0, v) for u, v in ((-0.13, -0.12), (0.13, 0.10))]
    plate = join(box(0.54, 0.004, 0.46, (0.09, 0.09, 0.10), gloss=0.6), *burners)
    flame = lathe([(0.095, 0.008), (0.085, 0.016)], (0.25, 0.45, 0.98), sides=10, inner=(0.55, 0.7, 1.0)).moved(
        -0.13, 0, -0.12
    )
    panel = box(0.5, 0.03, 0.02, darker(pick(random, FRONTS), 0.8))
    knob = join(
        lathe([(0.022, 0), (0.02, 0.025), (0, 0.026)], (0.15, 0.15, 0.16), sides=8),
        box(0.006, 0.03, 0.036, (0.9, 0.9, 0.9)),
    )
    return {
        "hob": Part(plate, 3, takes_shadow=True, rest=(x, COUNTER_HEIGHT, 0.52, 0, 0, 0)),
        "hob panel": Part(panel, 3, rest=(x, COUNTER_HEIGHT - 0.035, COUNTER_FRONT - 0.01, 0, 0, 0)),
        "flame": Part(flame, 4, rest=AWAY),
        "knob": Part(knob, 4, rest=(x - 0.1, COUNTER_HEIGHT - 0.02, COUNTER_FRONT - 0.02, 0, -1.3, 0)),
    }


def drawer_parts(random: Random, x: float) -> dict[str, Part]:
    """A drawer below the counter with cutlery in it; drawn before the counter, which hides it while shut."""
    front = pick(random, FRONTS)
    cutlery = [box(0.03, 0.02, 0.3, STEEL, gloss=0.8).moved(u, 0.01, 0.2) for u in (-0.1, 0.05)]
    drawer = join(
        open_box(0.40, 0.12, 0.42, darker(front, 0.75), (0.60, 0.50, 0.38)).moved(0, 0, 0.21),
        box(0.43, 0.15, 0.015, front).moved(0, -0.015, 0),
        box(0.12, 0.015, 0.025, STEEL, gloss=0.8).moved(0, 0.06, -0.02),
        *cutlery,
    )
    return {"drawer": Part(drawer, 1, rest=(x, 0.74, COUNTER_FRONT, 0, 0, 0))}


def cupboard_parts(random: Random, x: float) -> dict[str, Part]:
    """A wall cupboard with crockery in it, and its door."""
    front = pick(random, FRONTS)
    crockery = [
        lathe([(0.07, 0.02), (0.08, 0.06 + 0.03 * i)], pick(random, CROCKERY), sides=8).moved(-0.1 + 0.2 * i, 0, 0)
        for i in range(2)
    ]
    case = join(
        box(0.46, 0.62, 0.02, (0.35, 0.28, 0.22)).moved(0, 0, 0.15),
        box(0.46, 0.02, 0.30, darker(front, 0.8)),
        *[box(0.02, 0.62, 0.30, darker(front, 0.9)).moved(u, 0, 0) for u in (-0.22, 0.22)],
        *crockery,
    )
    door = join(box(0.45, 0.61, 0.018, front).moved(0.225, 0, 0), box(0.015, 0.12, 0.02, STEEL).moved(0.41, 0.04, -0.02))
    return {
        "cupboard": Part(case, 3, rest=(x, 1.38, 0.66, 0, 0, 0)),
        "cupboard door": Part(door, 4, rest=(x - 0.225, 1.385, 0.50, 0, 0, 0)),
    }


def fridge_parts(random: Random, x: float) -> dict[str, Part]:
    """Inside with shelves, outer shell (drawn later, so that it hides the inside from the side), door."""
    enamel = pick(random, ENAMELS)
    shelves = [box(0.54, 0.012, 0.4, (0.75, 0.82, 0.86)).moved(0, y, 0.05) for y in (0.5, 0.85, 1.2)]
    food = [
        lathe([(0.04, 0), (0.04, 0.16)], pick(random, CROCKERY), sides=7).moved(-0.15 + 0.15 * i, y, 0.02)
        for i in range(3)
        for y in (0.86, 1.21)
    ]
    inside = join(box(0.56, 1.75, 0.04, (0.88, 0.92, 0.95)).moved(0, 0, 0.25), *shelves, *food)
    shell = join(
        grid((-0.30, 0, -0.25), (0, 0, 0.5), (0, 1.75, 0), 2, 6, enamel, grain=0.01),
        grid((0.30, 0, -0.25), (0, 1.75, 0), (0, 0, 0.5), 6, 2, enamel, grain=0.01),
    )
    door = join(
        box(0.58, 1.72, 0.05, enamel, gloss=0.3).moved(0.29, 0, 0), box(0.02, 0.4, 0.03, STEEL).moved(0.53, 0.9, -0.04)
    )
    return {
        "fridge": Part(inside, 3, rest=(x, 0.02, 0.45, 0, 0, 0)),
        "fridge shell": Part(shell, 4, rest=(x, 0.02, 0.45, 0, 0, 0)),
        "fridge door": Part(door, 4, rest=(x - 0.29, 0.03, 0.19, 0, 0, 0)),
    }


def helper_parts(random: Random) -> dict[str, Part]:
    """What actions bring along and nobody names: poured stream, cloth, slices, peeler."""
    slices = join(*[disk(0.02, 0.004, (0.9, 0.6, 0.4), sides=6).moved(0.03 * i, 0, 0.01 * i) for i in range(3)])
    peeler = join(box(0.06, 0.008, 0.01, STEEL).moved(-0.04, 0, 0), box(0.09, 0.016, 0.016, WOOD).moved(0.03, 0, 0))
    return {
        "stream": Part(lathe([(0.006, 0.0), (0.008, 0.1)], (0.75, 0.60, 0.35), sides=5, gloss=0.8), 4, rest=AWAY),
        "cloth": Part(box(0.11, 0.02, 0.08, pick(random, CLOTHS), grain=0.06), 4, rest=AWAY),
        "slices": Part(slices, 4, rest=AWAY),
        "peeler": Part(peeler, 4, rest=AWAY),
    }


def clutter_parts(random: Random, count: int) -> dict[str, Part]:
    """Things nobody touches: pots of herbs, rolls, tins, at the back of the counter."""
    parts = {}
    for index in range(count):
        x = float(random.uniform(-1.0, 1.0))
        colour = pick(random, (*CROCKERY, (0.2, 0.4, 0.2), (0.7, 0.5, 0.3)))
        if random.random() < 0.5:
            mesh = lathe([(0.045, 0), (0.05, 0.1), (0.04, float(random.uniform(0.1, 0.22)))], colour, sides=8)
        else:
            mesh = box(float(random.uniform(0.05, 0.14)), float(random.uniform(0.05, 0.22)), 0.06, colour)
        pose = (x, COUNTER_HEIGHT, 0.765, float(random.uniform(-0.4, 0.4)), 0, 0)
        parts[f"clutter{index}"] = Part(mesh, 4, owner=f"clutter{index}", casts_shadow=True, rest=pose)
    return parts


def fixture_parts(random: Random, layout: Layout) -> dict[str, Part]:
    """Everything that stays, in a kitchen of this layout."""
    return {
        **room_parts(random),
        **sink_parts(random, layout.sink_x),
        **hob_parts(random, layout.hob_x),
        **drawer_parts(random, layout.drawer_x),
        **cupboard_parts(random, layout.cupboard_x),
        **fridge_parts(random, layout.fridge_x),
        **helper_parts(random),
    }
