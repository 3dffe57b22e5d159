"""A whole run on shards, training clips decoded when they are needed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from karmma.datasets.kitchen.manifest import load_kitchen
from karmma.preparation.prepare import prepare

from ..experiment.test_run import run_cli, tiny_recipe
from .test_prepare import CONFIG


@pytest.fixture(scope="module")
def shards(kitchen_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shards")
    prepare(load_kitchen(kitchen_root), str(out), CONFIG, workers=1)
    return out


def test_streaming_reaches_the_results_of_storing(shards: Path, tmp_path: Path) -> None:
    """Each run in a process of its own, as a user's: it starts decoding processes that share memory with it."""
    tree = tiny_recipe(shards) | {"seeds": [0], "methods": {"karmma": {"dropout": 0.3, "distillation": {"alpha": 0.5}}}}
    for part in ("teacher", "student"):
        for stage in ("pretraining", "training"):
            tree[part][stage] = tree[part][stage] | {"epochs": 1}
    tree["data"] = {"dataset": "prepared", "root": str(shards), "workers": 1}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(tree))
    results = {}
    for stream in ("false", "true"):
        done = run_cli("run", tmp_path / "recipe.yaml", "--out", tmp_path / stream, f"data.stream={stream}")
        assert done.returncode == 0, done.stderr
        results[stream] = json.loads((tmp_path / stream / "results.json").read_text())
    assert list((tmp_path / "false" / "clips" / "train").glob("*.npy"))
    assert [path.name for path in (tmp_path / "true" / "clips" / "train").glob("*.npy")] == ["segments.npy"]  # no clips
    assert results["true"]["methods"]["karmma"]["subsets"] == results["false"]["methods"]["karmma"]["subsets"]
    assert results["true"]["unreadable"] == {"source": 0, "train": 0, "test": 0}
