"""Data sets: one file (or folder) each. To add one: a file with a `DataSet`, a line in DATASETS, a test.

Other packages bring theirs as entry points (plugins.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.manifest import Manifest
from ..plugins import DATA_SET, load_plugin, plugin_names
from ..trees import apply_overrides, build
from ..types import KarmmaError
from .ego4d import Ego4dConfig, load_ego4d
from .epic import LABEL_SIZES, EpicConfig, load_epic
from .epic_sounds import CLASSES as SOUND_CLASSES
from .epic_sounds import EpicSoundsConfig, load_epic_sounds
from .folder import FolderConfig, load_folder
from .h2o import ACTIONS as H2O_ACTIONS
from .h2o import H2oConfig, load_h2o
from .holoassist import HoloAssistConfig, load_holoassist
from .kitchen import KitchenConfig, simulate
from .kitchen.manifest import load_kitchen
from .kitchen.vocabulary import NOUNS, VERBS
from .prepared import PreparedConfig, load_prepared
from .ssv2 import CLASSES as SSV2_CLASSES
from .ssv2 import Ssv2Config, load_ssv2
from .utd_mhad import ACTIONS, UtdMhadConfig, load_utd_mhad

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class DataSet:
    """How to read a data set and, where that is possible, how to make it.

    `load(root, settings)` gives the manifest; `create(root, settings, workers, on_done)` writes the set, or is None.
    `settings` validates what a recipe says below `data.settings`. `label_sizes` are the classes per head where they are
    known without the data.
    """

    load: Callable[[Path, Any], Manifest]
    settings: Callable[[Mapping[str, Any], str], Any]
    create: Callable[[Path, Any, int, Progress | None], None] | None = None
    label_sizes: Mapping[str, int] | None = None


def create_kitchen(root: Path, settings: KitchenConfig, workers: int, on_done: Progress | None) -> None:
    simulate(root, settings, workers=workers, on_done=on_done)


DATASETS: dict[str, DataSet] = {
    "kitchen": DataSet(
        lambda root, settings: load_kitchen(root),
        lambda tree, where: build(KitchenConfig, dict(tree), where),
        create_kitchen,
        {"verb": len(VERBS), "noun": len(NOUNS)},
    ),
    "utd_mhad": DataSet(
        load_utd_mhad, lambda tree, where: build(UtdMhadConfig, dict(tree), where), label_sizes={"action": len(ACTIONS)}
    ),
    "epic": DataSet(load_epic, lambda tree, where: build(EpicConfig, dict(tree), where), label_sizes=LABEL_SIZES),
    "epic_sounds": DataSet(
        load_epic_sounds, lambda tree, where: build(EpicSoundsConfig, dict(tree), where), label_sizes={"sound": SOUND_CLASSES}
    ),
    "ego4d": DataSet(load_ego4d, lambda tree, where: build(Ego4dConfig, dict(tree), where)),
    "h2o": DataSet(load_h2o, lambda tree, where: build(H2oConfig, dict(tree), where), label_sizes={"action": len(H2O_ACTIONS)}),
    "holoassist": DataSet(load_holoassist, lambda tree, where: build(HoloAssistConfig, dict(tree), where)),
    "ssv2": DataSet(load_ssv2, lambda tree, where: build(Ssv2Config, dict(tree), where), label_sizes={"action": SSV2_CLASSES}),
    "prepared": DataSet(load_prepared, lambda tree, where: build(PreparedConfig, dict(tree), where)),
    "folder": DataSet(load_folder, lambda tree, where: build(FolderConfig, dict(tree), where)),
}


def find_data_set(name: str) -> DataSet:
    """A data set by name. Raises KarmmaError with the known ones."""
    if name in DATASETS:
        return DATASETS[name]
    brought = load_plugin(DATA_SET, name)
    if brought is None:
        known = ", ".join([*DATASETS, *plugin_names(DATA_SET)])
        raise KarmmaError(f"data.dataset: unknown data set {name!r}; known: {known}")
    if not isinstance(brought, DataSet):
        raise KarmmaError(f"data.dataset: {name} of another package must be a karmma.datasets.DataSet, not {type(brought).__name__}")
    return brought


def load_data_set(name: str, root: Path, overrides: Sequence[str]) -> Manifest:
    """The manifest of a data set by name, with settings as `key=value`."""
    kind = find_data_set(name)
    if not root.is_dir():
        raise KarmmaError(f"no such directory: {root}")
    return kind.load(root, kind.settings(apply_overrides({}, overrides), "settings"))


__all__ = ["DATASETS", "DataSet", "KitchenConfig", "find_data_set", "load_data_set", "simulate"]
