"""The paper-size recipes on a handful of tiny videos in the sets' own layouts, every stage for two steps."""

from __future__ import annotations

import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from karmma.config import load_recipe
from karmma.experiment.run import run
from karmma.media.write import VideoWriter

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
COLUMNS = "narration_id,participant_id,video_id,start_timestamp,stop_timestamp,verb_class,noun_class"
SHRUNK = [
    f"{part}.recognizer.{key}={value}" for part in ("teacher", "student")
    for key, value in {
        "encoders.rgb.variant": "test", "encoders.rgb.weights": "null", "encoders.rgb.tokens": 6,
        "encoders.flow.variant": "test", "encoders.flow.weights": "null", "encoders.flow.tokens": 6,
        "dim": 16, "layers": 1, "heads": 2, "ffn_dim": 16, "head_dim": 16,
    }.items()
]  # fmt: skip
SHORT = [
    *(f"modalities.{name}.{key}={value}" for name in ("rgb", "flow") for key, value in (("frames", 4), ("height", 32), ("width", 32))),
    *(f"{stage}.{key}={value}" for stage in ("teacher.pretraining", "teacher.training", "student.training")
      for key, value in (("epochs", 1), ("batch_size", 2))),
    "teacher.token_views=1", "evaluation.sweep_draws=1", "evaluation.examples=1", "data.workers=1",
]  # fmt: skip
SOUND = [
    "teacher.recognizer.encoders.audio={kind: spectrogram, width: 8}",
    "student.recognizer.encoders.audio={kind: spectrogram_transformer, width: 32, depth: 1}",
]
MOTION = ["modalities.imu={}", *(f"{part}.recognizer.encoders.imu={{kind: sequence, width: 16}}" for part in ("teacher", "student"))]
HANDS = ["modalities.hands={layout: openxr}",
         *(f"{part}.recognizer.encoders.hands={{kind: hands, width: 16}}" for part in ("teacher", "student"))]
BOXES = [f"{part}.recognizer.encoders.detections={{kind: layout, width: 16}}" for part in ("teacher", "student")]


def write_video(path: Path, seconds: float, *, level: int = 60) -> None:
    with VideoWriter(path, 64, 48, 10.0, 16000) as writer:
        for index in range(round(10 * seconds)):
            writer.write_frame(np.full((48, 64, 3), level + 3 * index, np.uint8))
        writer.write_audio(np.sin(np.arange(round(16000 * seconds)) / level).astype(np.float32))


def write_epic(root: Path) -> None:
    """Thirty training videos would be many; two hold all the clips, one of them is held out by EPIC*."""
    folder = root / "annotations"
    folder.mkdir(parents=True)
    for head, count in (("verb", 97), ("noun", 300)):
        (folder / f"EPIC_100_{head}_classes.csv").write_text("id,key\n" + "".join(f"{i},{head}{i}\n" for i in range(count)))
        (folder / f"EPIC_100_tail_{head}s.csv").write_text(f"{head}\n5\n")
    (folder / "EPIC_100_unseen_participant_ids_validation.csv").write_text("participant_id\nP02\n")
    videos = ("P01_01", "P01_02")
    train = [f"{v}_{i},P01,{v},00:00:0{i}.00,00:00:0{i + 1}.50,{i},{2 * i}" for v in videos for i in range(2)]
    (folder / "EPIC_100_train.csv").write_text("\n".join([COLUMNS, *train]) + "\n")
    rows = [f"P02_01_{i},P02,P02_01,00:00:0{i}.00,00:00:0{i}.90,1,2" for i in range(3)]
    (folder / "EPIC_100_validation.csv").write_text("\n".join([COLUMNS, *rows]) + "\n")
    for number, (participant, video) in enumerate((("P01", "P01_01"), ("P01", "P01_02"), ("P02", "P02_01"))):
        write_video(root / participant / "videos" / f"{video}.MP4", 4.0, level=40 + 20 * number)


def write_ego4d(root: Path) -> None:
    """Two clips that train and one that validates, with sound; the imu of one video."""
    rows = {"train": [("a", 0), ("a", 1), ("b", 0), ("b", 1)], "val": [("c", 0), ("c", 1)]}
    (root / "annotations").mkdir(parents=True)
    taxonomy = {key: [f"{key}{index}" for index in range(count)] for key, count in (("verbs", 117), ("nouns", 521))}
    (root / "annotations" / "fho_lta_taxonomy.json").write_text(json.dumps(taxonomy))
    for split, actions in rows.items():
        clips = [{"clip_uid": clip, "video_uid": f"v{clip}", "action_idx": index, "action_clip_start_sec": float(index),
                  "action_clip_end_sec": index + 1.5, "clip_parent_start_sec": 30.0, "verb_label": index, "noun_label": 2 * index}
                 for clip, index in actions]  # fmt: skip
        (root / "annotations" / f"fho_lta_{split}.json").write_text(json.dumps({"clips": clips}))
    for number, clip in enumerate("abc"):
        write_video(root / "clips" / f"{clip}.mp4", 4.0, level=40 + 20 * number)
    lines = [f"{30 + t / 50:.3f},0,9.8,0,{np.sin(t / 9):.4f},0,0" for t in range(200)]
    (root / "imu_tables").mkdir()
    (root / "imu_tables" / "va.csv").write_text("\n".join(["seconds,accel_x,accel_y,accel_z,gyro_x,gyro_y,gyro_z", *lines]))


def write_h2o(root: Path) -> None:
    """Two takes that train and one that validates, each of two actions; the last one's hands were not converted."""
    header = "id path action_label start_act end_act start_frame end_frame"
    takes = {"train": ("subject1/h1/0", "subject2/k1/3"), "val": ("subject3/o2/1",)}
    (root / "label_split").mkdir(parents=True)
    for split, paths in takes.items():
        rows = [f"{2 * place + index} {path} {1 + index} {15 * index} {15 * index + 14} 0 29"
                for place, path in enumerate(paths) for index in range(2)]  # fmt: skip
        (root / "label_split" / f"action_{split}.txt").write_text("\n".join([header, *rows]) + "\n")
        for path in paths:
            (root / path / "cam4" / "rgb256").mkdir(parents=True)
            for frame in range(30):
                picture = np.roll(np.add.outer(np.arange(36), np.arange(64)).astype(np.uint8), 2 * frame, 1)
                cv2.imwrite(str(root / path / "cam4" / "rgb256" / f"{frame:06d}.jpg"), picture)
            (root / "hands").mkdir(exist_ok=True)
            hands = np.random.default_rng(len(path)).normal((0.1, 0.2, 0.4), 0.05, (30, 2, 21, 3)).astype(np.float32)
            if split == "train":
                np.savez(root / "hands" / f"{path.replace('/', '_')}.npz", hands=hands, seconds=np.arange(30) / 30)


def write_holoassist(root: Path) -> None:
    """Two sessions that train and one that validates, with sound; the hands of one."""
    sessions = {"train": ("z001", "z002"), "val": ("R003",)}
    (root / "labels").mkdir(parents=True)
    events = {name: [[0.0, 1.5, [7, 0]], [1.5, 3.5, [7, 1]]] for names in sessions.values() for name in names}
    for suffix, content in (("classes", events), ("label2idx", ["take-screw", "turn-knob", "open-lid"])):
        (root / "labels" / f"labels_20230724_2221_{suffix}.json").write_text(json.dumps({"fine_grained_action": content}))
    for split, names in sessions.items():
        (root / "labels" / f"{split}_0724.txt").write_text("\n".join(names))
        for name in names:
            write_video(root / name / "Export_py" / "Video_compress.mp4", 4.0)
    (root / "hands").mkdir()
    hands = np.random.default_rng(0).normal((0.1, -0.2, -0.4), 0.05, (120, 2, 26, 3)).astype(np.float32)
    np.savez(root / "hands" / "z001.npz", hands=hands, seconds=np.arange(120) / 30)


def write_ssv2(root: Path) -> None:
    labels = {f"Doing something {i}": str(i) for i in range(174)}
    rows = [{"id": str(i), "template": f"Doing [something] {i % 2}"} for i in range(6)]
    (root / "labels").mkdir(parents=True)
    for name, content in (("labels", labels), ("train", rows[:4]), ("validation", rows[4:])):
        (root / "labels" / f"{name}.json").write_text(json.dumps(content))
    (root / "boxes").mkdir()
    for row in rows:
        write_webm(root / "videos" / f"{row['id']}.webm", 12)
        lines = [f"{t / 12:.4f},{label},0.1,0.1,{0.3 + t / 100},0.5,1.0" for t in range(12) for label in ("hand", "object")]
        (root / "boxes" / f"{row['id']}.csv").write_text("\n".join(["seconds,label,left,top,right,bottom,score", *lines]) + "\n")


def write_webm(path: Path, frames: int) -> None:
    """VP9 without sound at 12 Hz, as Something-Something V2 comes."""
    path.parent.mkdir(exist_ok=True)
    with av.open(str(path), "w", format="webm") as container:
        stream = container.add_stream("libvpx-vp9", rate=12)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.options = {"cpu-used": "8", "deadline": "realtime"}
        for index in range(frames):
            picture = np.full((48, 64, 3), 40 + 10 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("name", "write", "extra", "modalities", "samples"),
    [
        ("karmma_epic100", write_epic, SOUND, "rgb+flow+audio", {"train": 4, "validation": 3}),
        ("karmma_epic100_star", write_epic, [*SOUND, "data.settings.star_share=0.5", "evaluation.split=test"], "rgb+flow+audio",
         {"train": 2, "validation": 2, "test": 3}),
        ("karmma_epic100", write_ego4d, [*SOUND, *MOTION, "data.dataset=ego4d"], "rgb+flow+audio+imu", {"train": 4, "validation": 2}),
        ("karmma_epic100", write_holoassist, [*SOUND, *HANDS, "data.dataset=holoassist"], "rgb+flow+audio",
         {"train": 4, "validation": 2}),
        ("karmma_h2o", write_h2o, [], "rgb+flow", {"train": 4, "validation": 2}),
        ("karmma_ssv2", write_ssv2, BOXES, "rgb+flow+detections", {"train": 4, "validation": 2}),
    ],
)  # fmt: skip
def test_every_stage_runs(name: str, write, extra: list[str], modalities: str, samples: dict[str, int], tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    write(tmp_path / "data")
    recipe = load_recipe(RECIPES / f"{name}.yaml", [*SHRUNK, *SHORT, *extra, f"data.root={tmp_path / 'data'}"])
    results = run(recipe, tmp_path / "out")
    assert results["samples"] == samples and results["unreadable"] == dict.fromkeys(results["unreadable"], 0)
    assert set(results["methods"]) == {"teacher", "baseline", "baseline_dropout", "karmma"}
    for method in results["methods"].values():
        assert method["subsets"][modalities]
    for split, present in results["available"].items():
        assert {number for sensor, number in present.items() if sensor not in ("imu", "hands")} == {samples[split]}
        assert "hands" not in present or present["hands"] == {"train": 4 if name == "karmma_h2o" else 2}.get(split, 0)
        assert present.get("imu", 0) == ({"train": 2}.get(split, 0) if "imu" in modalities else 0)
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000
