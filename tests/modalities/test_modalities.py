"""Every modality: shapes, determinism, augmentation that keeps meaning, absence."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from karmma.augmentation import Augmentation, BatchAugmentation
from karmma.media.containers import MediaError
from karmma.media.inspection import inspect_file
from karmma.modalities import MODALITIES, make_for_fixed_looks, make_modalities
from karmma.modalities.audio import Audio, log_mel, mel_filters
from karmma.modalities.base import mirror_pictures, pick_frames, sample_seconds, warped_positions, window
from karmma.modalities.depth import Depth, stretched_rows
from karmma.modalities.detections import Detections
from karmma.modalities.flow import Flow
from karmma.modalities.imu import Imu
from karmma.modalities.rgb import Rgb
from karmma.modalities.skeleton import Skeleton
from karmma.types import KarmmaError

NEEDED: dict[str, dict[str, object]] = {"features": {"width": 5}}  # settings without a default


def source_of(name: str, root: Path) -> Path:
    if name in ("skeleton", "depth", "features"):
        path = root / f"{name}.npz"
        if not path.exists():
            write_body(path)
        return path
    folder, suffix = {"detections": ("boxes", "csv"), "imu": ("imu", "csv"), "hands": ("hands", "npz")}.get(name, ("videos", "MP4"))
    return root / folder / "P02" / f"P02_01.{suffix}"


def write_body(path: Path) -> None:
    """Six seconds of a skeleton and of depth pictures, each with a clock of its own."""
    random, seconds = np.random.default_rng(0), np.arange(90) / 15.0
    skeleton = random.normal(0, 1, (90, 20, 3)) + np.sin(seconds)[:, None, None]
    depth = np.where(random.random((90, 24, 32)) < 0.3, 0.0, 2 + random.random((90, 24, 32)))
    arrays = {"skeleton": skeleton, "depth": depth, "features": random.normal(0, 1, (90, 5)).cumsum(0)}
    key = "depth_metres" if path.stem == "depth" else path.stem
    np.savez(path, **{"seconds": seconds, key: arrays[path.stem]})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", list(MODALITIES))
def test_reading_and_transforming_give_the_specified_shape(name: str, kitchen_root: Path) -> None:
    modality = make_modalities({name: NEEDED.get(name, {})})[name]
    stored = modality.read(source_of(name, kitchen_root), 2.0, 3.7)
    assert stored is not None
    batch = torch.from_numpy(np.stack([stored, stored, stored]))
    for augmentation in (None, Augmentation.draw(3, 1)):
        inputs = modality.transform(batch, augmentation)
        assert inputs.dtype == torch.float32 and tuple(inputs.shape) == (3, *modality.spec.input_shape)
        assert inputs.isfinite().all() and float(inputs.std()) > 0.01
    fixed = modality.transform(batch, None)
    assert torch.equal(fixed[0], fixed[1]) and torch.equal(fixed, modality.transform(batch, None))
    again = [modality.transform(batch, Augmentation.draw(3, 7)) for _ in range(2)]
    assert torch.equal(again[0], again[1]) and not torch.equal(again[0][0], again[0][1])


@pytest.mark.parametrize("name", list(MODALITIES))
def test_two_readings_are_equal(name: str, kitchen_root: Path) -> None:
    modality = make_modalities({name: NEEDED.get(name, {})})[name]
    readings = [modality.read(source_of(name, kitchen_root), 4.1, 5.0) for _ in range(2)]
    assert readings[0] is not None and readings[1] is not None and np.array_equal(readings[0], readings[1])


def test_what_a_source_does_not_have_is_absent(mute_video: Path, tmp_path: Path, kitchen_root: Path) -> None:
    assert Audio().read(mute_video, 0.5, 1.5) is None
    assert Detections().read(tmp_path / "none.csv", 0, 1) is None
    assert Imu().read(tmp_path / "none.csv", 0, 1) is None
    assert Imu().read(source_of("imu", kitchen_root), 500, 501) is None


def test_a_film_in_place_of_an_imu_is_told_what_makes_a_table_of_it(clock_video: Path) -> None:
    with pytest.raises(MediaError, match="clock.mp4: is a film; `karmma convert gopro-imu` makes a table"):
        Imu().read(clock_video, 0.5, 1.5)


def test_silence_is_data(clock_video: Path) -> None:
    stored = Audio(seconds=0.5, shift_seconds=0.1).read(clock_video, 0.6, 1.0)
    assert stored is not None
    assert Audio(seconds=0.5, shift_seconds=0.1).transform(torch.from_numpy(stored)[None], None).isfinite().all()


def test_a_picture_without_boxes_is_data_not_absence(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text("seconds,label,score,left,top,right,bottom\n9.0,object,0.9,0.1,0.1,0.2,0.2\n")
    stored = Detections().read(path, 1.0, 2.0)
    assert stored is not None and np.abs(stored).sum() == 0


def test_rgb_shows_the_right_moments(clock_video: Path) -> None:
    stored = Rgb(frames=2, height=16, width=16).read(clock_video, 1.0, 3.0)
    assert stored is not None and stored.shape[0] == 4
    expected = [20 + 50 * second for second in (1.2, 1.7, 2.2, 2.7)]
    np.testing.assert_allclose(stored.mean((1, 2, 3)), expected, atol=4)


def test_mirroring_rgb_and_flow_keeps_them_in_step() -> None:
    pictures = torch.randint(0, 255, (2, 4, 18, 20, 3), dtype=torch.uint8)
    fields = torch.randint(-100, 100, (2, 4, 18, 20, 2), dtype=torch.int8)
    rgb, flow = Rgb(2, 18, 20, 0.0, colour_jitter=0.0), Flow(2, 18, 20, 0.0)
    straight = BatchAugmentation(torch.tensor([False, False]), torch.Generator().manual_seed(3))
    turned = BatchAugmentation(torch.tensor([True, False]), torch.Generator().manual_seed(3))
    one, other = rgb.transform(pictures, straight), rgb.transform(pictures, turned)
    torch.testing.assert_close(other[0], one[0].flip(2))
    torch.testing.assert_close(other[1], one[1])
    straight = BatchAugmentation(straight.mirrored, torch.Generator().manual_seed(3))
    turned = BatchAugmentation(turned.mirrored, torch.Generator().manual_seed(3))
    one, other = flow.transform(fields, straight), flow.transform(fields, turned)
    torch.testing.assert_close(other[0, ..., 0], -one[0, ..., 0].flip(2))
    torch.testing.assert_close(other[0, ..., 1], one[0, ..., 1].flip(2))


@pytest.mark.parametrize(("lateral", "order"), [("x", (0, 1, 2)), ("y", (1, 0, 2)), ("z", (2, 0, 1))])
def test_a_mirrored_imu_is_the_same_whichever_axis_points_to_the_side(lateral: Literal["x", "y", "z"], order: tuple[int, ...]) -> None:
    """`order`: where the axes side, ahead, up of somebody lie among x, y, z."""
    carried = torch.randn(2, 10, 2, 3)  # force and turn: side, ahead, up
    expected = carried * torch.tensor([[-1.0, 1, 1], [1, -1, -1]])
    still: dict[str, Any] = dict.fromkeys(("shift_seconds", "stretch", "axis_stretch", "bias", "noise"), 0.0)
    imu = Imu(seconds=1.0, rate_hz=10, lateral_axis=lateral, force_scale_mps2=1.0, **still)
    where = [order.index(axis) for axis in range(3)]
    augmentation = BatchAugmentation(torch.tensor([True, False]), torch.Generator().manual_seed(0))
    seen = imu.transform(carried[..., where].flatten(2), augmentation).unflatten(2, (2, 3))[..., list(order)]
    torch.testing.assert_close(seen[0], expected[0])
    torch.testing.assert_close(seen[1], carried[1])


def test_mirrored_boxes_swap_edges_and_hands_and_leave_empty_slots_empty() -> None:
    boxes = torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.9, 1, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0]], dtype=torch.float32)
    mirrored = Detections().mirror(boxes)
    torch.testing.assert_close(mirrored[0], torch.tensor([0.7, 0.2, 0.9, 0.4, 0.9, 0, 1, 0]))
    assert mirrored[1].abs().sum() == 0
    torch.testing.assert_close(Detections().mirror(mirrored), boxes)


def test_boxes_come_hands_first_then_objects_near_them(tmp_path: Path) -> None:
    rows = ["0.5,object,0.9,0.8,0.8,0.9,0.9", "0.5,right hand,0.6,0.4,0.4,0.5,0.5", "0.5,object,0.9,0.45,0.4,0.55,0.5",
            "0.5,right hand,0.9,0.1,0.1,0.2,0.2", "0.5,object,0.2,0.1,0.1,0.2,0.2"]  # fmt: skip
    path = tmp_path / "boxes.csv"
    path.write_text("seconds,label,score,left,top,right,bottom\n" + "\n".join(rows) + "\n")
    stored = Detections(frames=1, boxes=3).read(path, 0.4, 0.6)
    assert stored is not None
    np.testing.assert_allclose(stored[0, :, 0], [0.1, 0.45, 0.8], atol=1e-6)
    assert stored[0, 0, 5:].tolist() == [0, 1, 0] and stored[0, 1, 5:].tolist() == [0, 0, 1]


def test_imu_is_resampled_by_seconds(tmp_path: Path) -> None:
    path = tmp_path / "imu.csv"
    lines = [f"{i / 200:.3f},{i / 200:.3f},0,9.81,0,0,0" for i in range(2000)]
    path.write_text("seconds,accel_x,accel_y,accel_z,gyro_x,gyro_y,gyro_z\n" + "\n".join(lines) + "\n")
    stored = Imu(seconds=1.0, rate_hz=10, shift_seconds=0.0).read(path, 4.0, 5.0)
    assert stored is not None
    np.testing.assert_allclose(stored[:, 0], 4.0 + np.arange(10) / 10, atol=1e-3)
    shifted = Imu(seconds=1.0, rate_hz=10, shift_seconds=0.0, offset_seconds=0.5).read(path, 4.0, 5.0)
    assert shifted is not None
    np.testing.assert_allclose(shifted[:, 0] - stored[:, 0], 0.5, atol=1e-3)


def test_a_tone_lights_up_its_mel_band() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000).astype(np.float32)
    picture = log_mel(tone, 16000, 512, 256, 64)
    filters = mel_filters(16000, 512, 64, 40.0, 8000.0)
    assert picture.shape == (64, 63)
    assert int(picture[:, 30].argmax()) == int(filters[:, 32].argmax())
    assert filters.max() <= 1.0 and (filters.sum(1) > 0).all()


def test_the_spectrum_is_that_of_torch() -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 20000).astype(np.float32)
    window = torch.hann_window(512)
    spectrum = torch.stft(torch.from_numpy(samples), 512, 256, window=window, pad_mode="constant", return_complex=True)
    filters = torch.from_numpy(mel_filters(16000, 512, 64, 40.0, 8000.0))
    expected = torch.log(filters @ spectrum.abs().square() + 1e-5).numpy()
    np.testing.assert_allclose(log_mel(samples, 16000, 512, 256, 64), expected, atol=1e-4)


@given(st.floats(0, 1e4), st.floats(0.05, 100), st.integers(1, 64))
def test_sampled_seconds_lie_inside_and_rise(start: float, length: float, count: int) -> None:
    moments = sample_seconds(start, start + length, count)
    assert len(moments) == count and start < moments[0] and moments[-1] < start + length
    assert all(one < other for one, other in itertools.pairwise(moments))


@given(st.floats(0, 1e4), st.floats(0.05, 100), st.floats(0.1, 10))
def test_windows_keep_their_length_and_middle(start: float, length: float, seconds: float) -> None:
    first, last = window(start, start + length, seconds)
    assert last - first == pytest.approx(seconds) and (first + last) / 2 == pytest.approx(start + length / 2)


def test_picked_frames_are_one_of_each_pair() -> None:
    stored = torch.arange(8).repeat(5, 1)
    assert pick_frames(stored, 4, None).tolist() == [[0, 2, 4, 6]] * 5
    picked = pick_frames(stored, 4, Augmentation.draw(5, 0))
    assert torch.equal(picked // 2, torch.arange(4).repeat(5, 1)) and len({tuple(row) for row in picked.tolist()}) > 1


def test_stretched_rows_are_those_of_bilinear_sampling() -> None:
    stretch, pictures = torch.tensor([0.9, 1.0, 1.13]), torch.rand(3, 2, 8, 5)
    place = torch.eye(2, 3).repeat(3, 1, 1)
    place[:, 1, 1] = stretch
    grid = torch.nn.functional.affine_grid(place, [3, 1, 8, 5], align_corners=False)
    expected = torch.nn.functional.grid_sample(pictures, grid, align_corners=False)
    torch.testing.assert_close(torch.matmul(stretched_rows(8, stretch)[:, None], pictures), expected, atol=1e-5, rtol=0)


def test_only_marked_clips_are_mirrored_along_the_asked_axis() -> None:
    pictures = torch.arange(2 * 3 * 4.0).view(2, 1, 3, 4, 1)
    flipped = mirror_pictures(pictures, torch.tensor([False, True]), axis=2)
    assert torch.equal(flipped[0], pictures[0]) and torch.equal(flipped[1], pictures[1].flip(1))
    assert torch.equal(mirror_pictures(pictures, torch.tensor([False, False])), pictures)


def test_unknown_modalities_and_settings_name_the_nearest() -> None:
    with pytest.raises(KarmmaError, match="unknown modality 'audoi'; did you mean audio"):
        make_modalities({"audoi": {}})
    with pytest.raises(KarmmaError, match=r"unknown key frame; did you mean frames"):
        make_modalities({"rgb": {"frame": 3}})


def test_an_imu_or_boxes_with_gaps_are_refused_where_the_gap_is(tmp_path: Path) -> None:
    imu, boxes = tmp_path / "imu.csv", tmp_path / "boxes.csv"
    rows = [f"{second / 50},1,2,3,4,{'nan' if second == 300 else 5},6" for second in range(500)]
    imu.write_text("seconds,accel_x,accel_y,accel_z,gyro_x,gyro_y,gyro_z\n" + "\n".join(rows))
    assert Imu().read(imu, 1.0, 2.0) is not None
    with pytest.raises(MediaError, match=r"column 'gyro_y' is not a number at 6.000 s"):
        Imu().read(imu, 5.5, 6.5)
    boxes.write_text("seconds,left,top,right,bottom,score,label\n0.1,0.1,,0.5,0.5,0.9,object\n")
    with pytest.raises(MediaError, match=r"column 'top' is not a number at 0.100 s"):
        Detections().read(boxes, 0.0, 1.0)
    boxes.write_text("seconds,left,top,right,bottom,label\n0.1,0.1,0.1,0.5,0.5,object\n")
    with pytest.raises(MediaError, match="no column 'score'"):
        Detections().read(boxes, 0.0, 1.0)


def test_a_skeleton_without_a_torso_is_refused_and_one_of_zeros_is_nobody(tmp_path: Path) -> None:
    poses = np.random.default_rng(0).normal(size=(30, 20, 3))
    path = tmp_path / "s.npz"
    np.savez(path, skeleton=0 * poses)
    assert Skeleton().read(path, 0.0, 1.0) is None
    poses[:, 3] = poses[:, 1]
    np.savez(path, skeleton=poses)
    with pytest.raises(MediaError, match="neck and hip lie on one spot"):
        Skeleton().read(path, 0.0, 1.0)


def test_a_drifting_pace_passes_every_moment_once_from_end_to_end() -> None:
    even = warped_positions(64, 256, 128, Augmentation.draw(64, 0), trim=0.0, bend=0.0)
    drifting = warped_positions(64, 256, 128, Augmentation.draw(64, 0), trim=0.0, bend=0.0, pace=0.4)
    assert torch.allclose(drifting[:, 0], even[:, 0]) and torch.allclose(drifting[:, -1], even[:, -1], atol=1e-3)
    steps = drifting.diff(dim=1)
    assert (steps > 0).all() and steps.max() > 1.5 * 255 / 127 and steps.min() < 255 / 127 / 1.5
    assert warped_positions(3, 8, 4, None, trim=0.1, bend=0.3, pace=0.4).tolist() == warped_positions(3, 8, 4, None, 0, 0).tolist()


def test_vigour_changes_movement_and_leaves_gravity() -> None:
    still: dict[str, Any] = {"bias": 0.0, "noise": 0.0, "stretch": 0.0, "trim": 0.0, "bend": 0.0, "force_scale_mps2": 1.0}
    imu = Imu(span="segment", seconds=2.56, vigour=0.4, **still)
    time = torch.linspace(0, 1, 2 * imu.samples)
    shaking = torch.sin(2 * torch.pi * 20 * time)
    stored = torch.stack([torch.full_like(time, 9.8), shaking, 0 * time, shaking, 0 * time, 0 * time], -1).expand(40, -1, -1)
    one = imu.transform(stored, Augmentation.draw(40, 1, mirror=0.0))
    assert torch.allclose(one[..., 0], torch.tensor(9.8), atol=1e-3)
    middle = slice(20, -20)  # at the ends the slow part is of fewer samples
    assert torch.allclose(one[:, middle, 1], one[:, middle, 3], atol=0.15)
    strength = one[:, :, 3].abs().amax(1)
    assert 0.2 < strength.min() < 0.8 and 1.25 < strength.max() < 5
    plain = Imu(span="segment", seconds=2.56, **still)
    assert torch.equal(imu.transform(stored, None), plain.transform(stored, None))


def test_a_person_is_seen_from_several_directions_while_training_and_from_the_front_otherwise(kitchen_root: Path) -> None:
    bare, turning = (Depth(4, 16, "person", turn_degrees=degrees) for degrees in (0.0, 30.0))
    plain, stored = (one.read(source_of("depth", kitchen_root), 2.0, 3.7) for one in (bare, turning))
    assert plain is not None and stored is not None
    assert plain.shape == bare.stored_zeros().shape == (8, 1, 20, 40)
    assert stored.shape == turning.stored_zeros().shape == (8, 5, 20, 40)
    assert turning.directions == [0.0, -15.0, 15.0, -30.0, 30.0] and np.array_equal(stored[:, :1], plain)
    assert not any(np.array_equal(stored[:, one], stored[:, 0]) for one in range(1, 5))
    fixed = [one.transform(torch.from_numpy(some)[None], None) for one, some in ((bare, plain), (turning, stored))]
    assert torch.equal(*fixed)
    settings = {"depth": {"frames": 4, "size": 16, "content": "person", "turn_degrees": 30.0}, "imu": {}}
    sparing = make_for_fixed_looks(settings)
    assert sparing["depth"] == bare and sparing["imu"] == make_modalities(settings)["imu"]


def test_all_directions_are_drawn_alike_and_one_per_clip() -> None:
    depth = Depth(4, 16, "person", turn_degrees=30.0, trim=0.0, bend=0.0, stretch=0.0, gain=0.0)
    levels = torch.arange(5, dtype=torch.uint8).view(1, 1, 5, 1, 1) * 50  # a brightness for each direction
    seen = depth.transform(levels.expand(500, 8, 5, 20, 40), Augmentation.draw(500, 3))
    assert torch.equal(seen.flatten(1).amin(1), seen.flatten(1).amax(1))
    counts = torch.bincount((seen[:, 0, 0, 0, 0] * 255 / 100).round().long(), minlength=5)
    assert counts.min() > 70 and counts.max() < 130


def test_places_of_depth_that_nothing_was_measured_at_are_empty_whatever_number_they_have(tmp_path: Path) -> None:
    """Floats of a depth camera have nan or infinity there, its whole numbers 0."""
    metres = np.full((20, 24, 30), 1.5, np.float32)
    metres[:, 4:20, :12], metres[7] = 0, 0
    read = []
    for hole in (0.0, np.nan, np.inf, -np.inf):
        np.savez(tmp_path / "depth.npz", depth_metres=np.where(metres > 0, metres, hole), seconds=np.arange(20) / 10)
        read.append(Depth(frames=8).read(tmp_path / "depth.npz", 0.0, 2.0))
        assert not Depth().doubt(tmp_path / "depth.npz") and not inspect_file(tmp_path / "depth.npz", ("depth",)).errors
    assert read[0] is not None and 0 < float((read[0] > 0).mean()) < 1
    assert all(np.array_equal(read[0], other) for other in read[1:])  # type: ignore[arg-type]
