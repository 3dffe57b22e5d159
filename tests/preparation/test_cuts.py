"""Segments of recordings of skeletons and depth pictures: what lies in a shard reads like its original, wherever it began."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import scipy.io

from karmma.data.manifest import Manifest, Segment
from karmma.data.reading import read_segment
from karmma.datasets.prepared import PreparedConfig, load_prepared
from karmma.media.containers import MediaError
from karmma.modalities import make_modalities
from karmma.preparation.cuts import cut_depth_film, cut_file
from karmma.preparation.prepare import prepare
from karmma.preparation.segments import PrepareConfig
from karmma.trees import build
from karmma.types import KarmmaError, LabelSpace

SECONDS = np.arange(300) / 30 + 50.0  # a clock that does not begin at 0
SENSORS: dict[str, dict[str, Any]] = {
    "skeleton": {"frames": 6}, "depth": {"frames": 4, "size": 24, "content": "person"}, "slow_features": {"width": 3, "tokens": 4},
}  # fmt: skip


def bodies() -> tuple[np.ndarray, np.ndarray]:
    """Poses `(300, 20, 3)` and depth pictures `(300, 60, 80)` in millimetres of somebody who never stands still."""
    random = np.random.default_rng(0)
    poses = random.normal(0, 0.3, (20, 3)) + random.normal(0, 0.05, (300, 20, 3)).cumsum(0) / 20
    depth = np.zeros((300, 60, 80), np.uint16)
    for index in range(300):
        left = round(30 + 20 * np.sin(index / 9))
        depth[index, 10:50, left : left + 14] = 2400 + random.integers(0, 200, (40, 14))
    return poses.astype(np.float32), depth


def write_film(path: Path, pictures: np.ndarray) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=30)
        stream.height, stream.width, stream.pix_fmt = *pictures.shape[1:], "gray16le"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="gray16le")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    directory, (poses, depth) = tmp_path_factory.mktemp("recording"), bodies()
    np.savez(directory / "skeleton.npz", skeleton=poses, seconds=SECONDS)
    np.savez(directory / "depth.npz", depth_metres=depth * np.float32(0.001), seconds=SECONDS, camera=np.eye(3))
    random = np.random.default_rng(1).normal(size=(300, 3)).astype(np.float32)
    np.savez(directory / "features.npz", features=random, seconds=SECONDS)
    return {"skeleton": directory / "skeleton.npz", "depth": directory / "depth.npz", "slow_features": directory / "features.npz"}


def test_segments_in_shards_read_like_their_originals(recording: dict[str, Path], tmp_path: Path) -> None:
    spans = [(50.0, 52.0), (53.3, 55.1), (58.0, 60.0)]
    segments = tuple(
        Segment(f"{start}", "p", start, stop, {"verb": 0}, dict(recording)) for start, stop in spans
    )
    manifest = Manifest("bodies", LabelSpace({"verb": ("walk",)}), {"train": segments})
    result = prepare(manifest, str(tmp_path / "out"), PrepareConfig(margin_seconds=0.5), workers=1)
    assert not result.failures
    modalities = make_modalities(SENSORS)
    for old, new in zip(segments, load_prepared(tmp_path / "out", PreparedConfig()).split("train"), strict=True):
        before, after = read_segment(old, modalities), read_segment(new, modalities)
        assert set(before.arrays) == set(after.arrays) == set(SENSORS) and not after.failures
        for name, values in before.arrays.items():
            np.testing.assert_allclose(after.arrays[name], values, atol=1e-4, err_msg=f"{old.name} {name}")
        assert new.sources["depth"].size < recording["depth"].stat().st_size / 4  # type: ignore[union-attr]


def test_a_clock_may_count_down_to_zero(recording: dict[str, Path], tmp_path: Path) -> None:
    arrays = dict(np.load(recording["skeleton"]))
    np.savez(tmp_path / "skeleton.npz", skeleton=arrays["skeleton"], seconds=SECONDS - 100.0)
    segment = Segment("a", "p", 0.0, math.inf, {"verb": 0}, {"skeleton": tmp_path / "skeleton.npz"})
    manifest = Manifest("bodies", LabelSpace({"verb": ("walk",)}), {"train": (segment,)})
    assert not prepare(manifest, str(tmp_path / "out"), PrepareConfig(margin_seconds=0.5), workers=1).failures
    modalities = make_modalities({"skeleton": SENSORS["skeleton"]})
    (new,) = load_prepared(tmp_path / "out", PreparedConfig()).split("train")
    np.testing.assert_allclose(
        read_segment(new, modalities).arrays["skeleton"], read_segment(segment, modalities).arrays["skeleton"], atol=1e-4
    )


def test_an_imu_whose_clock_is_ahead_is_cut_where_it_was_measured(tmp_path: Path) -> None:
    """Cut by the recording's clock, a shard held what was measured at another time, or nothing at all."""
    seconds, axes = np.arange(3000) / 50, ["accel_x", "accel_y", "accel_z", "gyro_x", "gyro_y", "gyro_z"]
    values = np.random.default_rng(0).normal(0, 5, (3000, 6))
    lines = [",".join(f"{cell:.4f}" for cell in (moment, *row)) for moment, row in zip(seconds, values, strict=True)]
    path = tmp_path / "imu.csv"
    path.write_text("\n".join([",".join(["seconds", *axes]), *lines]))
    segments = tuple(Segment(f"{start}", "p", start, start + 2.0, {"verb": 0}, {"imu": path}) for start in (0.0, 20.0, 41.0))
    manifest = Manifest("worn", LabelSpace({"verb": ("walk",)}), {"train": segments})
    modalities = make_modalities({"imu": {"offset_seconds": 12.5}})
    prepare(manifest, str(tmp_path / "out"), PrepareConfig(imu_offset_seconds=12.5), workers=1)
    for old, new in zip(segments, load_prepared(tmp_path / "out", PreparedConfig()).split("train"), strict=True):
        before, after = read_segment(old, modalities).arrays, read_segment(new, modalities).arrays
        np.testing.assert_allclose(after["imu"], before["imu"], atol=1e-3, err_msg=old.name)
        assert new.sources["imu"].size < path.stat().st_size / 4  # type: ignore[union-attr]


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_features_at_a_rate_are_cut_where_they_lie(tmp_path: Path, suffix: str) -> None:
    """Without a rate their file was copied whole, and read from the recording's begin wherever the segment lay."""
    values = np.random.default_rng(1).normal(size=(80, 3)).astype(np.float32)
    path = tmp_path / f"slow{suffix}"
    np.save(path, values) if suffix == ".npy" else np.savez(path, features=values)
    segments = tuple(Segment(f"{start}", "p", start, start + 2.0, {"verb": 0}, {"slow_features": path}) for start in (0.0, 7.3, 18.0))
    manifest = Manifest("features", LabelSpace({"verb": ("walk",)}), {"train": segments})
    modalities = make_modalities({"slow_features": {"width": 3, "tokens": 4, "rate_hz": 4.0}})
    blind = tmp_path / "blind"
    assert not prepare(manifest, str(blind), PrepareConfig(margin_seconds=0.5), workers=1).failures
    refused = read_segment(load_prepared(blind, PreparedConfig()).split("train")[1], modalities)
    assert not refused.arrays and "slow_features" in refused.failures["slow_features"]
    assert "prepare again with --set rates_hz" in refused.failures["slow_features"]
    rated = PrepareConfig(margin_seconds=0.5, rates_hz={"slow_features": 4.0})
    assert not prepare(manifest, str(tmp_path / "out"), rated, workers=1).failures
    for old, new in zip(segments, load_prepared(tmp_path / "out", PreparedConfig()).split("train"), strict=True):
        before, after = read_segment(old, modalities).arrays, read_segment(new, modalities).arrays
        np.testing.assert_allclose(after["slow_features"], before["slow_features"], atol=2e-3, err_msg=old.name)
        assert new.sources["slow_features"].size < 2000  # type: ignore[union-attr]
    with pytest.raises(KarmmaError, match="rates_hz.slow_features: Input should be greater than 0, not 0"):
        build(PrepareConfig, {"rates_hz": {"slow_features": 0}}, "--set")
    scipy.io.savemat(tmp_path / "trial.mat", {"d_skel": np.ones((20, 3, 7))})
    with pytest.raises(MediaError, match=r"trial.mat: a rate \(rates_hz.skeleton\) is for .npy and .npz"):
        cut_file("skeleton", tmp_path / "trial.mat", 0.0, 1.0, rate_hz=30.0)


def test_films_of_depth_are_cut_without_loss(tmp_path: Path) -> None:
    _, pictures = bodies()
    film = write_film(tmp_path / "depth.mkv", pictures)
    cut = cut_file("depth", film, 3.0, 6.0)
    assert cut is not None and cut[1] == "depth.mkv" and cut == cut_file("depth", film, 3.0, 6.0)
    (tmp_path / "cut.mkv").write_bytes(cut[0])
    depth = make_modalities({"depth": SENSORS["depth"]})["depth"]
    before, after = depth.read(film, 3.2, 5.7), depth.read(tmp_path / "cut.mkv", 0.2, 2.7)
    assert before is not None and after is not None and np.array_equal(before, after)
    (tmp_path / "broken.mkv").write_bytes(cut[0][:300])
    with pytest.raises(MediaError, match="broken.mkv"):
        cut_depth_film(tmp_path / "broken.mkv", 0.0, 1.0)


def test_arrays_without_a_clock_and_other_files_are_taken_whole(tmp_path: Path, clock_video: Path) -> None:
    scipy.io.savemat(tmp_path / "trial.mat", {"d_skel": np.ones((20, 3, 7))})
    np.savez(tmp_path / "timeless.npz", skeleton=np.ones((7, 20, 3)))
    for path, suffix in ((tmp_path / "trial.mat", "skeleton.mat"), (tmp_path / "timeless.npz", "skeleton.npz")):
        assert cut_file("skeleton", path, 3.0, 6.0) == (path.read_bytes(), suffix)
    assert cut_file("skeleton", tmp_path / "nowhere.npz", 0.0, 1.0) is None
    (tmp_path / "broken.npz").write_bytes(b"PK\3\4")
    for name, path, words in (("skeleton", tmp_path / "broken.npz", "unreadable"), ("depth", clock_video, "not 16-bit grey")):
        with pytest.raises(MediaError, match=words):
            cut_file(name, path, 0.0, 1.0)
