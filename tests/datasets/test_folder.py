"""One's own data: a directory and a CSV."""

from __future__ import annotations

import math
import tarfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from karmma.data.reading import find_bounds, read_segment
from karmma.datasets import find_data_set
from karmma.datasets.folder import FolderConfig, dealt_split, load_folder
from karmma.datasets.prepared import PreparedConfig, load_prepared
from karmma.media.write import VideoWriter
from karmma.modalities import make_modalities
from karmma.preparation.check import check_manifest
from karmma.preparation.prepare import prepare
from karmma.preparation.segments import PrepareConfig
from karmma.types import KarmmaError


@pytest.fixture
def root(tmp_path: Path, clock_video: Path) -> Path:
    for name in ("a.mp4", "sub/b.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(clock_video.read_bytes())
    np.save(tmp_path / "a.npy", np.arange(40, dtype=np.float32).reshape(10, 4))
    return tmp_path


def write(root: Path, text: str) -> Path:
    (root / "clips.csv").write_text(text)
    return root


def test_rows_become_segments_with_what_they_have(root: Path) -> None:
    write(root, "path,start_seconds,stop_seconds,split,action,slow_features_path\n"
                "a.mp4,0.5,2,train,wave,a.npy\nsub/b.mp4,,,test,clap,\nlost.mp4,0,1,train,clap,\n")  # fmt: skip
    manifest = load_folder(root, FolderConfig())
    assert manifest.labels.names == {"action": ("clap", "wave")}
    assert manifest.provenance["rows_without_file"] == 1
    first, last = manifest.split("train")[0], manifest.split("test")[0]
    assert set(first.sources) == {"rgb", "flow", "audio", "slow_features"} and first.labels == {"action": 1}
    assert last.stop_seconds == math.inf and "slow_features" not in last.sources
    modalities = make_modalities({"rgb": {"frames": 2, "height": 16, "width": 16}, "audio": {},
                                  "slow_features": {"width": 4, "tokens": 2}})  # fmt: skip
    reading = read_segment(last, modalities)
    assert set(reading.arrays) == {"rgb", "audio"} and not reading.failures
    # The grey level tells the time: 20 + 50 a second, and the last quarter of four seconds was read.
    assert reading.arrays["rgb"][-1].mean() == pytest.approx(20 + 5 * 35, abs=3)
    assert read_segment(first, modalities).arrays["slow_features"].shape == (4, 4)


def test_files_are_dealt_into_splits_whole(root: Path) -> None:
    write(root, "path,start_seconds,stop_seconds,verb,noun\n" + "".join(f"a.mp4,{i},{i + 1},take,cup\n" for i in range(3)))
    manifest = load_folder(root, FolderConfig())
    assert list(manifest.splits) == [dealt_split("a.mp4")] and manifest.labels.heads == ("verb", "noun")
    shares = [dealt_split(f"{i}.mp4") for i in range(2000)]
    assert 0.17 < shares.count("test") / 2000 < 0.23 and 0.08 < shares.count("validation") / 2000 < 0.12


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,start_seconds,stop_seconds,action\na.mp4,2,1,x\n", "line 2: stop 1 s does not lie after start 2 s"),
        ("path,start_seconds,stop_seconds,action\na.mp4,x,1,x\n", "line 2: start_seconds 'x' is no number"),
        ("path,start_seconds,stop_seconds,action\na.mp4,0,1,\n", "line 2: action is 'empty'"),
        ("path,start_seconds,stop_seconds\na.mp4,0,1\n", "no column is a label set"),
        ("path,radar_path,action\na.mp4,r,x\n", "column radar_path: unknown modality 'radar'"),
        ("file,action\na.mp4,x\n", "neither a column 'path'"),
        ("path,action\nlost.mp4,x\n", "none of 1 rows names a file that is there"),
        ("path,action\n", "no rows"),
    ],
)
def test_bad_tables_are_named(root: Path, text: str, message: str) -> None:
    with pytest.raises(KarmmaError, match=message):
        load_folder(write(root, text), FolderConfig())


@pytest.mark.parametrize(("first", "packed"), [(1, False), (0, False), (117, True)])
def test_numbered_pictures_are_a_film_whose_first_one_is_at_second_0(root: Path, first: int, packed: bool) -> None:
    """A moving square: read from the film and from its frames, rgb and flow are the same but for the codec."""
    folder = root / "frames"
    folder.mkdir()
    random = np.random.default_rng(0)
    ground = np.asarray(cv2.GaussianBlur(random.integers(0, 255, (48, 200, 3)).astype(np.uint8), (0, 0), 2), np.uint8)
    with VideoWriter(root / "film.mp4", 64, 48, 10.0, crf=4) as writer:
        for index in range(40):
            picture = np.ascontiguousarray(ground[:, 2 * index : 2 * index + 64])
            writer.write_frame(picture)
            cv2.imwrite(str(folder / f"img_{first + index:05d}.png"), picture[..., ::-1])
    if packed:
        with tarfile.open(root / "frames.tar", "w") as archive:
            archive.add(folder, arcname=".")
    name = "frames.tar" if packed else "frames"
    write(root, f"path,pictures_hz,start_seconds,stop_seconds,split,action\n{name},10,,,train,wave\n{name},10,1.0,2.5,train,wave\n"
                "film.mp4,,,,train,wave\nfilm.mp4,,1.0,2.5,train,wave\n")  # fmt: skip
    segments = load_folder(root, FolderConfig()).split("train")
    assert set(segments[0].sources) == {"rgb", "flow"} and find_bounds(segments[0]) == (0.0, 4.0)
    modalities = make_modalities({"rgb": {"frames": 3, "height": 24, "width": 32}, "flow": {"frames": 3, "height": 24, "width": 32}})
    for pictures, film in zip(segments[:2], segments[2:], strict=True):
        one, other = read_segment(pictures, modalities), read_segment(film, modalities)
        assert not one.failures and set(one.arrays) == set(other.arrays) == {"rgb", "flow"}
        assert np.abs(one.arrays["rgb"].astype(float) - other.arrays["rgb"]).mean() < 4
        assert np.abs(one.arrays["flow"].astype(float) - other.arrays["flow"]).mean() < 3
        assert abs(one.arrays["flow"][..., 0].astype(float).mean()) > 5
    reports = {report.path.name: report for report in check_manifest(load_folder(root, FolderConfig()), 1).files}
    assert reports[name].facts["seconds"] == 4.0 and not reports[name].errors


def test_depth_may_be_numbered_pictures_beside_a_film(root: Path) -> None:
    """Sixteen bits in millimetres; the same as a film of them, in shards too."""
    for folder in ("depth", "colour"):
        (root / folder).mkdir()
    random, near = np.random.default_rng(0), np.zeros((40, 30, 40), np.uint16)
    for index, picture in enumerate(near):
        picture[5:25, 5 + index // 2 : 15 + index // 2] = 900 + random.integers(0, 50, (20, 10))
        cv2.imwrite(str(root / "depth" / f"{index:06d}.png"), picture)
        cv2.imwrite(str(root / "colour" / f"{index:06d}.png"), np.zeros((30, 40, 3), np.uint8))
    np.savez(root / "depth.npz", depth_metres=near * np.float32(0.001), seconds=np.arange(40) / 10)
    write(root, "path,depth_path,pictures_hz,start_seconds,stop_seconds,split,action\na.mp4,depth,10,0.5,2.0,train,wave\n"
                "a.mp4,depth.npz,,0.45,1.95,train,wave\n,depth,10,,,train,wave\na.mp4,colour,10,0.5,2.0,train,wave\n")  # fmt: skip
    manifest = load_folder(root, FolderConfig())
    segments = manifest.split("train")
    assert set(segments[0].sources) == {"rgb", "flow", "audio", "depth"} and find_bounds(segments[2]) == (0.0, 4.0)
    modalities = make_modalities({"depth": {"frames": 4, "size": 24}, "audio": {}})
    pictures, arrays = (read_segment(segment, modalities).arrays["depth"] for segment in segments[:2])
    assert np.abs(pictures.astype(int) - arrays).max() <= 2 and pictures.max() > 150  # nearest, half a period earlier
    refused = read_segment(segments[3], modalities)
    assert "pictures are uint8 (30, 40, 3), expected 16-bit grey" in refused.failures["depth"] and "audio" in refused.arrays
    out = root / "prepared"
    prepare(replace(manifest, splits={"train": segments[:1]}), str(out), PrepareConfig(), workers=1)
    again = read_segment(load_prepared(out, PreparedConfig()).split("train")[0], modalities)
    assert np.array_equal(again.arrays["depth"], pictures)


def test_pictures_without_a_rate_or_a_folder_without_pictures_are_named(root: Path) -> None:
    with pytest.raises(KarmmaError, match="line 2: sub is a folder of pictures; how many .* says a column pictures_hz"):
        load_folder(write(root, "path,action\nsub,wave\n"), FolderConfig())
    for rate in ("0", "inf", "-5", ""):
        with pytest.raises(KarmmaError, match="line 2: sub is a folder of pictures"):
            load_folder(write(root, f"path,pictures_hz,action\nsub,{rate},wave\n"), FolderConfig())
    with pytest.raises(KarmmaError, match=r"line 2: .*sub: no numbered pictures in it"):
        load_folder(write(root, "path,pictures_hz,action\nsub,25,wave\n"), FolderConfig())


def test_fixed_classes_and_settings(root: Path) -> None:
    write(root, "path,action,mood\na.mp4,wave,good\n")
    settings = find_data_set("folder").settings({"labels": ["action"], "classes": {"action": ["clap", "wave"]}}, "settings")
    assert load_folder(root, settings).labels.names == {"action": ("clap", "wave")}
    settings = find_data_set("folder").settings({"labels": ["action"], "classes": {"action": ["clap"]}}, "settings")
    with pytest.raises(KarmmaError, match="action is 'wave'; allowed: clap"):
        load_folder(root, settings)


def test_a_broken_video_without_a_stop_is_a_failure_of_its_row(root: Path) -> None:
    (root / "a.mp4").write_bytes(b"garbage")
    manifest = load_folder(write(root, "path,action,split\na.mp4,x,train\n"), FolderConfig())
    reading = read_segment(manifest.split("train")[0], make_modalities({"rgb": {}, "audio": {}}))
    assert not reading.arrays and "a.mp4" in reading.failures["rgb"]
