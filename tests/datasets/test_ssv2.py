"""Something-Something V2 and EPIC-SOUNDS: official files, partial downloads."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from karmma.datasets.epic_sounds import EpicSoundsConfig, load_epic_sounds
from karmma.datasets.ssv2 import Ssv2Config, load_ssv2
from karmma.types import KarmmaError


def write_ssv2(root: Path, videos: list[str]) -> Path:
    labels = {"Putting something on a surface": "1", "Moving something up": "0"}
    rows = [{"id": "1", "template": "Putting [something] on a surface", "label": "putting cup on a surface"},
            {"id": "2", "template": "Moving [something] up", "label": "moving pen up"}]  # fmt: skip
    for name, content in (("labels", labels), ("train", rows), ("validation", rows[:1])):
        path = root / "labels" / f"something-something-v2-{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
    (root / "videos").mkdir(exist_ok=True)
    for name in videos:
        (root / "videos" / f"{name}.webm").touch()
    return root


def test_videos_that_are_there(tmp_path: Path) -> None:
    manifest = load_ssv2(write_ssv2(tmp_path, ["1"]), Ssv2Config())
    assert manifest.labels.names == {"action": ("Moving something up", "Putting something on a surface")}
    assert manifest.provenance["videos_missing"] == {"train": 1, "validation": 0}
    only = manifest.split("train")[0]
    assert only.labels == {"action": 1} and only.stop_seconds == math.inf
    assert only.sources["detections"] == tmp_path / "boxes" / "1.csv"


def test_bad_annotations_are_named(tmp_path: Path) -> None:
    with pytest.raises(KarmmaError, match=r"no \.webm file"):
        load_ssv2(write_ssv2(tmp_path, []), Ssv2Config())
    write_ssv2(tmp_path, ["1"])
    (tmp_path / "labels" / "something-something-v2-train.json").write_text('[{"id": "1", "template": "Flying"}]')
    with pytest.raises(KarmmaError, match=r"train\.json: entry 0 \(video 1\): unknown class 'Flying'"):
        load_ssv2(tmp_path, Ssv2Config())
    (tmp_path / "labels" / "something-something-v2-labels.json").write_text('{"a": "0", "b": "2"}')
    with pytest.raises(KarmmaError, match="classes are not numbered 0 to 1"):
        load_ssv2(tmp_path, Ssv2Config())


def test_sounds_of_the_videos_that_are_there(tmp_path: Path) -> None:
    header = ("annotation_id,participant_id,video_id,start_timestamp,stop_timestamp,start_sample,stop_sample,"
              "description,class,class_id\n")  # fmt: skip
    rows = "P01_01_0,P01,P01_01,00:00:02.466,00:00:05.315,59184,127560,paper,rustle,4\n"
    (tmp_path / "annotations").mkdir()
    for split in ("train", "validation"):
        (tmp_path / "annotations" / f"EPIC_Sounds_{split}.csv").write_text(header + rows)
    wav = tmp_path / "audio" / "P01_01.wav"
    wav.parent.mkdir()
    wav.touch()
    manifest = load_epic_sounds(tmp_path, EpicSoundsConfig())
    event = manifest.split("train")[0]
    assert event.sources == {"audio": wav} and event.labels == {"sound": 4} and event.start_seconds == 2.466
    assert manifest.labels.names["sound"][4] == "rustle" and len(manifest.labels.names["sound"]) == 44
    (tmp_path / "annotations" / "EPIC_Sounds_train.csv").write_text(header + rows.replace(",4\n", ",44\n"))
    with pytest.raises(KarmmaError, match=r"train\.csv: line 2: class_id '44'"):
        load_epic_sounds(tmp_path, EpicSoundsConfig())
