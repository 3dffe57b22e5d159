"""Preparation by a real local Ray cluster of two nodes, one of which is killed midway."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from karmma.data.manifest import Manifest
from karmma.datasets.kitchen.manifest import load_kitchen
from karmma.preparation.prepare import prepare

from .test_prepare import CONFIG, all_names, names_in

ray = pytest.importorskip("ray", reason="ray is not installed")
cluster_utils = pytest.importorskip("ray.cluster_utils")


@pytest.mark.filterwarnings("ignore")
def test_a_lost_node_loses_no_segment(kitchen_root: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    kitchen = load_kitchen(kitchen_root)
    whole = Manifest(kitchen.name, kitchen.labels, dict(kitchen.splits))
    cluster: Any = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False)
    try:
        def kill_second() -> None:
            while len(list((tmp_path / "shards").glob("*.json"))) < 2:
                time.sleep(0.01)
            cluster.remove_node(second, allow_graceful=False)

        killer = threading.Thread(target=kill_second)
        (tmp_path / "shards").mkdir()
        killer.start()
        result = prepare(whole, str(tmp_path), replace(CONFIG, segments_per_shard=1), engine="ray")
        killer.join()
        deadline = time.monotonic() + 60  # the head counts a node as lost only after some silence
        while len(alive := [node for node in ray.nodes() if node["Alive"]]) > 1 and time.monotonic() < deadline:
            time.sleep(0.5)
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert len(alive) == 1
    assert not result.failures and sorted(names_in(tmp_path)) == sorted(all_names(whole))
    assert all(not path.name.startswith(".") for path in (tmp_path / "shards").iterdir())
