"""EPIC-100: layouts, partial downloads, splits; the official files where they lie beside the checkout."""

from __future__ import annotations

import re
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from karmma.data.manifest import Segment, source_path
from karmma.data.reading import doubt_sources, read_segment
from karmma.datasets.annotations import read_rulstm
from karmma.datasets.epic import EpicConfig, load_epic, published_extraction, read_video_info
from karmma.files import rows_of
from karmma.media.pictures import PictureSequence
from karmma.modalities import make_modalities
from karmma.modalities.base import sample_seconds
from karmma.preparation.check import check_manifest
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
    nested, flat = place(root, "P01/videos/P01_0.MP4"), place(root, "P02_1.mp4")
    sound_only = place(root, "audio/P01_7.wav")
    wav, hands = place(root, "P02/audio/P02_1.wav"), place(root, "hands/P02_1.npz")
    manifest = load_epic(root, EpicConfig())
    assert {segment.name: segment.sources for segment in manifest.split("train")} == {
        "P01_0_0": {"rgb": nested, "flow": nested, "audio": nested}, "P01_7_0": {"audio": sound_only},
    }  # fmt: skip
    assert manifest.split("validation")[1].sources == {"rgb": flat, "flow": flat, "audio": wav, "hands": hands}
    assert manifest.provenance == {
        "videos": 3, "videos_by_modality": {"rgb": 2, "flow": 2, "audio": 3, "hands": 1}, "videos_missing": 39,
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


def write_pictures(root: Path, kind: str, count: int, *, video: str = "P01_0", as_tar: bool) -> None:
    """Pictures whose grey level is their number, from 1 to 127, as a folder or tar, of flow with folders u and v."""
    for part in ("u", "v") if kind == "flow" else ("",):
        folder = root / "P01" / f"{kind}_frames" / video / part
        folder.mkdir(parents=True)
        for number in range(1, count + 1):
            level = number if kind == "rgb" else 127 + number * (part == "u")
            cv2.imwrite(str(folder / f"frame_{number:010d}.png"), np.full((24, 32), level, np.uint8))
            (folder / f"._frame_{number:010d}.png").write_bytes(b"what a Mac leaves")
    if as_tar:
        folder = root / "P01" / f"{kind}_frames" / video
        with tarfile.open(folder.with_suffix(".tar"), "w") as archive:
            archive.add(folder, arcname=".")
        shutil.rmtree(folder)


def add_train_row(official: Path, row: str) -> None:
    with (official / "EPIC_100_train.csv").open("a") as file:
        file.write(row + "\n")


@dataclass(frozen=True)
class Cut:
    """How the pictures of a video were made, in the test's own words."""

    video: str
    settings: EpicConfig
    rgb_hz: float
    flow_hz: float
    pixels_per_second: float  # of one grey level of flow, in the stored picture


CUTS = {
    "EPIC-55": Cut("P01_0", EpicConfig(), 60.0, 30.0, 25 / 127.5 / (3 / 60)),
    "extension": Cut("P01_101", EpicConfig(), 50.0, 50.0, 8 / 127.5 / (1 / 50)),
    "own": Cut("P01_0", EpicConfig(pictures="own", flow_stride=2), 20.0, 10.0, 20 / 127.5 * 15),
}


@pytest.mark.parametrize("as_tar", [False, True])
@pytest.mark.parametrize("cut", list(CUTS.values()), ids=list(CUTS))
def test_pictures_are_read_at_the_rate_they_were_cut_at(official: Path, cut: Cut, as_tar: bool) -> None:
    root = official.parent
    (official / "EPIC_100_video_info.csv").write_text(f"video_id,duration,fps,resolution\n{cut.video},4,20,32x24\n")
    if cut.video == "P01_101":
        add_train_row(official, "P01_101_0,P01,P01_101,00:00:01.00,00:00:02.50,0,0")
    write_pictures(root, "rgb", 127, video=cut.video, as_tar=as_tar)
    write_pictures(root, "flow", 127, video=cut.video, as_tar=as_tar)
    (segment,) = (one for one in load_epic(root, cut.settings).split("train") if one.name == f"{cut.video}_0")  # 1.0 to 2.5 s
    modalities = make_modalities({"rgb": {"frames": 3, "height": 24, "width": 32, "margin": 0.0},
                                  "flow": {"frames": 3, "height": 24, "width": 64, "margin": 0.0, "bound_pixels": 40.0},
                                  "audio": {}})  # fmt: skip
    reading = read_segment(segment, modalities)
    assert set(reading.arrays) == {"rgb", "flow"} and not reading.failures
    moments = np.array(sample_seconds(1.0, 2.5, 6))
    assert reading.arrays["rgb"][:, 0, 0, 0].tolist() == [min(int(cut.rgb_hz * t) + 1, 127) for t in moments]
    # At twice the width the same motion is twice as many pixels; what is wanted is the motion within 1/15 s.
    horizontal = reading.arrays["flow"][:, 0, 0, 0].astype(float) * 40 / 127
    levels = np.array([min(int(cut.flow_hz * t) + 1, 127) for t in moments]) - 0.5
    assert horizontal == pytest.approx(np.clip(2 * levels * cut.pixels_per_second / 15, -40, 40), abs=0.2)


@needs_epic
def test_published_pictures_have_the_numbers_that_the_annotations_give(tmp_path: Path) -> None:
    """Of every segment of validation and test: numbers in the CSVs were reckoned by the authors from the same rates.

    By the videos' own rates a quarter of them is missed by ten pictures or more.
    """
    infos = read_video_info(REAL / "EPIC_100_video_info.csv")
    checked = missed = 0
    for name in ("EPIC_100_validation.csv", "EPIC_100_test_timestamps.csv"):
        for _, row in rows_of(REAL / name, ("video_id", "start_timestamp", "stop_timestamp", "start_frame", "stop_frame")):
            sequence = PictureSequence(tmp_path, published_extraction(row["video_id"]).frames_hz)
            for edge in ("start", "stop"):
                hours, minutes, seconds = map(float, row[f"{edge}_timestamp"].split(":"))
                moment = 3600 * hours + 60 * minutes + seconds
                number = sequence.number_at(moment)
                assert 0 <= number - int(row[f"{edge}_frame"]) <= 2, row  # theirs is the last one before, times are rounded
                by_video = PictureSequence(tmp_path, infos[row["video_id"]].frames_hz or 0.0).number_at(moment)
                missed += abs(by_video - int(row[f"{edge}_frame"])) >= 10
                checked += 1
    assert checked == 2 * (9668 + 13092) and round(100 * missed / checked) == 25


def test_pictures_of_unknown_rate_and_gaps_are_named(official: Path) -> None:
    root = official.parent
    write_pictures(root, "rgb", 127, as_tar=False)
    with pytest.raises(KarmmaError, match=r"video_info\.csv does not say how many frames per second P01_0 has"):
        load_epic(root, EpicConfig(pictures="own"))
    with pytest.raises(KarmmaError, match=r"'S01_7' is no video of EPIC-KITCHENS; their names are like P01_01"):
        published_extraction("S01_7")
    for path in (root / "P01" / "rgb_frames" / "P01_0").glob("frame_00000000[789]*.png"):
        path.unlink()
    segment = load_epic(root, EpicConfig()).split("train")[0]
    reading = read_segment(segment, make_modalities({"rgb": {"frames": 3}}))
    assert re.search(r"P01_0: picture [789]\d is missing", reading.failures["rgb"])
    (root / "P01" / "flow_frames").mkdir()
    (root / "P01" / "flow_frames" / "P01_0.tar").write_bytes(b"no tar at all" * 100)
    segment = load_epic(root, EpicConfig()).split("train")[0]
    assert "not a plain tar" in read_segment(segment, make_modalities({"flow": {}})).failures["flow"]


@pytest.mark.parametrize(("kind", "seconds"), [("rgb", "2.1"), ("flow", "4.2")])
def test_pictures_that_do_not_last_as_long_as_their_film_are_doubted(official: Path, kind: str, seconds: str) -> None:
    """As those of other rates, and those of two videos that the authors cut at another and replaced later."""
    write_pictures(official.parent, kind, 127, as_tar=kind == "flow")
    for length, doubted in ((float(seconds), False), (9.0, True)):
        (official / "EPIC_100_video_info.csv").write_text(f"video_id,duration,fps,resolution\nP01_0,{length},20,32x24\n")
        manifest = load_epic(official.parent, EpicConfig())
        words = doubt_sources(manifest.split("train"), make_modalities({kind: {}}))
        warnings = [words for report in check_manifest(manifest, workers=1).files for words in report.warnings]
        assert bool(words) == bool(warnings) == doubted
    assert f"a second last {seconds} s, their film 9.0 s: were they cut at another rate?" in warnings[0]
    assert words[kind] == [f"{source_path(manifest.split('train')[0].sources[kind])}: {warnings[0]}"]
    (official / "EPIC_100_video_info.csv").write_text("video_id,duration,fps,resolution\nP01_0,-1,20,32x24\n")
    with pytest.raises(KarmmaError, match=r"line 2: duration -1 is impossible"):
        load_epic(official.parent, EpicConfig())


def test_stored_clips_know_the_rate_of_their_pictures(tmp_path: Path) -> None:
    ids = {Segment("s", "", 0.0, 1.0, {}, {"rgb": PictureSequence(tmp_path, rate)}).fingerprint for rate in (59.94, 60.0)}
    assert len(ids) == 2


def test_a_modality_that_is_no_picture_cannot_be_read_from_pictures(tmp_path: Path) -> None:
    segment = Segment("s", "", 0.0, 1.0, {}, {"audio": PictureSequence(tmp_path, 10.0)})
    assert "audio cannot be read from pictures" in read_segment(segment, make_modalities({"audio": {}})).failures["audio"]
