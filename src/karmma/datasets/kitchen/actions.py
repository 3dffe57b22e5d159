"""How each verb is done: one function a verb, which plays it on the stage and returns its labelled seconds.

Every function takes the stage, the noun and the second at which hands are free; it returns `Beat(start, stop, free)`:
the labelled interval and when the next action may begin. Reaching for a thing and setting it back belong to no label
unless the verb is take or put, as in EPIC-KITCHENS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .fixtures import COUNTER_FRONT, COUNTER_HEIGHT
from .stage import Stage, Tremor
from .tracks import Vector


@dataclass(frozen=True)
class Beat:
    """Labelled start and stop of an action, and the second from which the hands are free."""

    start: float
    stop: float
    free: float


def pose_shift(**shift: float) -> Vector:
    names = ("x", "y", "z", "yaw", "pitch", "roll")
    return np.array([shift.get(name, 0.0) for name in names])


def take(stage: Stage, noun: str, second: float) -> Beat:
    spot = stage.where[noun]
    assert spot is not None
    pose, hand = stage.standing(noun, spot), stage.hand
    stage.look(second - 0.2, pose[:3])
    touch = stage.reach(hand, second, stage.duration(0.5), stage.grip_point(noun, pose), stage.roll_for(noun))
    stage.hold_still(noun, hand, touch)
    stage.emit("impact", touch, material=stage.thing(noun).material, gain=0.2)
    lifted, stop = touch + stage.duration(0.3), touch + stage.duration(0.75)
    stage.carry(noun, hand, lifted, pose + pose_shift(y=0.13, z=-0.05))
    stage.carry(noun, hand, stop, stage.chest(hand))
    stage.vanish(noun, stop)
    stage.where[noun] = None
    return Beat(second, stop, stage.retreat(hand, stop, 0.15))


def put(stage: Stage, noun: str, second: float) -> Beat:
    spot = stage.where[noun]
    assert spot is not None
    pose, hand = stage.standing(noun, spot), stage.hand
    stage.look(second - 0.2, pose[:3])
    stage.appear(noun, second, stage.chest(hand))
    stage.carry(noun, hand, second + 0.01, stage.chest(hand))
    above, down = second + stage.duration(0.5), second + stage.duration(0.8)
    stage.carry(noun, hand, above, pose + pose_shift(y=0.13, z=-0.05))
    stage.carry(noun, hand, max(down, above + 0.2), pose)
    down = max(down, above + 0.2)
    stage.emit("impact", down, material=stage.thing(noun).material, gain=1.0)
    free = stage.retreat(hand, down + 0.1, stage.duration(0.4))
    return Beat(second, free - 0.1, free)


def move(stage: Stage, noun: str, second: float) -> Beat:
    spot = stage.where[noun]
    assert spot is not None
    target = min(free_spots(stage, noun), key=lambda place: abs(abs(place[0] - spot[0]) - 0.25) + abs(place[1] - spot[1]))
    start_pose, stop_pose, hand = stage.standing(noun, spot), stage.standing(noun, target), stage.hand
    stage.look(second - 0.2, start_pose[:3])
    touch = stage.reach(hand, second, stage.duration(0.45), stage.grip_point(noun, start_pose), stage.roll_for(noun))
    stage.hold_still(noun, hand, touch)
    stop = touch + stage.duration(0.75)
    stage.look(touch, stop_pose[:3], 0.6)
    stage.carry(noun, hand, stop, stop_pose)
    stage.emit("friction", touch, stop - touch, stage.thing(noun).material, 0.8, 1.0 / (stop - touch))
    stage.where[noun] = target
    free = stage.retreat(hand, stop + 0.08)
    return Beat(second, stop + 0.15, free)


def free_spots(stage: Stage, noun: str) -> list[tuple[float, float]]:
    """Where a thing may stand: pans and pots also on the hob."""
    taken = {spot for spot in stage.where.values() if spot is not None}
    allowed = stage.kitchen.slots + (stage.kitchen.hob_slots if noun in ("pan", "pot") else [])
    return [spot for spot in allowed if spot not in taken]


def slide_drawer(stage: Stage, second: float, opening: bool) -> Beat:
    x = stage.kitchen.layout.drawer_x
    shut, out = np.array([x, 0.74, COUNTER_FRONT, 0, 0, 0]), np.array([x, 0.74, COUNTER_FRONT - 0.27, 0, 0, 0])
    begin, finish = (shut, out) if opening else (out, shut)
    handle = np.array([0.0, 0.07, -0.04])
    stage.look(second - 0.2, (x, 0.80, 0.12))
    touch = stage.reach(stage.hand, second, stage.duration(0.45), begin[:3] + handle, 0.1, 0.5)
    stop = touch + stage.duration(0.6)
    for track, value in (("drawer", finish), (stage.hand, np.array([*(finish[:3] + handle), 0.0, 0.6]))):
        stage.tracks[track].stay(touch)
        stage.tracks[track].key(stop, value)
    stage.emit("friction", touch, stop - touch, "wood", 0.9, 14.0)
    stage.emit("rattle", touch, stop - touch, "thin-metal", 0.35, 12.0)
    stage.emit("impact", stop, material="hollow-wood", gain=0.5 if opening else 1.2)
    return Beat(second, stop + 0.1, stage.retreat(stage.hand, stop + 0.1))


def swing_door(stage: Stage, door: str, second: float, opening: bool) -> Beat:
    """Cupboard above, fridge at the side: the hand follows the handle's arc."""
    hinge = np.array(stage.kitchen.parts[door].rest)
    handle = {"cupboard door": np.array([0.41, 0.06, -0.05]), "fridge door": np.array([0.53, 1.05, -0.08])}[door]
    begin, finish = (0.0, 1.5) if opening else (1.5, 0.0)

    def handle_at(angle: float) -> Vector:
        turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
        return np.array([*(hinge[:3] + turn @ handle), 0.0, 0.7])

    focus = (
        (stage.kitchen.layout.fridge_x, 1.12, 0.35)
        if door == "fridge door"
        else handle_at(0.5)[:3] + np.array([-0.1, -0.05, 0.1])
    )
    stage.look(second - 0.25, focus, 0.45)
    touch = stage.reach(stage.hand, second, stage.duration(0.5), handle_at(begin)[:3], 0.3, 0.5)
    stop = touch + stage.duration(0.75)
    for share in (0.0, 0.34, 0.67, 1.0):
        angle, moment = begin + (finish - begin) * share, touch + (stop - touch) * share
        stage.tracks[stage.hand].key(max(moment, touch + 1e-3), handle_at(angle))
    stage.tracks[door].stay(touch)
    stage.tracks[door].key(stop, hinge + pose_shift(yaw=finish))
    if door == "fridge door":
        stage.emit("hiss", touch if opening else stop, 0.2, "soft", 0.7)
        stage.emit("rattle", touch, stop - touch, "glass", 0.4, 7.0)
        stage.emit("impact", stop if not opening else touch, material="soft-thud", gain=1.2)
    else:
        stage.emit("friction", touch, stop - touch, "squeak", 0.35, 3.0)
        stage.emit("impact", touch if opening else stop, material="hollow-wood", gain=0.5 if opening else 1.2)
    return Beat(second, stop + 0.1, stage.retreat(stage.hand, stop + 0.1))


def handle_lid(stage: Stage, noun: str, second: float, opening: bool) -> Beat:
    """One hand holds the body, the other turns or lifts the lid."""
    spot = stage.where[noun]
    assert spot is not None
    thing, pose = stage.thing(noun), stage.standing(noun, spot)
    on, up = (
        stage.lid_pose(noun, pose),
        stage.lid_pose(noun, pose) + pose_shift(y=0.10, z=-0.03, x=0.05 * stage.kitchen.habits.side),
    )
    stage.look(second - 0.2, on[:3])
    side = stage.side_of(stage.helper)
    stage.reach(stage.helper, second, 0.4, pose[:3] + np.array([side * thing.radius, thing.height * 0.45, 0]), 0.9, 0.6)
    hand, lid = stage.hand, f"{noun} lid"
    knob = np.array([0.0, 0.025, 0.0])
    first, last = (on, up) if opening else (up, on)
    if not opening:
        stage.tracks[lid].jump(second, up)
    touch = stage.reach(hand, second, stage.duration(0.45), first[:3] + knob, 0.0, 0.6)
    twists = noun in ("jar", "bottle")
    turning, lifting = stage.duration(0.8 if twists else 0.1), stage.duration(0.35)
    begin = touch + (turning if opening else lifting)
    stage.tracks[lid].stay(begin if opening else touch)
    stage.tracks[lid].key(touch + lifting if not opening else begin + lifting, last)
    turn_start = touch if opening else touch + lifting
    if not opening:
        stage.tracks[hand].key(touch + lifting, np.array([*(on[:3] + knob), 0.0, 0.7]))
    if twists:
        stage.swing(
            hand, turn_start, turn_start + turning, np.array([*(on[:3] + knob), 0.0, 0.7]), np.array([0, 0, 0, 0.7, 0]), 2.2
        )
        stage.emit("friction", turn_start, turning, "thin-metal" if noun == "jar" else "plastic", 0.5, 4.5)
    stop = touch + turning + lifting
    if opening:
        stage.tracks[hand].key(stop, np.array([*(up[:3] + knob), 0.0, 0.7]))
        stage.vanish(lid, stop + 0.02)
    material = {"pot": "metal", "jar": "thin-metal", "bottle": "plastic", "box": "cardboard"}[noun]
    stage.emit("impact", begin if opening else turn_start, material=material, gain=0.5 if opening else 0.9)
    stage.retreat(stage.helper, stop)
    return Beat(second, stop + 0.05, stage.retreat(hand, stop + 0.05))


def toggle(stage: Stage, noun: str, second: float, opening: bool) -> Beat:
    """Open or close, whatever the noun is."""
    (stage.is_open.add if opening else stage.is_open.discard)(noun)
    if noun == "drawer":
        return slide_drawer(stage, second, opening)
    if noun in ("cupboard", "fridge"):
        return swing_door(stage, f"{noun} door", second, opening)
    return handle_lid(stage, noun, second, opening)


def switch(stage: Stage, noun: str, second: float, on: bool) -> Beat:
    """Tap lever or hob knob; water runs and the flame burns until switched off."""
    lever = "lever" if noun == "tap" else "knob"
    rest = np.array(stage.kitchen.parts[lever].rest)
    turned = rest + (pose_shift(pitch=-0.6) if noun == "tap" else pose_shift(roll=1.6))
    stage.look(second - 0.2, rest[:3] + np.array([0, -0.15, -0.05]) if noun == "tap" else (rest[0], 0.92, 0.30))
    point = rest[:3] + (np.array([0.0, 0.04, -0.07]) if noun == "tap" else np.array([0.0, 0.01, -0.04]))
    touch = stage.reach(stage.hand, second, stage.duration(0.5), point, 0.1, 0.5)
    stop = touch + stage.duration(0.35)
    stage.tracks[lever].stay(touch)
    stage.tracks[lever].key(stop, turned if on else rest)
    lift = np.array([0, 0.04 if noun == "tap" else 0.0, 0, 0.9 if noun == "hob" else 0.0, 0.1])
    stage.tracks[stage.hand].key(stop, stage.tracks[stage.hand].last + (lift if on else -lift))
    visible, audible = ("water", "water") if noun == "tap" else ("flame", "hiss")
    if on:
        stage.is_on[noun] = stop
        place = (
            (*stage.kitchen.tap_mouth, 0, 0, 0)
            if noun == "tap"
            else (stage.kitchen.layout.hob_x, COUNTER_HEIGHT, 0.52, 0, 0, 0)
        )
        pose = np.array(place, float) - (pose_shift(y=0.2) if noun == "tap" else 0.0)
        stage.tracks[visible].jump(stop, pose)
        if noun == "hob":
            for tick in range(4):
                stage.emit("impact", touch + 0.12 * tick, material="click", gain=0.5)
    else:
        begun = stage.is_on.pop(noun)
        stage.emit(audible, begun, stop - begun, "soft", 1.0 if noun == "tap" else 0.4)
        stage.vanish(visible, stop)
        stage.emit("impact", stop, material="click", gain=0.5)
    stage.look(stop, (rest[0], 0.93, 0.5), 0.3)
    return Beat(second, stop + 0.3, stage.retreat(stage.hand, stop + 0.3))


def wash(stage: Stage, noun: str, second: float) -> Beat:
    mouth = np.array(stage.kitchen.tap_mouth)
    under = np.array([mouth[0], COUNTER_HEIGHT + 0.08, mouth[2] - 0.05, stage.yaw(noun), -0.5, 0.3])
    under[:3] -= (stage.grip_point(noun, under) - under[:3]) * 0.4
    start = stage.pick_up(noun, second, under)
    stop = start + stage.duration(2.0)
    running = "tap" in stage.is_on
    if not running:
        stage.tracks["water"].jump(start - 0.1, (mouth[0], mouth[1] - 0.2, mouth[2], 0, 0, 0))
        stage.emit("water", start - 0.1, stop - start + 0.2, "soft", 0.9)
    stage.emit("splash", start, stop - start, stage.thing(noun).material, 0.6, 3.0)
    count = int((stop - start) * 3)
    for index in range(1, count + 1):
        sway = pose_shift(yaw=0.5 * (-1) ** index, roll=0.35 * (-1) ** (index // 2), x=0.02 * (-1) ** index)
        stage.carry(noun, stage.hand, start + (stop - start) * index / count, under + sway)
    rub = np.array([*(under[:3] + np.array([-0.03 * stage.kitchen.habits.side, 0.04, -0.02])), 0.3, 0.5])
    stage.reach(stage.helper, start - 0.25, 0.4, rub[:3], 0.2, 0.4)
    stage.swing(stage.helper, start + 0.15, stop, rub, np.array([0.03, 0.01, 0.02, 0, 0]), 2.5)
    stage.retreat(stage.helper, stop, 0.3)
    if not running:
        stage.vanish("water", stop + 0.1)
    return Beat(start - 0.2, stop, stage.set_down(noun, stop))


def fetch_tool(stage: Stage, tool: str, second: float, pose: Vector, hand: str) -> float:
    """Bring a tool to `pose`: from the counter where it lies there, else from beside the body."""
    if stage.where.get(tool) is not None:
        return stage.pick_up(tool, second, pose, hand)
    stop = second + stage.duration(0.4)
    stage.appear(tool, second, stage.chest(hand))
    stage.hold_tool(tool, hand, second + 0.01, stage.chest(hand))
    stage.hold_tool(tool, hand, stop, pose)
    return stop


def return_tool(stage: Stage, tool: str, second: float, hand: str) -> float:
    if stage.where.get(tool) is not None:
        return stage.set_down(tool, second, hand, gain=0.4)
    stop = second + 0.35
    stage.hold_tool(tool, hand, stop, stage.chest(hand))
    stage.vanish(tool, stop)
    return stage.retreat(hand, stop, 0.1)


def cut(stage: Stage, noun: str, second: float) -> Beat:
    spot = stage.where[noun]
    assert spot is not None
    food, side, hand = stage.standing(noun, spot), stage.kitchen.habits.side, stage.hand
    ready = food + pose_shift(x=0.05 * side, y=0.07, yaw=0.9 - food[3])
    stage.look(second, food[:3])
    start = fetch_tool(stage, "knife", second, ready, hand)
    grip = food[:3] + np.array([-0.02 * side, stage.thing(noun).height, 0.0])
    stage.reach(stage.helper, start - 0.35, 0.4, grip, 0.0, 0.55)
    rate = float(stage.random.uniform(2.6, 3.6)) / stage.kitchen.habits.pace
    stop = start + stage.duration(1.9)
    count = max(int((stop - start) * rate), 3)
    stage.tracks["slices"].jump(start + 0.5, food + pose_shift(x=0.07 * side, y=0.002))
    for index in range(count):
        low, high = start + (index + 0.55) / rate, start + (index + 1) / rate
        across = pose_shift(x=0.012 * side * (count / 2 - index) / count * 4)
        stage.hold_tool("knife", hand, low, ready + across + pose_shift(y=-0.055))
        stage.emit("impact", low, material="wood", gain=float(stage.random.uniform(0.5, 0.8)))
        stage.emit("friction", low - 0.08, 0.08, "soft", 0.5, 1.0)
        stage.hold_tool("knife", hand, high, ready + across)
    stop = start + count / rate
    stage.tremors.append(Tremor(start, stop, rate, 0.0025))
    stage.retreat(stage.helper, stop)
    stage.vanish("slices", stop + 0.3)
    return Beat(start - 0.1, stop, return_tool(stage, "knife", stop, hand))


def peel(stage: Stage, noun: str, second: float) -> Beat:
    helper, hand, side = stage.helper, stage.hand, stage.kitchen.habits.side
    start = stage.pick_up(noun, second, stage.workplace(noun), helper)
    pose = stage.tracks[noun].last
    ready = pose + pose_shift(x=0.06 * side, y=0.045, z=-0.01)
    fetched = fetch_tool(stage, "peeler", start - 0.3, ready, hand)
    rate, start = float(stage.random.uniform(1.3, 1.8)) / stage.kitchen.habits.pace, max(start, fetched)
    count = 4
    stage.hold_still(noun, helper, start)
    for index in range(count):
        near, far = start + (index + 0.6) / rate, start + (index + 1) / rate
        stage.hold_tool("peeler", hand, near, ready + pose_shift(x=-0.10 * side))
        stage.emit("friction", start + index / rate + 0.1, 0.6 / rate, "scrape", 0.8, 1.0)
        stage.hold_tool("peeler", hand, far, ready + pose_shift(y=0.02))
        stage.carry(noun, helper, far, pose + pose_shift(pitch=0.5 * (index + 1)))
    stop = start + count / rate
    return_tool(stage, "peeler", stop, hand)
    return Beat(start - 0.1, stop, stage.set_down(noun, stop, helper))


def stir(stage: Stage, noun: str, second: float) -> Beat:
    spot = stage.where[noun]
    assert spot is not None
    thing, pot, hand = stage.thing(noun), stage.standing(noun, spot), stage.hand
    centre = pot + pose_shift(y=thing.height + 0.10, pitch=0.25, roll=1.15 * stage.kitchen.habits.side)
    centre[3] = stage.yaw("spoon")
    stage.look(second, pot[:3])
    start = fetch_tool(stage, "spoon", second, centre, hand)
    rate = float(stage.random.uniform(1.1, 1.8)) / stage.kitchen.habits.pace
    stop, sweep = start + stage.duration(2.0), max(thing.radius * 0.55, 0.018)
    for index in range(1, int((stop - start) * rate * 6) + 1):
        angle = 2 * np.pi * index / 6
        shift = pose_shift(x=sweep * np.cos(angle), z=sweep * np.sin(angle))
        stage.hold_tool("spoon", hand, start + index / (rate * 6), centre + shift)
    stage.emit("friction", start, stop - start, thing.material, 0.6, rate)
    for moment in np.arange(start + 0.2, stop, 1.0 / rate):
        stage.emit("impact", float(moment), material=thing.material, gain=float(stage.random.uniform(0.1, 0.35)))
    if spot in stage.kitchen.hob_slots:
        stage.emit("sizzle", start, stop - start, "soft", 0.5)
    return Beat(start - 0.1, stop, return_tool(stage, "spoon", stop, hand))


def pour(stage: Stage, noun: str, second: float) -> Beat:
    side, thing = stage.kitchen.habits.side, stage.thing(noun)
    vessels = [name for name in ("bowl", "pot", "pan", "glass", "cup") if name != noun and stage.where[name] is not None]
    home = stage.where[noun]
    assert home is not None
    vessels.sort(key=lambda name: abs((stage.where[name] or home)[0] - home[0]))
    into = stage.where[vessels[0]] if vessels else (stage.kitchen.layout.sink_x, 0.5)
    assert into is not None
    rim = COUNTER_HEIGHT + (stage.thing(vessels[0]).height if vessels else 0.02)
    upright = np.array([into[0] + 0.13 * side, rim + 0.09, into[1], stage.yaw(noun), 0, 0])
    start = stage.pick_up(noun, second, upright)
    tilt = 1.75 if noun in ("bottle", "box", "jar") else 1.35
    tilted = upright + pose_shift(
        roll=tilt * (1.0 if stage.yaw(noun) == 0 else -1.0) * side, y=0.05, x=thing.height * 0.35 * side
    )
    flowing, stop = start + stage.duration(0.45), 0.0
    drained = flowing + stage.duration(1.1)
    stage.carry(noun, stage.hand, flowing, tilted)
    stage.hold_still(noun, stage.hand, drained)
    stage.carry(noun, stage.hand, drained + 0.35, upright)
    stop = drained + 0.35
    if noun not in ("box",):
        stage.tracks["stream"].jump(flowing - 0.1, (into[0], rim - 0.01, into[1], 0, 0, 0))
        stage.vanish("stream", drained + 0.1)
    stage.emit(
        "rattle" if noun == "box" else "pour",
        flowing - 0.1,
        drained - flowing + 0.2,
        "food" if noun == "box" else "soft",
        0.8,
        40.0,
    )
    return Beat(start, stop, stage.set_down(noun, stop))


def shake(stage: Stage, noun: str, second: float) -> Beat:
    start = stage.pick_up(noun, second, stage.workplace(noun) + pose_shift(y=0.04))
    pose, rate = stage.tracks[noun].last, float(stage.random.uniform(2.8, 3.6)) / stage.kitchen.habits.pace
    stop, filling = (
        start + stage.duration(1.5),
        {"pan": "food", "box": "food", "bottle": "soft", "jar": "food", "glass": "soft"}[noun],
    )
    across = noun == "pan"
    for index in range(1, int((stop - start) * rate * 2) + 1):
        sign = 1.0 if index % 2 else -1.0
        shift = pose_shift(z=0.05 * sign) if across else pose_shift(y=0.045 * sign, roll=0.2 * sign)
        stage.carry(noun, stage.hand, start + index / (rate * 2), pose + shift)
    stage.emit("rattle" if filling == "food" else "splash", start, stop - start, stage.thing(noun).material, 0.8, rate * 2)
    stage.tremors.append(Tremor(start, stop, rate, 0.004))
    return Beat(start - 0.05, stop, stage.set_down(noun, stop))


def wipe(stage: Stage, noun: str, second: float) -> Beat:
    hand = stage.hand
    stroke = np.array([0.09, 0.0, 0.025, 0, 0, 0])
    if noun == "fridge":
        centre = np.array([stage.kitchen.layout.fridge_x, 1.18, 0.15, 0, -1.4, 0])
        stroke = np.array([0.06, 0.10, 0.0, 0, 0, 0])
    elif noun == "hob":
        centre = np.array([stage.kitchen.layout.hob_x, COUNTER_HEIGHT + 0.012, 0.42, 0, 0, 0])
    else:
        spot = stage.where[noun]
        assert spot is not None
        centre = stage.standing(noun, spot) + pose_shift(y=0.02)
        stroke = stroke * min(1.0, stage.thing(noun).radius / 0.11)
    stage.look(second, centre[:3])
    start = fetch_tool(stage, "cloth", second, centre, hand)
    rate, stop = float(stage.random.uniform(1.0, 1.5)) / stage.kitchen.habits.pace, start + stage.duration(1.7)
    for index in range(1, int((stop - start) * rate * 2) + 1):
        drift = pose_shift(z=0.02 * np.sin(index)) if noun != "fridge" else pose_shift(x=0.02 * np.sin(index))
        stage.hold_tool("cloth", hand, start + index / (rate * 2), centre + stroke * (1.0 if index % 2 else -1.0) + drift)
    stage.emit("friction", start, stop - start, "soft", 0.8, rate * 2)
    return Beat(start - 0.1, stop, return_tool(stage, "cloth", stop, hand))


ACTIONS: dict[str, Callable[[Stage, str, float], Beat]] = {
    "take": take,
    "put": put,
    "move": move,
    "open": lambda stage, noun, second: toggle(stage, noun, second, True),
    "close": lambda stage, noun, second: toggle(stage, noun, second, False),
    "turn-on": lambda stage, noun, second: switch(stage, noun, second, True),
    "turn-off": lambda stage, noun, second: switch(stage, noun, second, False),
    "wash": wash,
    "cut": cut,
    "peel": peel,
    "stir": stir,
    "pour": pour,
    "shake": shake,
    "wipe": wipe,
}
