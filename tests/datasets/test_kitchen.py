"""The simulated kitchen: what it writes, that it is repeatable, and that its truth is true."""

from __future__ import annotations

import csv
import itertools
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from karmma.data.reading import read_segment
from karmma.datasets import DATASETS
from karmma.datasets.kitchen import KitchenConfig, simulate
from karmma.datasets.kitchen.fixtures import COUNTER_HEIGHT
from karmma.datasets.kitchen.generate import plan_recordings, random_for
from karmma.datasets.kitchen.head import GRAVITY, make_head, measure_imu
from karmma.datasets.kitchen.manifest import load_kitchen
from karmma.datasets.kitchen.motion import depth_and_flow
from karmma.datasets.kitchen.renderer import Frame, Renderer
from karmma.datasets.kitchen.scene import furnish
from karmma.datasets.kitchen.screenplay import play
from karmma.datasets.kitchen.sound import synthesise
from karmma.datasets.kitchen.stage import Sound
from karmma.datasets.kitchen.tracker import track_hands
from karmma.datasets.kitchen.tracks import Track
from karmma.datasets.kitchen.vocabulary import NOUNS, SOURCE_PAIRS, TARGET_PAIRS, VERBS
from karmma.media.audio import read_audio
from karmma.modalities import make_modalities
from karmma.trees import build
from karmma.types import KarmmaError

from ..conftest import TINY_KITCHEN

QUIET = replace(TINY_KITCHEN, motion_blur_level=0.0, grain_level=0.0)
EPIC = Path(__file__).resolve().parents[3] / "shared" / "data" / "epic100" / "EPIC_100_validation.csv"


def frames_of(config: KitchenConfig, seconds: np.ndarray, seed: int = 5) -> tuple[Renderer, list[Frame], object]:
    random = np.random.default_rng(seed)
    kitchen = furnish(random, config)
    stage, _ = play(kitchen, "train", config, random)
    head = make_head(stage, config, random)
    renderer = Renderer(kitchen.parts, kitchen.light, config, random)
    return renderer, list(renderer.film(head, seconds)), head


def test_vocabulary_is_large_long_tailed_and_split_without_overlap() -> None:
    assert len(VERBS) >= 12 and len(NOUNS) >= 16
    assert not set(SOURCE_PAIRS) & set(TARGET_PAIRS)
    for pairs in (SOURCE_PAIRS, TARGET_PAIRS):
        assert {pair.verb for pair in pairs} == set(VERBS)
    assert {pair.noun for pair in TARGET_PAIRS} == set(NOUNS) - {"cupboard", "sponge"}
    assert len(set(SOURCE_PAIRS) | set(TARGET_PAIRS)) < len(VERBS) * len(NOUNS) / 2
    weights = sorted((pair.weight for pair in TARGET_PAIRS), reverse=True)
    assert weights[0] > 10 * weights[-1]


def test_the_set_has_every_file_and_epics_columns(kitchen_root: Path) -> None:
    for plan in plan_recordings(TINY_KITCHEN):
        for folder, suffix in (("videos", "MP4"), ("boxes", "csv"), ("imu", "csv"), ("hands", "npz")):
            assert (kitchen_root / folder / plan.participant / f"{plan.video_id}.{suffix}").is_file()
    with (kitchen_root / "annotations" / "KITCHEN_train.csv").open() as file:
        columns = next(csv.reader(file))
    assert columns[:3] == ["narration_id", "participant_id", "video_id"] and len(columns) == 15
    if EPIC.exists():
        with EPIC.open() as file:
            assert columns == next(csv.reader(file))


def test_splits_share_no_participant_and_unseen_are_those_never_trained_on(kitchen_root: Path) -> None:
    manifest = load_kitchen(kitchen_root)
    people = {split: {segment.participant for segment in segments} for split, segments in manifest.splits.items()}
    everyone = [person for group in people.values() for person in group]
    assert len(everyone) == len(set(everyone)) == 5
    assert manifest.unseen == people["validation"] | people["test"]


def test_labels_lie_inside_the_recording_in_order(kitchen_root: Path) -> None:
    manifest = load_kitchen(kitchen_root)
    for segments in manifest.splits.values():
        assert segments
        for segment in segments:
            assert 0 <= segment.start_seconds < segment.stop_seconds <= TINY_KITCHEN.recording_seconds


def test_the_same_seed_gives_the_same_recording_and_another_seed_another(tmp_path: Path) -> None:
    small = replace(TINY_KITCHEN, participants={"train": 1})
    roots = [
        simulate(tmp_path / name, config, workers=1)
        for name, config in (("a", small), ("b", small), ("c", replace(small, seed=4)))
    ]
    contents = [
        [
            (root / name).read_bytes()
            for name in ("videos/P01/P01_01.MP4", "imu/P01/P01_01.csv", "hands/P01/P01_01.npz", "annotations/KITCHEN_train.csv")
        ]
        for root in roots
    ]
    assert contents[0] == contents[1]
    assert all(one != other for one, other in zip(contents[0], contents[2], strict=True))


def test_a_hand_tracker_changes_nothing_else_and_may_be_newer_than_the_set(tmp_path: Path) -> None:
    without = replace(TINY_KITCHEN, participants={"train": 1}, hands_hz=0.0)
    roots = [simulate(tmp_path / str(hz), replace(without, hands_hz=hz), workers=1) for hz in (0.0, 30.0)]
    for name in ("videos/P01/P01_01.MP4", "boxes/P01/P01_01.csv", "imu/P01/P01_01.csv", "annotations/KITCHEN_train.csv"):
        assert (roots[0] / name).read_bytes() == (roots[1] / name).read_bytes(), name
    assert not (roots[0] / "hands").exists() and "hands" not in load_kitchen(roots[0]).split("train")[0].sources
    note = roots[0] / "settings.json"
    note.write_text(json.dumps({key: value for key, value in json.loads(note.read_text()).items() if not key.startswith("hand_n")}))
    simulate(roots[0], without, workers=1)  # as of a set that was begun before the knob was there
    with pytest.raises(KarmmaError, match=r"hands_hz = 0.0, not 30.0"):
        simulate(roots[0], replace(without, hands_hz=30.0), workers=1)


def test_tracked_joints_lie_on_the_hands_in_the_picture() -> None:
    """Without noise, joints are where the camera sees that hand; those that things or the other hand hide are not."""
    config, random = replace(QUIET, hands_hz=5.0, hand_noise_level=0.0, hand_size=1.2), np.random.default_rng(5)
    kitchen = furnish(random, config)
    stage, _ = play(kitchen, "train", config, random)
    head = make_head(stage, config, random)
    renderer = Renderer(kitchen.parts, kitchen.light, config, random)
    tracked = track_hands(head, config, np.random.default_rng(0))
    hits, wrong, seen = 0, 0, 0
    frames = renderer.film(head, np.append(tracked["seconds"], config.recording_seconds))
    for hands, frame in zip(tracked["hands"], frames, strict=True):
        for side, joints in zip(("left", "right"), hands.astype(float), strict=True):
            owners = {index for index, name in enumerate(renderer.names) if name.startswith(f"{side}/")}
            other = {index for index, name in enumerate(renderer.names) if "/" in name} - owners
            right, up, back = joints.T
            columns = config.width / 2 + renderer.focal * right / -back
            rows = config.height / 2 - renderer.focal * up / -back
            for column, row in zip(columns, rows, strict=True):
                if not (np.isfinite(column) and 2 <= column < config.width - 2 and 2 <= row < config.height - 2):
                    continue
                around = frame.faces[int(row) - 1 : int(row) + 2, int(column) - 1 : int(column) + 2]
                parts = {int(renderer.part_of_face[face]) for face in around.ravel() if face >= 0}
                seen, hits, wrong = seen + 1, hits + bool(parts & owners), wrong + bool(parts & other and not parts & owners)
    assert seen > 300 and hits > 0.85 * seen and wrong < 0.08 * seen, (seen, hits, wrong)
    lost = track_hands(head, replace(config, hand_noise_level=1.0), np.random.default_rng(0))
    errors = np.linalg.norm(lost["hands"].astype(float) - tracked["hands"].astype(float), axis=-1)
    assert 0.004 < np.nanmedian(errors) < 0.03 and np.isnan(lost["hands"]).sum() > np.isnan(tracked["hands"]).sum()


def test_an_unfinished_set_goes_on_and_other_knobs_are_refused(tmp_path: Path) -> None:
    small = replace(TINY_KITCHEN, participants={"train": 2})
    simulate(tmp_path, small, workers=1)
    kept = tmp_path / "videos/P01/P01_01.MP4"
    before = kept.stat().st_mtime_ns
    (tmp_path / "labels/P02_01.csv").unlink()
    (tmp_path / "kitchen.json").unlink()
    with pytest.raises(KarmmaError, match="no finished simulated kitchen"):
        load_kitchen(tmp_path)
    simulate(tmp_path, small, workers=1)
    assert kept.stat().st_mtime_ns == before and load_kitchen(tmp_path).split("train")
    with pytest.raises(KarmmaError, match="clutter = 3, not 9"):
        simulate(tmp_path, replace(small, clutter=9), workers=1)


def test_true_flow_takes_one_frame_to_the_next() -> None:
    seconds = np.arange(60) / 15
    renderer, frames, _ = frames_of(QUIET, seconds)
    grid = np.stack(np.meshgrid(np.arange(QUIET.width), np.arange(QUIET.height)), -1).astype(np.float32)
    unmoved, warped = [], []
    for before, after in itertools.pairwise(frames):
        _, flow = depth_and_flow(before.faces, before.geometry, renderer.rays)
        target = grid + flow
        fetched = cv2.remap(after.rgb, target[..., 0], target[..., 1], cv2.INTER_LINEAR).astype(float)
        inside = (
            (target[..., 0] > 1)
            & (target[..., 0] < QUIET.width - 2)
            & (target[..., 1] > 1)
            & (target[..., 1] < QUIET.height - 2)
        )
        unmoved.append(np.abs(after.rgb.astype(float) - before.rgb)[inside].mean())
        warped.append(np.abs(fetched - before.rgb)[inside].mean())
    moving = np.array(unmoved) > 4
    assert moving.sum() > 10
    assert np.mean(np.array(warped)[moving]) < 0.4 * np.mean(np.array(unmoved)[moving])


def test_true_depth_of_the_counter_is_its_distance() -> None:
    renderer, frames, head = frames_of(QUIET, np.arange(20) / 10)
    names = renderer.names
    checked = 0
    for index, frame in enumerate(frames):
        depth, _ = depth_and_flow(frame.faces, frame.geometry, renderer.rays)
        position, axes = head.pose_at(np.array([index / 10]))  # type: ignore[attr-defined]
        rays = renderer.rays @ axes[0].T
        on_counter = (frame.faces >= 0) & (renderer.part_of_face[frame.faces] == names.index("counter"))
        expected = (COUNTER_HEIGHT - position[0, 1]) / rays[..., 1]
        np.testing.assert_allclose(depth[on_counter], expected[on_counter], rtol=1e-3)
        checked += int(on_counter.sum())
    assert checked > 1000


def test_the_imu_feels_gravity_and_its_rates_integrate_to_the_turn() -> None:
    config = replace(TINY_KITCHEN, imu_noise_level=0.0)
    _, _, head = frames_of(config, np.arange(2) / 10)
    rows = measure_imu(head, config, np.random.default_rng(0))  # type: ignore[arg-type]
    assert np.linalg.norm(rows[:, 1:4], axis=1).mean() == pytest.approx(GRAVITY, abs=0.6)
    first, last = 100, 150
    turn = np.eye(3)
    for rate in rows[first:last, 4:7] / config.imu_hz:
        turn = turn @ cv2.Rodrigues(rate)[0]
    _, axes = head.pose_at(rows[[first, last], 0])  # type: ignore[attr-defined]
    np.testing.assert_allclose(turn, axes[0].T @ axes[1], atol=0.03)


def test_noise_knobs_silence_the_room() -> None:
    config = replace(TINY_KITCHEN, room_noise_level=0, mains_hum_level=0, neighbours_level=0)
    assert np.abs(synthesise([], config, np.random.default_rng(0), 1.0)).max() == 0
    struck = synthesise([Sound("impact", 2.0, material="glass")], config, np.random.default_rng(0), 1.0)
    assert np.abs(struck[: 2 * 16000 - 10]).max() < 1e-9 < np.abs(struck[2 * 16000 :]).max()


def test_missing_sensors_are_absent_files_and_read_as_absent(tmp_path: Path) -> None:
    config = replace(TINY_KITCHEN, participants={"train": 1}, missing_sensor_rate=1.0)
    simulate(tmp_path, config, workers=1)
    video = tmp_path / "videos/P01/P01_01.MP4"
    assert read_audio(video, 0, 1, 16000) is None
    assert not (tmp_path / "boxes").exists() and not (tmp_path / "imu").exists()
    segment = load_kitchen(tmp_path).split("train")[0]
    reading = read_segment(segment, make_modalities({name: {} for name in ("rgb", "flow", "audio", "detections", "imu")}))
    assert set(reading.arrays) == {"rgb", "flow"} and reading.failures == {}


def test_boxes_stay_in_the_picture_and_show_hands(kitchen_root: Path) -> None:
    with (kitchen_root / "boxes/P02/P02_01.csv").open() as file:
        rows = list(csv.DictReader(file))
    labels = Counter(row["label"] for row in rows)
    assert set(labels) == {"left hand", "right hand", "object"} and labels["right hand"] + labels["left hand"] > 15
    for row in rows:
        assert (
            0 <= float(row["left"]) < float(row["right"]) <= 1.01 and 0 <= float(row["top"]) < float(row["bottom"]) <= 1.01
        )


def test_larger_hands_hide_more() -> None:
    def share_of_hands(size: float) -> float:
        renderer, frames, _ = frames_of(replace(QUIET, hand_size=size), np.arange(50) / 10)
        hands = np.array(["/" in name for name in renderer.names])[renderer.part_of_face]
        return float(np.mean([hands[frame.faces[frame.faces >= 0]].mean() for frame in frames]))

    assert share_of_hands(1.6) > 1.3 * share_of_hands(1.0) > 0


def test_knobs_are_checked() -> None:
    for tree, words in (
        ({"cluter": 3}, "did you mean clutter?"),
        ({"participants": {"dev": 1}}, "unknown split 'dev'"),
        ({"width": 97}, "even"),
        ({"hand_size": 0}, "0.2–3"),
        ({"recording_seconds": 2}, "at least 10"),
        ({"missing_sensor_rate": 2}, "missing_sensor_rate: Input should be less than or equal to 1"),
    ):
        with pytest.raises(KarmmaError) as caught:
            build(KitchenConfig, tree, "knobs")
        assert words in str(caught.value)
    assert DATASETS["kitchen"].settings({"clutter": 1}, "x") == KitchenConfig(clutter=1)


def test_every_purpose_draws_from_its_own_generator() -> None:
    config = KitchenConfig(seed=1)
    assert random_for(config, "P01").random() == random_for(config, "P01").random()
    assert random_for(config, "P01").random() != random_for(config, "P02").random()


def test_tracks_start_and_stop_where_their_keys_say() -> None:
    track = Track([0.0], [np.array([0.0])])
    track.stay(1.0)
    track.key(2.0, (10.0,))
    values = track.at(np.array([0.0, 1.0, 1.5, 2.0, 9.0]))[:, 0]
    np.testing.assert_allclose(values, [0, 0, 5, 10, 10])
    track.key(1.5, (0.0,))
    assert track.seconds == [0.0, 1.0, 1.5]
