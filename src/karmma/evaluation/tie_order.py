"""The order of equal scores, the same on every processor: that of `numpy.argsort` (2.x) where it sorts with AVX-512.

EPIC-KITCHENS-100's script ranks classes by `numpy.argsort`, which leaves the order of equal scores to the sort, and numpy
sorts differently with AVX-512, with AVX2 and without. Scores kept as float16 have ties at the first and fifth place in a
few clips of ten thousand, so that one file gives other figures on another machine. Here that sort is written out: quicksort
around the fifth smallest of eight samples, moving eight at a time, down to parts of at most 256, which a bitonic network
sorts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LANES = 8
GROUP = 4 * LANES
NETWORK_SIZE = 256
Keys = NDArray[np.float64]
Order = NDArray[np.int64]


def order_ascending(keys: Keys) -> Order:
    """Places of `keys` `(classes,)` from the lowest to the highest, equal keys as numpy leaves them with AVX-512."""
    order = np.arange(len(keys))
    if np.all(keys[:-1] <= keys[1:]):
        return order
    sort_part(keys, order, 2 * (len(keys).bit_length() - 1))
    return order


def sort_part(keys: Keys, order: Order, rounds_left: int) -> None:
    """Sort `order`, a view of part of the whole, in place.

    Where more than half of the keys are the lowest, quicksort does not come to an end: a stable sort then takes over, where
    numpy leaves it to the compiler's library.
    """
    if rounds_left == 0:
        order[:] = order[np.argsort(keys[order], kind="stable")]
        return
    if len(order) <= NETWORK_SIZE:
        order[:] = sort_by_network(keys, order)
        return
    step = (len(order) - 1) // LANES
    samples = np.sort(keys[order[step : LANES * step + 1 : step]])
    pivot = samples[LANES // 2]
    part = keys[order]
    border = partition(keys, order, pivot)
    if pivot != part.min():
        sort_part(keys, order[:border], rounds_left - 1)
    if pivot != part.max():
        sort_part(keys, order[border:], rounds_left - 1)


def sort_by_network(keys: Keys, order: Order) -> Order:
    """Bitonic network over the next power of two: each block folded on itself, then halved down to neighbours."""
    size = 1 << (len(order) - 1).bit_length()
    values = np.full(size, np.inf)
    values[: len(order)] = keys[order]
    places = np.pad(order, (0, size - len(order)), constant_values=-1)
    block = 2
    while block <= size:
        exchange(values, places, block - 1)
        distance = block // 4
        while distance:
            exchange(values, places, distance)
            distance //= 2
        block *= 2
    return places[: len(order)]


def exchange(values: Keys, places: Order, flip: int) -> None:
    """Swap the pairs `(i, i ^ flip)` that stand the wrong way round; equal ones stay where they are."""
    low = np.arange(len(values))
    high = low ^ flip
    low, high = low[low < high], high[low < high]
    wrong = values[low] > values[high]
    low, high = low[wrong], high[wrong]
    values[low], values[high] = values[high], values[low]
    places[low], places[high] = places[high], places[low]


def partition(keys: Keys, order: Order, pivot: float) -> int:
    """Move what is below the pivot to the front, in place; gives how many that are.

    Single ones first, until whole groups of 32 are left. The first and the last group are held back; the others
    are read from the side where less room is left, and each eight are written to both ends of that room.
    """
    left, right = drop_remainder(keys, order, pivot)
    held = np.concatenate([order[left : left + GROUP], order[right - GROUP : right]])
    front, back = left, right
    left, right = left + GROUP, right - GROUP
    while left != right:
        from_back = back - right < left - front
        start = right - GROUP if from_back else left
        taken = order[start : start + GROUP].copy()
        left, right = (left, start) if from_back else (start + GROUP, right)
        front, back = write_both_ends(keys, order, pivot, taken, front, back)
    front, back = write_both_ends(keys, order, pivot, held, front, back)
    return front


def drop_remainder(keys: Keys, order: Order, pivot: float) -> tuple[int, int]:
    left, right = 0, len(order)
    for _ in range(len(order) % GROUP):
        if keys[order[left]] >= pivot:
            right -= 1
            order[left], order[right] = order[right], order[left]
        else:
            left += 1
    return left, right


def write_both_ends(keys: Keys, order: Order, pivot: float, taken: Order, front: int, back: int) -> tuple[int, int]:
    """Write eight at a time: the lower ones from `front` on, the others before `back`; gives the room that is left."""
    for first in range(0, len(taken), LANES):
        eight = taken[first : first + LANES]
        high = keys[eight] >= pivot
        count = int(high.sum())
        order[front : front + LANES - count] = eight[~high]
        order[back - count : back] = eight[high]
        front, back = front + LANES - count, back - count
    return front, back
