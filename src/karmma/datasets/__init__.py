"""Data sets: one file (or folder) each. To add one: a file with a `DataSet`, a line in DATASETS, a test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import build
from ..data.manifest import Manifest
from .kitchen import KitchenConfig, simulate
from .kitchen.manifest import load_kitchen

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class DataSet:
    """How to read a data set and, where that is possible, how to make it.

    `load(root)` gives the manifest; `create(root, settings, workers, on_done)` writes the set, or is None.
    `settings` validates what a recipe says below `data.settings`.
    """

    load: Callable[[Path], Manifest]
    settings: Callable[[Mapping[str, Any], str], Any]
    create: Callable[[Path, Any, int, Progress | None], None] | None = None


def create_kitchen(root: Path, settings: KitchenConfig, workers: int, on_done: Progress | None) -> None:
    simulate(root, settings, workers=workers, on_done=on_done)


DATASETS: dict[str, DataSet] = {
    "kitchen": DataSet(load_kitchen, lambda tree, where: build(KitchenConfig, dict(tree), where), create_kitchen),
}

__all__ = ["DATASETS", "DataSet", "KitchenConfig", "simulate"]
