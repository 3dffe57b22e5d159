"""What a participant does in one recording: a sequence of possible actions, played on the stage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .actions import ACTIONS, free_spots
from .knobs import KitchenConfig
from .objects import Random
from .scene import Kitchen
from .stage import Stage
from .vocabulary import UNDOES, Pair, pairs_of_split

FIXTURES = ("tap", "drawer", "cupboard", "fridge", "hob")


@dataclass(frozen=True)
class Labelled:
    """An annotated action: what was done from which second to which."""

    pair: Pair
    start_seconds: float
    stop_seconds: float


def play(kitchen: Kitchen, split: str, config: KitchenConfig, random: Random) -> tuple[Stage, list[Labelled]]:
    """Fill one recording with actions of the split's pairs; returns the stage and its annotations in time order."""
    stage = Stage(kitchen, random)
    lay_out(stage, random)
    pairs = pairs_of_split(split)
    labelled: list[Labelled] = []
    second, history = 0.8, [Pair("", "")]
    while True:
        pair = choose(stage, pairs, history, random)
        if pair.verb == "put":
            spots = free_spots(stage, pair.noun)
            stage.where[pair.noun] = spots[int(random.integers(len(spots)))]
        beat = ACTIONS[pair.verb](stage, pair.noun, second)
        if beat.free > config.recording_seconds - 0.3:
            break
        jitter = random.normal(0, config.annotation_jitter_seconds, 2)
        start, stop = max(beat.start + jitter[0], 0.0), min(beat.stop + jitter[1], config.recording_seconds)
        labelled.append(Labelled(pair, round(float(start), 2), round(float(max(stop, start + 0.4)), 2)))
        history.append(pair)
        second = beat.free + float(random.gamma(2.0, 0.12)) * kitchen.habits.pace
    for noun, begun in list(stage.is_on.items()):
        stage.emit("water" if noun == "tap" else "hiss", begun, config.recording_seconds - begun, "soft", 0.9)
    return stage, sorted(labelled, key=lambda row: row.start_seconds)


def lay_out(stage: Stage, random: Random) -> None:
    """Set about half of the things onto the counter."""
    for noun in stage.kitchen.things:
        stage.where[noun] = None
    nouns = list(stage.kitchen.things)
    random.shuffle(nouns)
    for noun in nouns[:6]:
        spots = free_spots(stage, noun)
        if noun in ("pan", "pot") and random.random() < 0.6:
            spots = [spot for spot in stage.kitchen.hob_slots if spot in spots] or spots
        spot = spots[int(random.integers(len(spots)))]
        stage.where[noun] = spot
        stage.appear(noun, 0.0, stage.standing(noun, spot))


def possible(stage: Stage, pair: Pair) -> bool:
    """Whether the state of the kitchen allows the action now."""
    if pair.verb in ("open", "close") and (pair.noun in stage.is_open) == (pair.verb == "open"):
        return False
    if pair.verb in ("turn-on", "turn-off"):
        return (pair.noun in stage.is_on) == (pair.verb == "turn-off")
    if pair.verb == "move":
        return stage.where[pair.noun] is not None and bool(free_spots(stage, pair.noun))
    if pair.noun in FIXTURES:
        return not (pair.verb == "wipe" and pair.noun in (stage.is_open | set(stage.is_on)))
    if pair.verb == "put":
        return stage.where[pair.noun] is None and crowd(stage) < 7
    return stage.where[pair.noun] is not None


def crowd(stage: Stage) -> int:
    return sum(spot is not None for spot in stage.where.values())


def choose(stage: Stage, pairs: tuple[Pair, ...], history: list[Pair], random: Random) -> Pair:
    """Draw the next action: by its weight, the participant's taste, and what was done just before."""
    allowed = [pair for pair in pairs if possible(stage, pair) and pair != history[-1]]
    if crowd(stage) < 4:
        allowed = [pair for pair in allowed if pair.verb != "take"] or allowed
    weights = np.array([weight(stage, pair, history[-1]) for pair in allowed])
    return allowed[int(random.choice(len(allowed), p=weights / weights.sum()))]


def weight(stage: Stage, pair: Pair, before: Pair) -> float:
    value = pair.weight * stage.kitchen.habits.taste.get(pair.noun, 1.0)
    if pair.verb in UNDOES and pair.noun in FIXTURES:
        value *= 3.0
    if pair.noun == before.noun:
        value *= 0.4 if UNDOES.get(pair.verb) == before.verb or UNDOES.get(before.verb) == pair.verb else 1.5
    return value
