"""Verbs, nouns and the verb-noun pairs a kitchen allows; which pairs belong to the source split, which to the target.

Pairs that physics forbids (to pour a drawer, to cut a pan) are simply not listed. Teacher extractors are pre-trained on
the source pairs of other participants; no source pair ever occurs in train, validation or test. Verbs that undo each
other (take/put, open/close, turn-on/turn-off) keep a noun on the same side, or a thing taken could never come back.
"""

from __future__ import annotations

from dataclasses import dataclass

VERBS = (
    "take", "put", "open", "close", "wash", "cut", "stir", "pour", "turn-on", "turn-off", "move", "wipe", "shake", "peel",
)  # fmt: skip
NOUNS = (
    "cup", "plate", "bowl", "pan", "tap", "drawer", "knife", "glass", "spoon", "cupboard", "bottle", "pot", "jar",
    "onion", "tomato", "carrot", "box", "board", "fridge", "sponge", "hob",
)  # fmt: skip

UNDOES = {"put": "take", "close": "open", "turn-off": "turn-on"}

_TARGET = {
    "take": "cup plate bowl knife bottle pot tomato box",
    "open": "drawer jar fridge pot",
    "turn-on": "tap",
    "wash": "plate glass pan spoon carrot board",
    "cut": "tomato onion",
    "stir": "pan bowl cup",
    "pour": "bottle cup jar",
    "move": "bowl glass pan box onion",
    "wipe": "board plate hob",
    "shake": "bottle box pan",
    "peel": "carrot",
}
_SOURCE = {
    "take": "glass pan spoon jar carrot onion board sponge",
    "open": "cupboard bottle box",
    "turn-on": "hob",
    "wash": "cup bowl knife tomato pot",
    "cut": "carrot",
    "stir": "pot glass",
    "pour": "glass box pot",
    "move": "plate cup pot board bottle jar",
    "wipe": "pan fridge",
    "shake": "jar glass",
    "peel": "onion",
}

# How often people do it (EPIC's verbs and nouns have such a long tail): the sampler's weight before a kitchen's own taste.
VERB_WEIGHTS = dict(zip(VERBS, (9.0, 8.5, 5.0, 4.6, 6.0, 4.0, 3.0, 2.6, 2.6, 2.4, 2.2, 2.0, 1.5, 1.0), strict=True))
NOUN_WEIGHTS = {noun: 1.0 / (1.0 + 0.14 * rank) for rank, noun in enumerate(NOUNS)}


@dataclass(frozen=True, order=True)
class Pair:
    """One action class: what is done to what."""

    verb: str
    noun: str

    @property
    def weight(self) -> float:
        return VERB_WEIGHTS[self.verb] * NOUN_WEIGHTS[self.noun]


def pairs_of(table: dict[str, str]) -> tuple[Pair, ...]:
    pairs = [Pair(verb, noun) for verb, nouns in table.items() for noun in nouns.split()]
    undone = [Pair(undo, pair.noun) for pair in pairs for undo, done in UNDOES.items() if done == pair.verb]
    return tuple(sorted(pairs + undone))


TARGET_PAIRS = pairs_of(_TARGET)
SOURCE_PAIRS = pairs_of(_SOURCE)


def pairs_of_split(split: str) -> tuple[Pair, ...]:
    return SOURCE_PAIRS if split == "source" else TARGET_PAIRS
