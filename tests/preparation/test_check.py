"""What `karmma check` finds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from karmma.data.manifest import Manifest, Segment
from karmma.datasets.kitchen.manifest import load_kitchen
from karmma.media.inspection import inspect_file
from karmma.media.tables import AXES
from karmma.media.write import VideoWriter
from karmma.preparation.check import check_manifest
from karmma.types import LabelSpace

from ..experiment.test_run import run_cli

CLIPS = Path(__file__).resolve().parents[3] / "shared" / "data" / "clips"


def test_films_and_arrays_of_depth(tmp_path: Path, clock_video: Path) -> None:
    np.savez(tmp_path / "depth.npz", depth_metres=np.ones((4, 6, 8)), seconds=np.arange(4.0))
    report = inspect_file(tmp_path / "depth.npz", ("depth",))
    assert not report.errors and report.facts == {"samples": 4, "shape": [6, 8], "seconds": 3.0}
    lost = np.ones((4, 20))
    lost[2:, 7] = np.nan
    np.savez(tmp_path / "slow.npz", features=lost, seconds=np.arange(4.0))
    (words,) = inspect_file(tmp_path / "slow.npz", ("slow_features",)).errors
    assert words == "2 of 4 samples hold no numbers; first at 2.000 s"
    assert "depth has to be 16-bit grey (millimetres), not yuv420p" in inspect_file(clock_video, ("depth",)).errors


def test_depth_in_another_unit_or_shape_is_told(tmp_path: Path) -> None:
    depths = np.full((12, 20, 30), 1500.0)
    np.savez(tmp_path / "unit.npz", depth_metres=depths, seconds=np.arange(12) / 10)
    np.savez(tmp_path / "shape.npz", depth_metres=depths[..., None] / 1000, seconds=np.arange(12) / 10)
    rows = [Segment(name, "", 0, 1.0, {"action": 0}, {"depth": tmp_path / f"{name}.npz"}) for name in ("unit", "shape")]
    result = check_manifest(Manifest("m", LabelSpace({"action": ("a",)}), {"train": tuple(rows)}), workers=1)
    assert [(report.path.stem, report.errors, report.warnings) for report in result.files] == [
        ("shape", ["depth has shape (12, 20, 30, 1), expected time, height and width"], []),
        ("unit", [], ["the median depth is 1500 m: in another unit?"]),
    ]


def test_a_sound_file_has_facts_and_nothing_else(clock_video: Path) -> None:
    report = inspect_file(clock_video, ("rgb", "audio"))
    assert not report.errors and not report.warnings
    assert report.facts["frames_hz"] == 10 and report.facts["seconds"] == pytest.approx(4, abs=0.1)
    assert report.facts["audio_peak"] == pytest.approx(0.5, abs=0.05)


def test_silence_absence_and_breakage_are_told_apart(mute_video: Path, clock_video: Path, tmp_path: Path) -> None:
    assert inspect_file(mute_video, ("rgb", "audio")).warnings == ["no audio track"]
    silent = tmp_path / "silent.mp4"
    with VideoWriter(silent, 64, 48, 10.0, 16000) as writer:
        for index in range(20):
            writer.write_frame(np.full((48, 64, 3), 10 * index, np.uint8))
        writer.write_audio(np.zeros(32000, np.float32))
    assert inspect_file(silent, ("rgb", "audio")).warnings == ["the audio track is silent"]
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "garbage.mp4").write_bytes(b"\x00garbage" * 300)
    for name in ("empty", "garbage"):
        report = inspect_file(tmp_path / f"{name}.mp4", ("rgb",))
        assert len(report.errors) == 1 and not report.warnings


def test_tables_are_looked_at(tmp_path: Path) -> None:
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("seconds,label,left,top,right,bottom,score\n0,object,0.1,0.1,0.2,0.2,1\n0.5,object,0.4,0.1,1.4,0.2,1\n")
    assert inspect_file(boxes, ("detections",)).warnings == ["1 boxes outside the picture or empty; first at 0.500 s"]
    imu = tmp_path / "imu.csv"
    header = f"seconds,{','.join(AXES)}\n"
    imu.write_text(header + "".join(f"{i / 10},5.0,{i},{i},{i},{i},{'' if i == 7 else i}\n" for i in range(20)))
    report = inspect_file(imu, ("imu",))
    assert report.warnings == ["column 'accel_x' never changes"]
    assert report.errors == ["column 'gyro_z' is not a number at 0.700 s"]
    imu.write_text(header + "".join(f"{i * 20},0,0,9.8,{i},0,0\n" for i in range(20)))
    assert "a sample every 20 s: are its seconds milliseconds?" in inspect_file(imu, ("imu",)).warnings
    imu.write_text("seconds,accel_x\n0,1\n")
    assert "no column 'accel_y'; found: seconds, accel_x" in inspect_file(imu, ("imu",)).errors[0]
    imu.write_text(header + "0,1,1,1,1,1,1\n2,1,1,1,1,1,1\n1,1,1,1,1,1,1\n")
    assert "line 4: seconds go backwards" in inspect_file(imu, ("imu",)).errors[0]
    imu.write_text(header + "".join(f"0.5,{i},1,1,1,1,1\n" for i in range(5)))
    assert inspect_file(imu, ("imu",)).errors == ["all rows are at 0.500 s"]
    np.savez(tmp_path / "s.npz", skeleton=np.full((3, 20, 3), np.nan))
    assert "not finite" in inspect_file(tmp_path / "s.npz", ("skeleton",)).errors[0]


def test_segments_beyond_the_end_are_named(clock_video: Path, tmp_path: Path) -> None:
    sources = {"rgb": clock_video, "audio": clock_video}
    rows = (Segment("good", "", 0, 4.0, {"action": 0}, sources), Segment("late", "", 3.0, 40.0, {"action": 0}, sources),
            Segment("gone", "", 0, 1, {"action": 0}, {"rgb": tmp_path / "none.mp4"}))  # fmt: skip
    result = check_manifest(Manifest("m", LabelSpace({"action": ("a",)}), {"train": rows}), workers=1)
    assert [(name, "beyond the end" in words) for name, _, words in result.segments] == [("late", True)]
    assert [report.errors for report in result.files if report.errors] == [["no such file"]] and result.errors == 2


def test_the_command_writes_files_and_tells_by_its_exit_code(kitchen_root: Path, tmp_path: Path) -> None:
    assert check_manifest(load_kitchen(kitchen_root), workers=1).errors == 0
    root = tmp_path / ("a folder with a name so long that no table could hold a path within it" * 2)
    root.mkdir()
    (root / "clips.csv").write_text("path,action\nbad.mp4,x\n")
    (root / "bad.mp4").write_bytes(b"nothing")
    done = run_cli("check", root, "--workers", 1, "--json", tmp_path / "out.json", "--csv", tmp_path / "out.csv")
    assert done.returncode == 3 and f"error: {root / 'bad.mp4'}: " in done.stdout
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["errors"] == 1 and content["files"][0]["path"].endswith("bad.mp4")
    assert (tmp_path / "out.csv").read_text().count("\n") == 2
    assert run_cli("check", tmp_path / "nowhere").returncode == 2


@pytest.mark.skipif(not CLIPS.is_dir(), reason="real media files are not beside the checkout")
def test_real_files() -> None:
    reports = {path.name: inspect_file(path, ("rgb", "audio")) for path in CLIPS.iterdir()}
    assert reports["corrupted.mp4"].errors and not reports["flipping_a_pancake.mkv"].errors
    assert any("rotated" in words for words in reports["rotated_90.mov"].warnings)
    assert "no audio track" in reports["no_audio.mp4"].warnings
    assert reports["mpeg4_mp3.avi"].facts["audio_codec"].startswith("mp3")
