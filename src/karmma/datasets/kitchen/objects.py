"""The movable things of a kitchen: their shape, material and where a hand grips them. Each kitchen owns other ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .meshes import Colour, Mesh, box, disk, join, lathe, tube

Random = np.random.Generator


@dataclass(frozen=True)
class Thing:
    """A movable object: mesh, what it is made of, its size in metres and the grip point relative to its base.

    `lid` is the loose part that opening takes off, or None; `radius` and `height` bound the body without handles.
    """

    noun: str
    mesh: Mesh
    material: str
    radius: float
    height: float
    grip: tuple[float, float, float]
    lid: Mesh | None = None
    lid_height: float = 0.0


CROCKERY: tuple[Colour, ...] = (
    (0.93, 0.92, 0.88), (0.85, 0.84, 0.80), (0.35, 0.47, 0.68), (0.75, 0.33, 0.27), (0.40, 0.60, 0.50), (0.86, 0.72, 0.35),
    (0.25, 0.27, 0.33), (0.80, 0.62, 0.66),
)  # fmt: skip
STEEL: Colour = (0.68, 0.69, 0.71)
IRON: Colour = (0.16, 0.16, 0.17)
WOOD: Colour = (0.62, 0.43, 0.25)


def pick(random: Random, colours: tuple[Colour, ...]) -> Colour:
    return colours[int(random.integers(len(colours)))]


def darker(colour: Colour, factor: float) -> Colour:
    return (colour[0] * factor, colour[1] * factor, colour[2] * factor)


def size(random: Random, metres: float, spread: float = 0.12) -> float:
    return metres * float(np.exp(spread * random.standard_normal()))


def make_cup(random: Random) -> Thing:
    radius, height, colour = size(random, 0.042), size(random, 0.09), pick(random, CROCKERY)
    body = lathe([(radius * 0.8, 0), (radius, height * 0.3), (radius, height)], colour, inner=darker(colour, 0.7), gloss=0.3)
    handle = join(
        tube((radius, height * 0.75, 0), (radius + 0.03, height * 0.65, 0), 0.007, 0.007, colour, sides=4),
        tube((radius + 0.03, height * 0.68, 0), (radius + 0.02, height * 0.2, 0), 0.007, 0.007, colour, sides=4),
    )
    drink = disk(radius * 0.9, height * 0.7, (0.30, 0.18, 0.10))
    return Thing("cup", join(body, drink, handle), "ceramic", radius, height, (radius + 0.015, height * 0.5, 0))


def make_glass(random: Random) -> Thing:
    radius, height = size(random, 0.034), size(random, 0.125)
    tint: Colour = (0.74, 0.86, 0.88)
    wall = lathe([(radius * 0.85, 0), (radius, height)], tint, sides=14, inner=(0.62, 0.76, 0.80), gloss=0.9)
    panes = wall.without(np.arange(14) % 2 == 1)
    rim = lathe([(radius, height * 0.94), (radius * 1.02, height)], (0.90, 0.96, 0.97), sides=12, inner=tint, gloss=0.9)
    return Thing(
        "glass", join(disk(radius * 0.85, 0.004, tint), panes, rim), "glass", radius, height, (radius, height * 0.55, 0)
    )


def make_bowl(random: Random) -> Thing:
    radius, height, colour = size(random, 0.085), size(random, 0.065), pick(random, CROCKERY)
    profile = [(radius * 0.45, 0), (radius * 0.8, height * 0.4), (radius, height)]
    body = lathe(profile, colour, sides=12, inner=darker(colour, 0.75), gloss=0.3)
    filling = disk(
        radius * 0.75, height * 0.45, pick(random, ((0.8, 0.7, 0.3), (0.85, 0.85, 0.8), (0.5, 0.6, 0.25))), sides=12
    )
    return Thing("bowl", join(body, filling), "ceramic", radius, height, (radius, height * 0.9, 0))


def make_plate(random: Random) -> Thing:
    radius, colour = size(random, 0.12, 0.08), pick(random, CROCKERY)
    body = lathe([(radius * 0.6, 0), (radius, 0.02)], colour, sides=14, inner=darker(colour, 0.92), gloss=0.35)
    ring = lathe([(radius * 0.62, 0.006), (radius * 0.58, 0.006)], darker(colour, 0.6), sides=14)
    return Thing(
        "plate", join(body, disk(radius * 0.6, 0.004, colour, sides=14), ring), "ceramic", radius, 0.02, (radius, 0.012, 0)
    )


def make_pan(random: Random) -> Thing:
    radius, height = size(random, 0.115, 0.08), 0.045
    colour = pick(random, (IRON, (0.25, 0.22, 0.22), (0.45, 0.13, 0.12)))
    body = lathe([(radius * 0.85, 0), (radius, height)], colour, sides=14, inner=darker(IRON, 1.4), gloss=0.2)
    food = disk(
        radius * 0.8, 0.012, pick(random, ((0.28, 0.25, 0.22), (0.75, 0.55, 0.25), (0.55, 0.25, 0.15))), sides=14, gloss=0.3
    )
    handle = tube((radius, height, 0), (radius + 0.17, height + 0.03, 0), 0.013, 0.011, (0.10, 0.09, 0.09), sides=5)
    return Thing("pan", join(body, food, handle), "metal", radius, height, (radius + 0.1, height + 0.018, 0))


def make_pot(random: Random) -> Thing:
    radius, height = size(random, 0.095, 0.08), size(random, 0.11, 0.08)
    colour = pick(random, (STEEL, (0.75, 0.74, 0.70), (0.60, 0.20, 0.16), (0.22, 0.34, 0.45)))
    body = lathe([(radius, 0), (radius, height)], colour, sides=14, inner=(0.45, 0.45, 0.46), gloss=0.7)
    ears = [
        tube((side * radius, height * 0.75, 0), (side * (radius + 0.03), height * 0.78, 0), 0.012, 0.012, IRON, sides=4)
        for side in (-1.0, 1.0)
    ]
    broth = disk(radius * 0.95, height * 0.6, (0.62, 0.42, 0.18), sides=14, gloss=0.5)
    lid = join(
        disk(radius * 1.02, 0.004, darker(colour, 0.85), sides=14, gloss=0.7),
        lathe([(0.012, 0.004), (0.016, 0.03), (0, 0.032)], IRON, sides=6),
    )
    return Thing("pot", join(body, broth, *ears), "metal", radius, height, (radius + 0.02, height * 0.78, 0), lid, height)


def make_knife(random: Random) -> Thing:
    length = size(random, 0.17)
    blade = box(length, 0.004, 0.028, STEEL, gloss=1.0).moved(-length / 2, 0.004, 0)
    handle = box(0.10, 0.016, 0.022, pick(random, (IRON, WOOD, (0.55, 0.12, 0.12)))).moved(0.05, 0, 0)
    return Thing("knife", join(blade, handle), "thin-metal", 0.02, 0.02, (0.05, 0.01, 0))


def make_spoon(random: Random) -> Thing:
    colour, length = (STEEL if random.random() < 0.5 else WOOD), size(random, 0.16)
    bowl = lathe([(0.012, 0.0), (0.024, 0.012)], colour, sides=8, inner=darker(colour, 0.7), gloss=0.8).moved(-length, 0, 0)
    handle = tube((-length + 0.02, 0.01, 0), (0.03, 0.014, 0), 0.006, 0.008, colour, sides=4)
    material = "thin-metal" if colour is STEEL else "wood"
    return Thing("spoon", join(bowl, handle), material, 0.02, 0.02, (0.0, 0.012, 0))


def make_bottle(random: Random) -> Thing:
    radius, height = size(random, 0.036), size(random, 0.24, 0.08)
    colour = pick(
        random, ((0.12, 0.35, 0.17), (0.55, 0.35, 0.10), (0.30, 0.12, 0.08), (0.85, 0.80, 0.35), (0.85, 0.88, 0.92))
    )
    profile = [(radius, 0), (radius, height * 0.6), (0.014, height * 0.8), (0.014, height)]
    label = lathe([(radius * 1.03, height * 0.18), (radius * 1.03, height * 0.45)], pick(random, CROCKERY), sides=10)
    lid = lathe([(0.017, 0), (0.017, 0.02), (0.0, 0.021)], pick(random, CROCKERY), sides=6)
    body = lathe(profile, colour, inner=darker(colour, 0.5), gloss=0.8)
    return Thing(
        "bottle",
        join(body, label),
        pick_material(random, "glass", "plastic"),
        radius,
        height,
        (radius, height * 0.45, 0),
        lid,
        height,
    )


def pick_material(random: Random, *materials: str) -> str:
    return materials[int(random.integers(len(materials)))]


def make_jar(random: Random) -> Thing:
    radius, height = size(random, 0.042), size(random, 0.10)
    filling = pick(random, ((0.65, 0.15, 0.15), (0.80, 0.55, 0.15), (0.35, 0.20, 0.12), (0.55, 0.60, 0.25)))
    body = lathe(
        [(radius, 0), (radius, height * 0.85), (radius * 0.8, height)], filling, inner=darker(filling, 0.6), gloss=0.9
    )
    lid = lathe(
        [(radius * 0.86, 0), (radius * 0.86, 0.018), (0, 0.019)],
        pick(random, (STEEL, (0.8, 0.7, 0.3), (0.7, 0.15, 0.15))),
        gloss=0.6,
    )
    return Thing("jar", body, "glass", radius, height, (radius, height * 0.5, 0), lid, height)


def make_box(random: Random) -> Thing:
    width, height, depth = size(random, 0.13), size(random, 0.18), size(random, 0.06)
    colour = pick(
        random, ((0.85, 0.55, 0.15), (0.20, 0.35, 0.60), (0.70, 0.15, 0.20), (0.30, 0.55, 0.25), (0.75, 0.68, 0.55))
    )
    body = join(
        box(width, height, depth, colour),
        box(width * 0.7, height * 0.3, depth * 1.04, pick(random, CROCKERY)).moved(0, height * 0.5, 0),
    )
    lid = box(width * 1.02, 0.02, depth * 1.02, darker(colour, 0.8))
    return Thing("box", body, "cardboard", width / 2, height, (width / 2, height * 0.5, 0), lid, height)


def make_board(random: Random) -> Thing:
    width, depth = size(random, 0.30, 0.06), size(random, 0.20, 0.06)
    colour = pick(random, (WOOD, (0.75, 0.58, 0.38), (0.85, 0.86, 0.84), (0.45, 0.62, 0.40)))
    return Thing("board", box(width, 0.016, depth, colour), "wood", width / 2, 0.016, (width / 2, 0.012, 0))


def make_round_food(noun: str, radius: float, colours: tuple[Colour, ...]) -> Callable[[Random], Thing]:
    def make(random: Random) -> Thing:
        r, colour = size(random, radius), pick(random, colours)
        profile = [(r * 0.3, 0.0), (r * 0.95, r * 0.6), (r * 0.95, r * 1.2), (r * 0.2, r * 1.7)]
        stalk = lathe([(0.006, r * 1.68), (0.002, r * 1.9)], (0.25, 0.45, 0.15), sides=4)
        return Thing(noun, join(lathe(profile, colour, sides=8, gloss=0.3), stalk), "food", r, r * 1.7, (0, r * 1.4, 0))

    return make


def make_carrot(random: Random) -> Thing:
    length = size(random, 0.16)
    root = tube(
        (0.5 * length, 0.016, 0),
        (-0.5 * length, 0.012, 0),
        0.018,
        0.005,
        pick(random, ((0.92, 0.48, 0.12), (0.85, 0.40, 0.15))),
        sides=6,
    )
    leaves = tube((0.5 * length, 0.016, 0), (0.5 * length + 0.03, 0.02, 0), 0.008, 0.012, (0.22, 0.45, 0.15), sides=4)
    return Thing("carrot", join(root, leaves), "food", 0.03, 0.035, (0.02, 0.03, 0))


def make_sponge(random: Random) -> Thing:
    colour = pick(random, ((0.90, 0.80, 0.20), (0.85, 0.45, 0.60), (0.35, 0.65, 0.80)))
    body = box(0.10, 0.025, 0.065, colour, grain=0.05)
    pad = box(0.10, 0.008, 0.065, darker(colour, 0.45)).moved(0, 0.025, 0)
    return Thing("sponge", join(body, pad), "soft", 0.045, 0.033, (0, 0.03, 0))


THINGS: dict[str, Callable[[Random], Thing]] = {
    "cup": make_cup,
    "glass": make_glass,
    "bowl": make_bowl,
    "plate": make_plate,
    "pan": make_pan,
    "pot": make_pot,
    "knife": make_knife,
    "spoon": make_spoon,
    "bottle": make_bottle,
    "jar": make_jar,
    "box": make_box,
    "board": make_board,
    "onion": make_round_food("onion", 0.036, ((0.72, 0.47, 0.22), (0.55, 0.18, 0.30), (0.88, 0.85, 0.75))),
    "tomato": make_round_food("tomato", 0.034, ((0.82, 0.16, 0.10), (0.88, 0.30, 0.12))),
    "carrot": make_carrot,
    "sponge": make_sponge,
}
