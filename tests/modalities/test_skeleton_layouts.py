"""One body as several trackers deliver it: other joints, other axes, pictures in place of space."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from karmma.augmentation import Augmentation
from karmma.config import EncoderConfig
from karmma.deploy.sensors import Lines, parse_source
from karmma.media.containers import MediaError
from karmma.modalities import make_modalities
from karmma.modalities.skeleton import Skeleton
from karmma.models.encoders import make_encoder
from karmma.models.signals import signals
from karmma.skeletons import LAYOUTS
from karmma.types import KarmmaError, ModalitySpec, describe_spec, read_spec

BODY = {  # places in metres, y up
    "head": (0, 0.7), "neck": (0, 0.5), "chest": (0, 0.35), "spine": (0, 0.2), "hip": (0, 0), "shoulder": (0.2, 0.5),
    "elbow": (0.3, 0.25), "wrist": (0.35, 0), "hand": (0.36, -0.08),
    "knee": (0.12, -0.45), "ankle": (0.12, -0.85), "foot": (0.12, -0.9),
    "side": (0.1, 0),
}  # fmt: skip
ALIKE = {"pelvis": "hip", "navel": "spine", "belly": "spine", "thorax": "neck", "spine_shoulder": "neck", "nose": "head"}


def place_of(name: str) -> np.ndarray:
    """A joint of a standing body; details of faces, hands and feet lie where the whole is."""
    sign, plain = (-1 if name.startswith("left_") else 1), name.removeprefix("left_").removeprefix("right_")
    plain = ALIKE.get(plain, plain)
    if name != plain and plain == "hip":
        plain = "side"
    details = {"eye": "head", "ear": "head", "mouth": "head", "tip": "hand", "thumb": "hand", "pinky": "hand", "index": "hand",
               "toe": "foot", "heel": "foot", "clavicle": "neck", "collar": "neck"}  # fmt: skip
    plain = next((whole for detail, whole in details.items() if detail in plain), plain)
    x, y = BODY[plain]
    return np.array([sign * x if name.startswith(("left_", "right_")) else x, y, 0.0])


def moving(layout: str, frames: int = 40) -> np.ndarray:
    """The body in a layout, y up, its right hand waving to the front: `(frames, joints, 3)`."""
    names = LAYOUTS[layout].names
    poses = np.repeat(np.stack([place_of(name) for name in names])[None], frames, 0)
    for index, name in enumerate(names):
        if name.startswith("right_") and any(word in name for word in ("wrist", "hand", "thumb", "pinky", "index")):
            poses[:, index, 2] += 0.3 * np.sin(np.linspace(0, 6, frames))
            poses[:, index, 1] += 0.5
    return poses


def as_delivered(poses: np.ndarray, up: str) -> np.ndarray:
    x, y, z = poses[..., 0], poses[..., 1], poses[..., 2]
    return np.stack({"y": (x, y, z), "-y": (x, -y, -z), "z": (x, -z, y)}[up], -1)


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_stands_upright_and_waves_with_the_right_hand(name: str, tmp_path: Path) -> None:
    layout, skeleton = LAYOUTS[name], Skeleton(frames=12, layout=name)
    file = tmp_path / "body.npz"
    np.savez(file, skeleton=1000 * as_delivered(moving(name), layout.up) + np.array([300, 20, 2500]), seconds=np.arange(40) / 20)
    stored = skeleton.read(file, 0.0, 2.0)
    assert stored is not None and stored.shape == skeleton.stored_zeros().shape
    expected = moving(name)[0]
    hip, neck = (expected[list(joints)].mean(0) for joints in (layout.hip, layout.neck))
    scale = 0.5 / np.linalg.norm(neck - hip)
    still = [index for index, joint in enumerate(layout.names) if joint.startswith("left_")]
    np.testing.assert_allclose(stored[3][still], scale * (expected - hip)[still], atol=2e-3)
    wrists = {side: stored[:, layout.names.index(f"{side}_wrist")] for side in ("left", "right")}
    assert np.ptp(wrists["right"][:, 2]) > 0.4 and np.ptp(wrists["left"], axis=0).max() < 1e-3
    assert wrists["right"][:, 1].mean() > wrists["left"][:, 1].mean() + 0.4
    mirrored = skeleton.mirror(torch.from_numpy(stored)[None], torch.tensor([True]))[0].numpy()
    np.testing.assert_allclose(mirrored[:, layout.names.index("left_wrist")], wrists["right"] * [-1, 1, 1], atol=1e-6)
    encoder = make_encoder(skeleton.spec, EncoderConfig("skeleton", width=8))
    clips = skeleton.transform(torch.from_numpy(stored)[None].repeat(3, 1, 1, 1), Augmentation.draw(3, 0))
    assert encoder(clips).shape == (3, 3, 8) and encoder(clips).isfinite().all()
    assert signals(skeleton.spec, clips).shape[1] == 2 * (3 * layout.joints + len(layout.pairs[0]))


def test_flat_skeletons_are_of_pictures_and_stay_flat(tmp_path: Path) -> None:
    pixels = 200 * as_delivered(moving("coco"), "-y")[..., :2] + 320
    confident = np.concatenate([pixels, np.random.default_rng(0).uniform(0, 1, (40, 17, 1))], -1)
    confident[5, :, 2] = np.nan  # which is left out like the others
    skeleton, seconds = Skeleton(frames=12, layout="coco", flat=True), np.arange(40) / 20
    read = []
    for number, values in enumerate((pixels, confident)):
        np.savez(tmp_path / f"{number}.npz", skeleton=values, seconds=seconds)
        stored = skeleton.read(tmp_path / f"{number}.npz", 0.0, 2.0)
        assert stored is not None
        read.append(stored)
    assert np.array_equal(read[0], read[1])
    assert not read[0][..., 2].any() and read[0][0, 0, 1] > 0.3  # the nose is above the hips
    clips = skeleton.transform(torch.from_numpy(read[0])[None].repeat(4, 1, 1, 1), Augmentation.draw(4, 1))
    assert not clips[..., 2].any() and clips[..., 0].std() > 0
    with pytest.raises(MediaError, match=r"joints have shape \(17, 2\), expected \(17, 3\)"):
        Skeleton(frames=12, layout="coco").read(tmp_path / "0.npz", 0.0, 2.0)
    lines = parse_source("skeleton=-", 16000, {"skeleton": skeleton.source_shape})[0]
    assert isinstance(lines, Lines) and lines.columns[:3] == ("x0", "y0", "x1") and len(lines.columns) == 34


def test_rows_of_coordinates_and_confidences_are_read_too(tmp_path: Path) -> None:
    poses, seconds, skeleton = as_delivered(moving("mediapipe"), "-y"), np.arange(40) / 20, Skeleton(frames=12, layout="mediapipe")
    visible = np.concatenate([poses, np.random.default_rng(0).uniform(0, 1, (40, 33, 1))], -1)
    read = []
    for number, values in enumerate((poses, poses.reshape(40, 99), visible)):
        np.savez(tmp_path / f"{number}.npz", skeleton=values, seconds=seconds)
        stored = skeleton.read(tmp_path / f"{number}.npz", 0.0, 2.0)
        assert stored is not None
        read.append(stored)
    assert np.array_equal(read[0], read[1]) and np.array_equal(read[0], read[2])
    np.savez(tmp_path / "two.npz", skeleton=np.stack([poses, poses], 1), seconds=seconds)
    with pytest.raises(MediaError, match=r"joints have shape \(2, 33, 3\), expected \(33, 3\); of several bodies choose"):
        skeleton.read(tmp_path / "two.npz", 0.0, 2.0)


def test_an_axis_that_points_up_can_be_told(tmp_path: Path) -> None:
    poses = moving("human36m")
    for up in ("y", "-y", "z"):
        np.savez(tmp_path / f"{up}.npz", skeleton=as_delivered(poses, up), seconds=np.arange(40) / 20)
    read = [Skeleton(layout="human36m", up=up).read(tmp_path / f"{up}.npz", 0.0, 2.0) for up in ("y", "-y", "z")]
    assert read[0] is not None and all(np.allclose(one, read[0], atol=1e-6) for one in read if one is not None)


@pytest.mark.parametrize(("settings", "words"), [
    ({"layout": "kinect2"}, "'kinect2' is none of utd_mhad, kinect, kinect_v2"),
    ({"layout": "coco", "joints": 17}, "layout: coco says itself which joints there are; leave out joints"),
    ({"joints": 13}, "need hip, neck, too"),
    ({"hip": 0}, "need joints, neck, too"),
    ({"joints": 13, "hip": 0, "neck": 13}, "must be of 0 to 12"),
    ({"joints": 13, "hip": 0, "neck": 1, "mirror_pairs": [[2, 40]]}, "must be of 0 to 12"),
    ({"up": "x"}, "'y', '-y' or 'z'"),
])  # fmt: skip
def test_what_does_not_fit_together_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(KarmmaError, match=words):
        make_modalities({"skeleton": settings})


def test_an_order_of_ones_own_has_no_bones_and_is_read_all_the_same(tmp_path: Path) -> None:
    own = Skeleton(frames=12, joints=20, hip=3, neck=1, mirror_pairs=((4, 8),))
    np.savez(tmp_path / "own.npz", skeleton=moving("utd_mhad"), seconds=np.arange(40) / 20)
    one, other = own.read(tmp_path / "own.npz", 0.0, 2.0), Skeleton(frames=12).read(tmp_path / "own.npz", 0.0, 2.0)
    assert one is not None and other is not None and np.array_equal(one, other)
    assert own.spec.skeleton == "" and own.body.bones == () and Skeleton().spec.skeleton == "utd_mhad"
    mirrored = own.mirror(torch.from_numpy(one)[None], torch.tensor([True]))[0].numpy()
    np.testing.assert_allclose(mirrored[:, 4], one[:, 8] * [-1, 1, 1])
    np.testing.assert_allclose(mirrored[:, 5], one[:, 5] * [-1, 1, 1])


def test_checkpoints_remember_which_joint_is_which() -> None:
    for skeleton in (Skeleton(layout="openpose"), Skeleton(layout="kinect_v2"), Skeleton(), Skeleton(joints=20, hip=3, neck=1)):
        assert read_spec("skeleton", describe_spec(skeleton.spec)) == skeleton.spec
    before = {"input_shape": [48, 20, 3], "layout": "frames joints xyz"}
    assert read_spec("skeleton", before) == Skeleton().spec
    assert read_spec("skeleton", {**before, "input_shape": [48, 25, 3]}).skeleton == ""
    imu = ModalitySpec("imu", (120, 6), "samples axes")
    assert describe_spec(imu) == {"input_shape": [120, 6], "layout": "samples axes"} and read_spec("imu", describe_spec(imu)) == imu


@pytest.mark.parametrize(("layout", "shape", "words"), [
    ("", (33, 3), r"expected \(20, 3\); modalities.skeleton: layout: mediapipe\?"),
    ("", (25, 2), r"modalities.skeleton: layout: kinect_v2 or openpose, flat: true\?"),
    ("coco", (17, 2), r"expected \(17, 3\); modalities.skeleton: flat: true\?"),
    ("coco", (13, 3), r"shape \(13, 3\), expected \(17, 3\)$"),
    ("kinect_v2", (2, 25, 3), r"shape \(2, 25, 3\), expected \(25, 3\); of several bodies choose"),
])  # fmt: skip
def test_joints_of_another_tracker_are_named_with_what_the_recipe_might_say(
    layout: str, shape: tuple[int, ...], words: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "s.npz", skeleton=np.ones((5, *shape)), seconds=np.arange(5.0))
    with pytest.raises(MediaError, match=words):
        Skeleton(layout=layout).read(tmp_path / "s.npz", 0.0, 5.0)
