"""`karmma profile`: what teacher and student of a recipe, or one checkpoint, cost for every subset of modalities."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import RecognizerConfig, load_recipe
from ..datasets import find_data_set
from ..evaluation.profile import Cost, measure_cost
from ..modalities import make_modalities
from ..models.checkpoint import read_info
from ..training.fit import training_device
from ..types import KarmmaError, ModalitySpec, subset_name, subsets_of
from .context import STUDENT, TEACHER
from .provenance import provenance


@dataclass(frozen=True)
class Profiled:
    """A recognizer that is to be measured; nothing of it is built yet."""

    config: RecognizerConfig
    specs: Mapping[str, ModalitySpec]
    label_sizes: Mapping[str, int]


def find_recognizers(path: Path, overrides: list[str] | None = None) -> dict[str, Profiled]:
    """Teacher and student of a recipe file, or the recognizer of a checkpoint directory."""
    if path.is_dir():
        info = read_info(path)
        return {path.name: Profiled(info.recognizer, info.specs, info.labels.sizes)}
    recipe = load_recipe(path, overrides)
    kind = find_data_set(recipe.data.dataset)
    sizes = kind.label_sizes
    if sizes is None:
        if recipe.data.root is None:
            raise KarmmaError(f"data set {recipe.data.dataset}: the number of classes follows from the data; name data.root")
        settings = kind.settings(recipe.data.settings, "data.settings")
        sizes = kind.load(Path(recipe.data.root), settings).labels.sizes
    specs = {name: modality.spec for name, modality in make_modalities(recipe.modalities).items()}
    roles = {TEACHER: recipe.teacher.recognizer, STUDENT: recipe.student.recognizer}
    return {role: Profiled(config, specs, sizes) for role, config in roles.items()}


def profile_costs(
    recognizers: Mapping[str, Profiled], repeats: int, batch_size: int, on_done: Callable[[int, int], None]
) -> dict[str, dict[str, Cost]]:
    """Costs by recognizer and subset, on the GPU where there is one."""
    device = training_device()
    jobs = [(name, subset) for name, entry in recognizers.items() for subset in subsets_of(tuple(entry.specs))]
    costs: dict[str, dict[str, Cost]] = {name: {} for name in recognizers}
    for number, (name, subset) in enumerate(jobs, 1):
        entry = recognizers[name]
        costs[name][subset_name(subset)] = measure_cost(
            entry.config, entry.specs, entry.label_sizes, subset, device, repeats=repeats, batch_size=batch_size
        )
        on_done(number, len(jobs))
    return costs


def describe_costs(costs: Mapping[str, Mapping[str, Cost]], repeats: int, batch_size: int) -> dict[str, Any]:
    """As JSON: `recognizers.<teacher|student>.<subset>.<parameters|gflops|…>`, with machine and versions."""
    return {
        "recognizers": {
            name: {subset: dataclasses.asdict(cost) for subset, cost in rows.items()} for name, rows in costs.items()
        },
        "repeats": repeats,
        "batch_size": batch_size,
        **provenance(),
    }
