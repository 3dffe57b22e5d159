"""A whole run on shards, training clips decoded when they are needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from karmma.config import Recipe, build
from karmma.data.streaming import StreamStore
from karmma.datasets.kitchen.manifest import load_kitchen
from karmma.experiment.context import Context
from karmma.experiment.run import run
from karmma.preparation.prepare import prepare

from ..experiment.test_run import tiny_recipe
from .test_prepare import CONFIG


@pytest.fixture(scope="module")
def shards(kitchen_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shards")
    prepare(load_kitchen(kitchen_root), str(out), CONFIG, workers=1)
    return out


def test_streaming_reaches_the_results_of_storing(shards: Path, tmp_path: Path) -> None:
    tree = tiny_recipe(shards) | {"seeds": [0], "methods": {"karmma": {"dropout": 0.3, "distillation": {"alpha": 0.5}}}}
    for part in ("teacher", "student"):
        for stage in ("pretraining", "training"):
            tree[part][stage] = tree[part][stage] | {"epochs": 1}
    results = {}
    for stream in (False, True):
        tree["data"] = {"dataset": "prepared", "root": str(shards), "workers": 1, "stream": stream}
        recipe = build(Recipe, tree, "recipe")
        results[stream] = run(recipe, tmp_path / str(stream))
        assert isinstance(Context(recipe, tmp_path / str(stream)).read_clips("train"), StreamStore) is stream
    assert not list((tmp_path / "True" / "clips" / "train").glob("*.npy"))
    assert results[True]["methods"]["karmma"]["subsets"] == results[False]["methods"]["karmma"]["subsets"]
    assert results[True]["unreadable"] == {"source": 0, "train": 0, "test": 0}
