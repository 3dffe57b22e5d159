"""Shards out of recordings: nothing lost, nothing twice, every fault named."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import shutil
import signal
import tarfile
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from karmma.data.clips import ClipStore
from karmma.data.manifest import Manifest, Segment
from karmma.data.reading import read_segment
from karmma.datasets import find_data_set
from karmma.datasets.kitchen.manifest import load_kitchen
from karmma.datasets.prepared import PreparedConfig, load_prepared
from karmma.modalities import make_modalities
from karmma.preparation import prepare as prepare_module
from karmma.preparation import shards as shards_module
from karmma.preparation.prepare import prepare
from karmma.preparation.segments import PrepareConfig, prepare_segment
from karmma.preparation.shards import Store, make_jobs, write_index, write_shard
from karmma.types import KarmmaError

CONFIG = PrepareConfig(short_side=96, frames_hz=12, flow_short_side=48, flow_step_seconds=0.2, flow_hz=5,
                       segments_per_shard=3, margin_seconds=1.4)  # fmt: skip
SENSORS: dict[str, dict[str, Any]] = {
    "rgb": {"frames": 2, "height": 48, "width": 64}, "audio": {}, "detections": {"frames": 3}, "imu": {"seconds": 1.0},
    "flow": {"frames": 2, "height": 40, "width": 50, "step_seconds": 0.2}, "hands": {"frames": 6},
}  # fmt: skip


@pytest.fixture(scope="module")
def manifest(kitchen_root: Path) -> Manifest:
    return load_kitchen(kitchen_root)


@pytest.fixture(scope="module")
def prepared(manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("prepared")
    result = prepare(manifest, str(out), CONFIG, workers=1)
    assert not result.failures and result.segments == sum(map(len, manifest.splits.values()))
    return out


def names_in(out: Path) -> list[str]:
    """Segments in the tars themselves, with repetitions."""
    found = []
    for path in sorted((out / "shards").glob("*.tar")):
        with tarfile.open(path) as archive:
            for member in archive:
                if member.name.endswith(".json"):
                    content = archive.extractfile(member)
                    assert content is not None
                    found.append(json.load(content)["name"])
    return found


def all_names(manifest: Manifest) -> list[str]:
    return [segment.name for split in manifest.splits.values() for segment in split]


def failed(out: Path) -> list[list[str]]:
    with (out / "failed.csv").open(newline="") as file:
        return list(csv.reader(file))[1:]


def test_every_segment_is_there_once_and_reads_like_its_original(manifest: Manifest, prepared: Path) -> None:
    assert sorted(names_in(prepared)) == sorted(all_names(manifest))
    again = load_prepared(prepared, PreparedConfig())
    assert again.labels == manifest.labels and {k: len(v) for k, v in again.splits.items()} == {
        k: len(v) for k, v in manifest.splits.items()
    }
    modalities, agreement = make_modalities(SENSORS), list[float]()
    for old, new in list(zip(manifest.splits["train"], again.splits["train"], strict=True))[:3]:
        assert (old.name, old.labels) == (new.name, new.labels)
        before, after = read_segment(old, modalities), read_segment(new, modalities)
        assert set(after.arrays) == set(before.arrays) == set(SENSORS) and not after.failures
        difference = np.abs(after.arrays["rgb"].astype(float) - before.arrays["rgb"].astype(float)).mean()
        assert difference < 8
        assert np.abs(after.arrays["audio"].astype(float) - before.arrays["audio"].astype(float)).mean() < 0.25
        assert np.abs(after.arrays["imu"] - before.arrays["imu"]).max() < 0.05
        np.testing.assert_allclose(after.arrays["hands"], before.arrays["hands"], atol=0.02)
        assert np.allclose(after.arrays["detections"], before.arrays["detections"], atol=0.002)
        pairs = zip(before.arrays["flow"].astype(float), after.arrays["flow"].astype(float), strict=True)
        agreement += [np.corrcoef(one.ravel(), other.ravel())[0, 1] for one, other in pairs]
    assert np.median(agreement) > 0.6  # not one by one: fast turns of the head are beyond the method on such small pictures


def test_the_index_has_a_row_per_segment(manifest: Manifest, prepared: Path) -> None:
    rows = pyarrow.parquet.read_table(prepared / "index.parquet").to_pylist()
    assert len(rows) == len(all_names(manifest)) and len({row["sha256"] for row in rows}) == len(rows)
    assert {row["present"] for row in rows} == {"rgb+flow+audio+detections+imu+hands"}
    row = rows[0]
    with (prepared / row["shard"]).open("rb") as file:
        offset, size = json.loads(row["members"])["flac"]
        file.seek(offset)
        assert file.read(size)[:4] == b"fLaC"


def test_webdataset_reads_the_shards(manifest: Manifest, prepared: Path) -> None:
    webdataset = pytest.importorskip("webdataset", reason="webdataset is not installed")
    urls = [str(path) for path in sorted((prepared / "shards").glob("train-*.tar"))]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False))
    assert len(samples) == len(manifest.splits["train"]) and {"mp4", "flac", "flow.npz", "json"} <= set(samples[0])


def test_doing_it_again_does_nothing_and_other_settings_are_refused(manifest: Manifest, prepared: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (prepared / "shards").iterdir()}
    prepare(manifest, str(prepared), CONFIG, workers=1)
    assert {path: path.stat().st_mtime_ns for path in (prepared / "shards").iterdir()} == before
    with pytest.raises(KarmmaError, match="was prepared with other settings"):
        prepare(manifest, str(prepared), replace(CONFIG, short_side=64), workers=1)


def test_two_runs_are_equal_byte_for_byte_whatever_the_workers(manifest: Manifest, prepared: Path, tmp_path: Path) -> None:
    one = Manifest(manifest.name, manifest.labels, {"train": manifest.splits["train"]})
    prepare(one, str(tmp_path), CONFIG, workers=2)
    rows = [
        {row["name"]: row["sha256"] for row in pyarrow.parquet.read_table(out / "index.parquet").to_pylist()}
        for out in (tmp_path, prepared)
    ]
    assert rows[0].items() <= rows[1].items()


def faulty(kitchen: Manifest, root: Path) -> tuple[Manifest, dict[str, str]]:
    """Six segments with a fault each beside two sound ones, and what the fault of each is called."""
    train = list(kitchen.splits["train"][:8])
    video = train[0].sources["rgb"]
    assert isinstance(video, Path)
    whole = video.read_bytes()
    files = {"truncated.mp4": whole[: len(whole) // 3], "empty.mp4": b"", "garbage.mp4": os.urandom(5000), "locked.mp4": whole}
    for name, content in files.items():
        (root / name).write_bytes(content)
    reasons = {}
    expected = {"truncated.mp4": "", "empty.mp4": "", "garbage.mp4": "", "gone.mp4": "no such file"}
    for index, (name, words) in enumerate(expected.items()):
        train[index] = replace(train[index], sources=dict.fromkeys(("rgb", "audio"), root / name))
        reasons[train[index].name] = words
    long = train[4]
    train[4] = replace(long, start_seconds=10 * long.stop_seconds + 100, stop_seconds=10 * long.stop_seconds + 102)
    reasons[long.name] = ""
    silent = replace(train[5], sources={"rgb": train[5].sources["rgb"]})
    train[5] = silent
    return Manifest("faulty", kitchen.labels, {"train": tuple(train)}), reasons


def test_faults_are_named_and_the_rest_is_whole(manifest: Manifest, tmp_path: Path) -> None:
    bad, reasons = faulty(manifest, tmp_path)
    out = tmp_path / "out"
    result = prepare(bad, str(out), CONFIG, workers=2)
    rows = {row["name"]: row for row in pyarrow.parquet.read_table(out / "index.parquet").to_pylist()}
    assert len(names_in(out)) == len(set(names_in(out))) == len(rows) == result.segments
    complaints = {(name, modality): words for name, _, modality, words in failed(out)}
    for name, words in reasons.items():
        assert any(key[0] == name and words in text for key, text in complaints.items()), name
    sound = [segment.name for segment in bad.splits["train"] if segment.name not in reasons]
    assert set(sound) <= set(rows) and not {key[0] for key in complaints} & set(sound)
    assert rows[bad.splits["train"][5].name]["present"] == "rgb"
    # A video that cannot be read does not take the sensors with it.
    late = bad.splits["train"][4]
    assert ("rgb" not in rows[late.name]["present"]) if late.name in rows else True
    assert all(not path.name.startswith(".") for path in (out / "shards").iterdir())
    with pytest.raises(KarmmaError, match="more than 2 failures"):
        prepare(bad, str(tmp_path / "few"), CONFIG, workers=1, max_failures=2)


def test_a_full_disk_leaves_no_partial_shard(manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.implementations.local import LocalFileSystem

    original = LocalFileSystem.pipe_file

    def full(self: Any, path: str, content: bytes, **options: Any) -> None:
        if "train-000001.tar" in path:
            Path(path).write_bytes(content[:100])
            raise OSError(errno.ENOSPC, "No space left on device")
        original(self, path, content, **options)

    one = Manifest("one", manifest.labels, {"train": manifest.splits["train"][:7]})
    jobs = make_jobs(dict(one.splits), str(tmp_path), CONFIG)
    with monkeypatch.context() as patch:
        patch.setattr(LocalFileSystem, "pipe_file", full)
        write_shard(jobs[0])
        with pytest.raises(KarmmaError, match="no space left; free some and run the same command again"):
            write_shard(jobs[1])
    assert sorted(path.name for path in (tmp_path / "shards").iterdir()) == ["train-000000.json", "train-000000.tar"]
    prepare(one, str(tmp_path), CONFIG, workers=1)
    assert sorted(names_in(tmp_path)) == sorted(all_names(one))


def prepare_as_somebody_else(jobs: Any) -> Any:
    """Runs in a process of its own, as a user who may not read everything: what zipfile imports late, neither."""
    "".encode("cp437")
    os.seteuid(65534)
    return [write_shard(job) for job in jobs]


def test_a_file_that_may_not_be_read_is_named_and_the_rest_is_there(manifest: Manifest) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to be somebody else for a moment")
    with tempfile.TemporaryDirectory() as name:
        open_place = Path(name)
        open_place.chmod(0o777)
        segments = list(manifest.splits["train"][:5])
        for index, segment in enumerate(segments):
            copies = {}
            for modality, source in segment.sources.items():
                assert isinstance(source, Path)
                if not source.is_file():
                    continue
                copies[modality] = open_place / f"{index}-{modality}{source.suffix}"
                shutil.copyfile(source, copies[modality])
                copies[modality].chmod(0o600 if (index, modality) == (2, "rgb") else 0o644)
            segments[index] = replace(segment, sources=copies)
        jobs = make_jobs({"train": tuple(segments)}, str(open_place / "out"), CONFIG)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            notes = pool.submit(prepare_as_somebody_else, jobs).result()
        failures = [row for note in notes for row in note["failures"]]
        assert [row[:3] for row in failures] == [[segments[2].name, "train", "rgb"]] and "ermission denied" in failures[0][3]
        assert [row["name"] for note in notes for row in note["rows"]] == [segment.name for segment in segments]


def deadly_reader(segment: Segment, split: str, config: PrepareConfig) -> Any:
    if segment.name.endswith("_2"):
        os.kill(os.getpid(), signal.SIGKILL)
    return ORIGINAL(segment, split, config)


ORIGINAL = prepare_segment


def deadly_shard(job: Any) -> dict[str, Any]:
    vars(shards_module)["prepare_segment"] = deadly_reader
    return write_shard(job)


def test_a_segment_that_kills_its_reader_is_named_and_the_rest_is_there(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Manifest("one", manifest.labels, {"train": manifest.splits["train"][:7]})
    monkeypatch.setattr(prepare_module, "write_shard", deadly_shard)
    monkeypatch.setattr(prepare_module, "prepare_segment", deadly_reader)
    result = prepare(one, str(tmp_path), CONFIG, workers=2)
    dead = [name for name in all_names(one) if name.endswith("_2")]
    assert dead and sorted(names_in(tmp_path)) == sorted(set(all_names(one)) - set(dead))
    assert [row[0] for row in result.failures] == dead and "died" in result.failures[0][3]


def test_a_store_that_is_no_disk(manifest: Manifest) -> None:
    import fsspec

    one = Manifest("one", manifest.labels, {"train": manifest.splits["train"][:4]})
    jobs = make_jobs({"train": one.splits["train"]}, "memory://set", CONFIG)
    for job in jobs:
        write_shard(job)
    count, failures = write_index(Store.open("memory://set"), jobs)
    assert count == 4 and not failures
    content = fsspec.filesystem("memory").cat_file("/set/index.parquet")
    assert pyarrow.parquet.read_table(io.BytesIO(content)).num_rows == 4


def test_training_clips_come_from_shards(prepared: Path, tmp_path: Path) -> None:
    assert find_data_set("prepared").load(prepared, PreparedConfig()).split("train")
    segments = load_prepared(prepared, PreparedConfig()).split("train")[:4]
    store = ClipStore(tmp_path, segments, make_modalities({"audio": {}, "imu": {}}))
    store.write(workers=1)
    assert store.available.all() and not store.failures()


def test_an_unfinished_set_is_refused(tmp_path: Path, prepared: Path) -> None:
    shutil.copy(prepared / "prepared.json", tmp_path)
    with pytest.raises(KarmmaError, match="no finished prepared set"):
        load_prepared(tmp_path, PreparedConfig())
