"""`karmma check` tells of IMUs that are out of step with their films, and a column puts them right."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from karmma.data.reading import read_segment
from karmma.datasets import KitchenConfig, simulate
from karmma.datasets.folder import FolderConfig, load_folder
from karmma.datasets.prepared import PreparedConfig, load_prepared
from karmma.media.clocks import ClockOffset
from karmma.media.video import read_frames
from karmma.modalities import make_modalities
from karmma.preparation.check import check_manifest
from karmma.preparation.clock_check import ClockPair, words_of
from karmma.preparation.prepare import prepare
from karmma.preparation.segments import PrepareConfig
from karmma.types import KarmmaError

RECORDING = "P01/P01_01"


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a minute of somebody who looks about; less is hardly enough to be sure."""
    knobs = KitchenConfig(seed=5, participants={"train": 1}, recording_seconds=32, width=96, height=72, frames_hz=12)
    return simulate(tmp_path_factory.mktemp("clocks") / "kitchen", knobs, workers=1)


@pytest.fixture
def shifted(kitchen: Path, tmp_path: Path) -> Path:
    """A head's film and its IMU, whose clock is 1.3 s ahead."""
    (tmp_path / "film.mp4").write_bytes((kitchen / f"videos/{RECORDING}.MP4").read_bytes())
    with (kitchen / f"imu/{RECORDING}.csv").open() as file:
        header, *rows = list(csv.reader(file))
    lines = [",".join([f"{float(row[0]) + 1.3:.3f}", *row[1:]]) for row in rows]
    (tmp_path / "imu.csv").write_text("\n".join([",".join(header), *lines]))
    return tmp_path


def write(root: Path, offset: str) -> Path:
    rows = [f"film.mp4,{start},{start + 2},train,walk,imu.csv,{offset}" for start in (2, 6, 10)]
    (root / "clips.csv").write_text("\n".join(["path,start_seconds,stop_seconds,split,action,imu_path,imu_offset_seconds", *rows]))
    return root


def warnings_of(root: Path) -> list[str]:
    (report,) = [file for file in check_manifest(load_folder(root, FolderConfig()), 1).files if file.path.suffix == ".csv"]
    assert report.facts["ahead_seconds"] == pytest.approx(1.3, abs=0.05) and not report.errors
    return report.warnings


def test_a_clock_that_is_ahead_is_told_until_the_table_of_clips_says_so(shifted: Path) -> None:
    (words,) = warnings_of(write(shifted, ""))
    assert words.startswith("its clock is 1.3") and "ahead of film.mp4's: both see the same turns then" in words
    assert "imu_offset_seconds 1.3" in words
    assert warnings_of(write(shifted, "1.3")) == []
    for wrong in ("0.4", "20"):
        (words,) = warnings_of(write(shifted, wrong))
        assert words.startswith("its clock is 1.3") and f"(the data set says {float(wrong):.2f})" in words


def test_a_table_of_several_films_is_told_of_beside_each(shifted: Path) -> None:
    (shifted / "again.mp4").write_bytes((shifted / "film.mp4").read_bytes())
    rows = [f"{film}.mp4,2,4,train,walk,imu.csv,{offset}" for film, offset in (("film", "1.3"), ("again", ""))]
    (shifted / "clips.csv").write_text("\n".join(["path,start_seconds,stop_seconds,split,action,imu_path,imu_offset_seconds", *rows]))
    (report,) = [file for file in check_manifest(load_folder(shifted, FolderConfig()), 1).files if file.path.suffix == ".csv"]
    first, second = report.facts["ahead_seconds_by_film"].split("; ")
    assert first.startswith("film.mp4 1.3") and second.startswith("again.mp4 1.3") and "ahead_seconds" not in report.facts
    assert len(report.warnings) == 1 and "ahead of again.mp4's" in report.warnings[0]


def test_a_table_beside_numbered_pictures_is_looked_at_too(shifted: Path) -> None:
    (shifted / "cut").mkdir()
    for number, picture in enumerate(read_frames(shifted / "film.mp4", [index / 12 for index in range(380)], 96, 72)):
        cv2.imwrite(str(shifted / "cut" / f"{number:05d}.png"), picture[..., ::-1])
    header = "path,pictures_hz,start_seconds,stop_seconds,split,action,imu_path"
    (shifted / "clips.csv").write_text(f"{header}\ncut,12,2,4,train,walk,imu.csv\n")
    (report,) = [file for file in check_manifest(load_folder(shifted, FolderConfig()), 1).files if file.path.suffix == ".csv"]
    assert report.facts["ahead_seconds"] == pytest.approx(1.3, abs=0.05)
    assert len(report.warnings) == 1 and "ahead of cut's: both see the same turns then" in report.warnings[0]


def test_clips_are_read_by_the_films_clock_from_files_and_from_shards(shifted: Path, kitchen: Path, tmp_path: Path) -> None:
    manifest, modalities = load_folder(write(shifted, "1.3"), FolderConfig()), make_modalities({"imu": {}})
    assert manifest.labels.heads == ("action",)
    prepare(manifest, str(tmp_path / "out"), PrepareConfig(), workers=1)
    prepared = load_prepared(tmp_path / "out", PreparedConfig()).split("train")
    for segment, shard in zip(manifest.split("train"), prepared, strict=True):
        original = modalities["imu"].read(kitchen / f"imu/{RECORDING}.csv", segment.start_seconds, segment.stop_seconds)
        assert original is not None
        for found in (read_segment(segment, modalities), read_segment(shard, modalities)):
            np.testing.assert_allclose(found.arrays["imu"], original, atol=2e-3)


def test_offsets_that_mean_nothing_are_refused(shifted: Path) -> None:
    with pytest.raises(KarmmaError, match="line 2: imu_offset_seconds 'late' is no number"):
        load_folder(write(shifted, "late"), FolderConfig())
    with pytest.raises(KarmmaError, match="line 2: an offset is no finite number"):
        load_folder(write(shifted, "inf"), FolderConfig())
    (shifted / "clips.csv").write_text("path,action,imu_offset_seconds\nfilm.mp4,walk,1\n")
    with pytest.raises(KarmmaError, match="column imu_offset_seconds needs a column imu_path"):
        load_folder(shifted, FolderConfig())


def test_a_clock_that_runs_off_is_told(tmp_path: Path) -> None:
    pair, sure = ClockPair(tmp_path / "film.mp4", tmp_path / "imu.csv", 0.0), ClockOffset(0.02, 0.8, 0.3, 60.0)
    assert words_of(pair, sure, ClockOffset(0.05, 0.8, 0.3, 60.0)) == []
    (words,) = words_of(pair, sure, ClockOffset(-0.4, 0.8, 0.3, 60.0))
    assert words == "its clock runs off: from the begin to the end of film.mp4 by -0.42 s"
    assert words_of(pair, sure, ClockOffset(-0.4, 0.8, 0.7, 60.0)) == []  # it may be elsewhere as well
    assert "its clock is 2.00 s behind film.mp4's" in words_of(pair, ClockOffset(-2.0, 0.8, 0.3, 60.0), None)[0]
