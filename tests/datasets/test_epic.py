"""EPIC-100: layouts, partial downloads, splits; the official files where they lie beside the checkout."""

from __future__ import annotations

import re
import shutil
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from karmma.data.manifest import Segment
from karmma.data.reading import read_segment
from karmma.datasets.annotations import read_rulstm
from karmma.datasets.epic import EpicConfig, load_epic
from karmma.media.pictures import PictureSequence
from karmma.modalities import make_modalities
from karmma.modalities.base import sample_seconds
from karmma.types import KarmmaError

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "epic100"
needs_epic = pytest.mark.skipif(not REAL.is_dir(), reason="EPIC-100's annotations do not lie beside this checkout")
COLUMNS = "narration_id,participant_id,video_id,start_timestamp,stop_timestamp,verb_class,noun_class"


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """Tiny CSVs in the official columns: 40 training videos of one clip each, two validation clips, a test clip."""
    folder = tmp_path / "annotations"
    folder.mkdir()
    for head, count in (("verb", 97), ("noun", 300)):
        rows = "".join(f"{index},{head}{index}\n" for index in range(count))
        (folder / f"EPIC_100_{head}_classes.csv").write_text("id,key\n" + rows)
        (folder / f"EPIC_100_tail_{head}s.csv").write_text(f"{head}\n5\n")
    train = [f"P01_{i}_0,P01,P01_{i},00:00:01.00,00:00:02.50,{i},{2 * i}" for i in range(40)]
    (folder / "EPIC_100_train.csv").write_text("\n".join([COLUMNS, *train]) + "\n")
    validation = [f"P02_1_{i},P02,P02_1,00:00:0{i}.0,00:00:0{i}.9,1,2" for i in range(2)]
    (folder / "EPIC_100_validation.csv").write_text("\n".join([COLUMNS, *validation]) + "\n")
    timestamps = "P03_1_0,P03,P03_1,00:00:01.0,00:00:02.0"
    (folder / "EPIC_100_test_timestamps.csv").write_text(COLUMNS.rsplit(",", 2)[0] + f"\n{timestamps}\n")
    (folder / "EPIC_100_unseen_participant_ids_validation.csv").write_text("participant_id\nP02\n")
    return folder


def place(root: Path, name: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_videos_are_found_in_any_layout_and_the_rest_is_counted(official: Path) -> None:
    root = official.parent
    nested, flat = place(root, "P01/videos/P01_0.MP4"), place(root, "P02_1.MP4")
    sound_only = place(root, "audio/P01_7.wav")
    wav = place(root, "P02/audio/P02_1.wav")
    manifest = load_epic(root, EpicConfig())
    assert {segment.name: segment.sources for segment in manifest.split("train")} == {
        "P01_0_0": {"rgb": nested, "flow": nested, "audio": nested}, "P01_7_0": {"audio": sound_only},
    }  # fmt: skip
    assert manifest.split("validation")[1].sources == {"rgb": flat, "flow": flat, "audio": wav}
    assert manifest.provenance == {
        "videos": 3, "videos_by_modality": {"rgb": 2, "flow": 2, "audio": 3}, "videos_missing": 39,
        "segments_without_video": {"train": 38, "validation": 0, "test": 1},
    }  # fmt: skip
    first = manifest.split("train")[0]
    assert (first.start_seconds, first.stop_seconds, first.labels) == (1.0, 2.5, {"verb": 0, "noun": 0})
    assert manifest.unseen == {"P02"} and manifest.tail["noun"] == {5}
    with pytest.raises(KarmmaError, match="split 'test' is empty"):
        manifest.split("test")


def test_epic_star_holds_out_whole_training_videos_and_tests_on_validation(official: Path) -> None:
    for index in range(40):
        place(official.parent, f"P01_{index}.MP4")
    place(official.parent, "P02_1.MP4")
    manifest = load_epic(official.parent, EpicConfig(split="star"))
    sizes = {name: len(segments) for name, segments in manifest.splits.items()}
    assert sizes["train"] + sizes["validation"] == 40 and 1 <= sizes["validation"] <= 10 and sizes["test"] == 2
    assert load_epic(official.parent, EpicConfig(split="star")).splits == manifest.splits


def test_the_test_split_has_no_labels(official: Path) -> None:
    place(official.parent, "P03_1.MP4")
    (segment,) = load_epic(official.parent, EpicConfig()).split("test")
    assert segment.labels == {} and segment.stop_seconds == 2.0


def test_no_video_at_all_is_an_error(official: Path) -> None:
    with pytest.raises(KarmmaError, match=r"none of 42 videos is there; looked for e.g. \{participant\}/videos"):
        load_epic(official.parent, EpicConfig())


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("a,P01_1,10,5,1,2,3", "line 2: last frame 5 does not lie after first frame 10"),
        ("a,P01_1,10,25,97,2,3", "line 2: verb '97' is not a class number below 97"),
        ("a,P01_1,10,25", "line 2: expected narration, video"),
        ("a,P01_1,x,25,1,2,3", "line 2: expected narration, video"),
    ],
)
def test_bad_rows_of_header_less_labels_are_named(tmp_path: Path, row: str, words: str) -> None:
    (tmp_path / "rulstm_training.csv").write_text(f"P01_1_0,P01_1,4,101,3,3,2413\n{row}\n")
    with pytest.raises(KarmmaError, match=words):
        read_rulstm(tmp_path / "rulstm_training.csv", 97, 300)


@needs_epic
def test_the_official_files_read_unchanged(tmp_path: Path) -> None:
    place(tmp_path, "P01/videos/P01_01.MP4")
    place(tmp_path, "P01/videos/P01_11.MP4")
    manifest = load_epic(tmp_path, EpicConfig(annotations=str(REAL), train_labels="rulstm"))
    assert manifest.labels.sizes == {"verb": 97, "noun": 300}
    assert len(manifest.split("train")) == 329 and len(manifest.split("validation")) == 148
    dropped = manifest.provenance["segments_without_video"]
    assert dropped == {"train": 67217 - 329, "validation": 9668 - 148, "test": 13092}
    assert manifest.split("validation")[0].stop_seconds == pytest.approx(1.89)
    assert manifest.split("train")[0].start_seconds == pytest.approx(4 / 30)
    assert manifest.unseen == {"P18", "P32"} and len(manifest.tail["verb"]) == 86


def write_pictures(root: Path, kind: str, count: int, *, as_tar: bool) -> None:
    """Pictures whose grey level is their number, as a folder (rgb) or tar of u and v folders (flow)."""
    for part in ("u", "v") if kind == "flow" else ("",):
        folder = root / "P01" / f"{kind}_frames" / "P01_0" / part
        folder.mkdir(parents=True)
        for number in range(1, count + 1):
            level = 2 * number if kind == "rgb" else 127 + number * (part == "u")
            cv2.imwrite(str(folder / f"frame_{number:010d}.png"), np.full((24, 32), level, np.uint8))
    if as_tar:
        folder = root / "P01" / f"{kind}_frames" / "P01_0"
        with tarfile.open(folder.with_suffix(".tar"), "w") as archive:
            archive.add(folder, arcname=".")
        shutil.rmtree(folder)


@pytest.mark.parametrize("as_tar", [False, True])
def test_pictures_are_read_by_seconds_at_the_videos_rate(official: Path, as_tar: bool) -> None:
    root = official.parent
    (official / "EPIC_100_video_info.csv").write_text("video_id,duration,fps,resolution\nP01_0,4,20,32x24\n")
    write_pictures(root, "rgb", 60, as_tar=as_tar)
    write_pictures(root, "flow", 30, as_tar=as_tar)
    segment = load_epic(root, EpicConfig()).split("train")[0]  # 1.0 to 2.5 s
    modalities = make_modalities({"rgb": {"frames": 3, "height": 24, "width": 32, "margin": 0.0},
                                  "flow": {"frames": 3, "height": 24, "width": 64, "margin": 0.0}, "audio": {}})  # fmt: skip
    reading = read_segment(segment, modalities)
    assert set(reading.arrays) == {"rgb", "flow"} and not reading.failures
    moments = np.array(sample_seconds(1.0, 2.5, 6))
    assert reading.arrays["rgb"][:, 0, 0, 0].tolist() == [2 * (int(20 * t) + 1) for t in moments]
    # At twice the width the same motion is twice as many pixels; a picture's grey reaches to ±20 pixels.
    horizontal = reading.arrays["flow"][:, 0, 0, 0].astype(float) * 10 / 127
    assert horizontal == pytest.approx([2 * (int(10 * t) + 1 - 0.5) * 20 / 127.5 for t in moments], abs=0.06)


def test_pictures_need_a_rate_and_gaps_are_named(official: Path) -> None:
    root = official.parent
    write_pictures(root, "rgb", 60, as_tar=False)
    with pytest.raises(KarmmaError, match=r"video_info\.csv does not say how many frames per second P01_0 has"):
        load_epic(root, EpicConfig())
    (official / "EPIC_100_video_info.csv").write_text("video_id,duration,fps,resolution\nP01_0,4,20,32x24\n")
    for path in (root / "P01" / "rgb_frames" / "P01_0").glob("frame_000000003*.png"):
        path.unlink()
    segment = load_epic(root, EpicConfig()).split("train")[0]
    reading = read_segment(segment, make_modalities({"rgb": {"frames": 3}}))
    assert re.search(r"P01_0: picture 3\d is missing", reading.failures["rgb"])
    (root / "P01" / "flow_frames").mkdir()
    (root / "P01" / "flow_frames" / "P01_0.tar").write_bytes(b"no tar at all" * 100)
    segment = load_epic(root, EpicConfig()).split("train")[0]
    assert "not a plain tar" in read_segment(segment, make_modalities({"flow": {}})).failures["flow"]


def test_a_modality_that_is_no_picture_cannot_be_read_from_pictures(tmp_path: Path) -> None:
    segment = Segment("s", "", 0.0, 1.0, {}, {"audio": PictureSequence(tmp_path, 10.0)})
    assert "audio cannot be read from pictures" in read_segment(segment, make_modalities({"audio": {}})).failures["audio"]
