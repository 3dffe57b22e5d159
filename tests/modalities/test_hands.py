"""Hands as headsets and trackers deliver them: shapes, axes, units, hands out of view, augmentation, what extractors see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from karmma.augmentation import Augmentation
from karmma.config import EncoderConfig
from karmma.evaluation.plots import plot_joints
from karmma.media.containers import MediaError
from karmma.media.inspection import inspect_file
from karmma.media.live import ArrayBuffer
from karmma.modalities import make_modalities
from karmma.modalities.hands import Hands
from karmma.models.encoders import make_encoder
from karmma.models.signals import hand_features, signals
from karmma.skeletons import HANDS
from karmma.types import KarmmaError, describe_spec, read_spec

PALM = 0.09
SECONDS = np.arange(90) / 30


def moving_hands(layout: str = "mediapipe") -> np.ndarray:
    """Both hands before the head, y up, in metres, the right one moving to the right: `(90, 2, joints, 3)`."""
    hand = HANDS[layout]
    depth = np.array([len(path_to_wrist(layout, joint)) for joint in range(hand.joints)])
    fan = np.linspace(-0.4, 0.4, hand.joints)
    one = np.stack([0.03 * depth * np.sin(fan), 0.03 * depth * np.cos(fan), 0.01 * depth], -1)
    one *= PALM / np.linalg.norm(one[hand.neck[0]] - one[hand.hip[0]])
    one -= one[hand.hip[0]]
    hands = np.repeat(np.stack([one * np.array([-1, 1, 1]), one])[None], len(SECONDS), 0)
    hands[:, 0] += np.array([-0.2, -0.3, -0.4])
    hands[:, 1] += np.array([0.1, -0.3, -0.4]) + 0.1 * SECONDS[:, None, None] * np.array([1, 0, 0])
    return hands


def path_to_wrist(layout: str, joint: int) -> list[int]:
    parents, path = HANDS[layout].parents, [joint]
    while parents[path[-1]] != path[-1]:
        path.append(parents[path[-1]])
    return path


def hands_of(**settings: Any) -> Hands:
    modality = make_modalities({"hands": settings})["hands"]
    assert isinstance(modality, Hands)
    return modality


def read(path: Path, hands: np.ndarray, start: float = 0.5, stop: float = 2.5, clock: bool = True, **settings: Any) -> np.ndarray:
    arrays: dict[str, Any] = {"hands": hands} | ({"seconds": SECONDS} if clock else {})
    np.savez(path / "hands.npz", **arrays)
    stored = hands_of(**settings).read(path / "hands.npz", start, stop)
    assert stored is not None
    return stored


@pytest.mark.parametrize("layout", HANDS)
def test_a_hand_is_one_tree_from_the_wrist_with_five_tips(layout: str) -> None:
    hand = HANDS[layout]
    assert hand.names[hand.hip[0]] == "wrist" and hand.names[hand.neck[0]].startswith("middle_")
    assert all(hand.names[path_to_wrist(layout, joint)[-1]] == "wrist" for joint in range(hand.joints))
    assert sorted(hand.names[end].partition("_")[0] for end in hand.ends) == ["index", "little", "middle", "ring", "thumb", "wrist"]
    leaves = set(range(hand.joints)) - set(hand.parents) - {hand.names.index("palm") if "palm" in hand.names else -1}
    assert leaves == set(hand.ends) - {hand.hip[0]}


def test_joints_lie_where_their_publishers_number_them() -> None:
    places = {
        "mediapipe": (21, {0: "wrist", 4: "thumb_tip", 5: "index_mcp", 12: "middle_tip", 20: "little_tip"}),
        "openxr": (26, {0: "palm", 1: "wrist", 5: "thumb_tip", 6: "index_metacarpal", 8: "index_intermediate", 25: "little_tip"}),
        "webxr": (25, {0: "wrist", 4: "thumb_tip", 5: "index_metacarpal", 14: "middle_tip", 24: "little_tip"}),
        "unity": (26, {0: "wrist", 1: "palm", 2: "thumb_metacarpal", 25: "little_tip"}),
        "mano": (16, {0: "wrist", 1: "index_1", 4: "middle_1", 7: "little_1", 10: "ring_1", 15: "thumb_3"}),
    }
    assert set(places) == set(HANDS)
    for layout, (count, names) in places.items():
        assert HANDS[layout].joints == count and {index: HANDS[layout].names[index] for index in names} == names


@pytest.mark.parametrize("layout", HANDS)
def test_hands_are_in_palm_lengths_from_the_head_whatever_unit_and_axes(layout: str, tmp_path: Path) -> None:
    hands, hand = moving_hands(layout), HANDS[layout]
    stored = read(tmp_path, hands, layout=layout, up="y")
    assert stored.shape == (42, 2, hand.joints, 4) and stored[..., 3].all()
    np.testing.assert_allclose(stored[:, 0, hand.hip[0], :3], np.tile(np.array([-0.2, -0.3, -0.4]) / PALM, (42, 1)), atol=1e-4)
    moved = stored[:, 1, hand.hip[0], 0] * PALM
    np.testing.assert_allclose(moved, 0.1 + 0.1 * (0.5 + 2 * (np.arange(42) + 0.5) / 42), atol=1e-4)
    x, y, z = np.moveaxis(hands, -1, 0)
    for up, axes in (("-y", (x, -y, -z)), ("z", (x, -z, y))):
        np.testing.assert_allclose(read(tmp_path, 1000 * np.stack(axes, -1), layout=layout, up=up), stored, atol=1e-3)
    flat = read(tmp_path, np.stack([x, -y], -1), layout=layout, up="-y", flat=True)
    assert not flat[..., 2].any() and np.abs(flat[:, 0, hand.hip[0], :2]).min() > 1
    centred = read(tmp_path, hands + 30.0, layout=layout, up="y", centred=True)
    np.testing.assert_allclose(centred[:, :, hand.hip[0], :3].mean((0, 1)), 0, atol=1e-3)
    np.testing.assert_allclose(np.diff(centred, axis=2), np.diff(stored, axis=2), atol=1e-3)


def test_values_may_come_hand_after_hand_number_after_number_and_with_confidences(tmp_path: Path) -> None:
    hands = moving_hands()
    expected = read(tmp_path, hands, up="y")
    confident = np.concatenate([hands, np.full((*hands.shape[:3], 1), 0.7)], -1)
    row = [values.reshape(90, -1) for values in (hands, confident)]
    for values in (hands.reshape(90, 42, 3), confident, confident.reshape(90, 42, 4), *row):
        np.testing.assert_array_equal(read(tmp_path, values, up="y"), expected)
    without_clock = read(tmp_path, hands, 0.0, 3.0, clock=False, up="y")
    np.testing.assert_allclose(without_clock, read(tmp_path, hands, 0.0, 3.0, up="y"), atol=0.05)


@pytest.mark.parametrize("lost", [np.nan, 0.0])
def test_a_hand_out_of_view_is_told_and_a_moment_without_it_is_bridged(tmp_path: Path, lost: float) -> None:
    hands = moving_hands()
    whole = read(tmp_path, hands, up="y")
    hands[:, 0], hands[30:32, 1], hands[50:65, 1] = lost, lost, lost
    hands[20, 1, 7] = np.nan  # one joint at one moment
    stored = read(tmp_path, hands, up="y")
    moments: NDArray[np.float64] = 0.5 + 2 * (np.arange(42) + 0.5) / 42
    seen: NDArray[np.bool_] = stored[:, :, 0, 3] > 0
    assert not seen[:, 0].any() and not stored[:, 0].any()
    assert seen[(moments > 0.9) & (moments < 1.2), 1].all()  # two samples are bridged
    assert not seen[(moments > 1.78) & (moments < 2.0), 1].any() and seen[moments > 2.2, 1].all()
    np.testing.assert_allclose(stored[seen[:, 1], 1], whole[seen[:, 1], 1], atol=0.2)
    assert not stored[~seen[:, 1], 1].any()
    made = hands_of(up="y").transform(torch.from_numpy(stored[None]), None)
    inside = (made[0, :, 1, 0, 3] > 0).numpy()
    assert 0 < inside.sum() < len(inside) and set(np.unique(made[..., 3])) == {0.0, 1.0}
    assert (made[0, inside, 1, 0, 0] > 1.0).all()  # nothing is drawn towards the origin at the edge of a gap


def test_nobody_in_view_is_present_and_no_word_from_the_tracker_is_absent(tmp_path: Path) -> None:
    empty = read(tmp_path, np.full((90, 2, 21, 3), np.nan))
    assert empty.shape == (42, 2, 21, 4) and not empty.any()
    assert hands_of().read(tmp_path / "hands.npz", 5.0, 7.0) is None
    assert hands_of().read(tmp_path / "nowhere.npz", 0.0, 1.0) is None


def test_what_cannot_be_hands_is_named_with_what_might_be_said(tmp_path: Path) -> None:
    for shape, words in (
        ((90, 2, 26, 3), r"hands have shape \(2, 26, 3\), expected \(2, 21, 3\); modalities.hands: layout: openxr or unity\?"),
        ((90, 2, 21, 2), r"layout: mediapipe, flat: true\?"), ((90, 21, 3), "of one hand alone.*left first"),
        ((90, 2, 7, 3), r"expected \(2, 21, 3\)$"), ((90, 5), "expected"),
    ):  # fmt: skip
        with pytest.raises(MediaError, match=words):
            read(tmp_path, np.random.default_rng(0).normal(size=shape))
    hands = moving_hands()
    hands[:, 1, 0] = np.nan
    with pytest.raises(MediaError, match=r"hands.npz: right hand: its wrist \(joint 0\) is never seen"):
        read(tmp_path, hands)
    hands[:, 1] = 0.0
    hands[:, 0, 9] = hands[:, 0, 0]
    with pytest.raises(MediaError, match="wrist and root of the middle finger lie on one spot"):
        read(tmp_path, hands)
    with pytest.raises(KarmmaError, match="layout: 'openxt' is none of mediapipe, openxr"):
        hands_of(layout="openxt")


def test_places_in_a_room_are_doubted(tmp_path: Path) -> None:
    read(tmp_path, moving_hands())
    assert not hands_of().doubt(tmp_path / "hands.npz")
    read(tmp_path, moving_hands() + np.array([3.0, 1.0, 2.0]))
    assert "from the room? centred: true" in hands_of().doubt(tmp_path / "hands.npz")
    assert not hands_of(centred=True).doubt(tmp_path / "hands.npz")
    buffer = ArrayBuffer(4.0, (2, 21, 3), gaps=True)
    assert not hands_of().doubt_live(buffer)
    for second, pose in zip(SECONDS, moving_hands() + np.array([3.0, 1.0, 2.0]), strict=True):
        buffer.push(float(second), pose)
    assert "from the room?" in hands_of().doubt_live(buffer)
    buffer.push(3.1, np.zeros((2, 21, 3)))
    assert "from the room?" in hands_of().doubt_live(buffer)


def test_sides_that_are_exchanged_are_doubted(tmp_path: Path) -> None:
    """MediaPipe's are, for pictures that are not mirrored."""
    exchanged = moving_hands()[:, ::-1]
    for hands, settings in ((exchanged, {}), (exchanged[..., :2], {"flat": True})):
        read(tmp_path, hands, **settings)
        assert "lies to the right of the right one in 100 % of the moments" in hands_of(**settings).doubt(tmp_path / "hands.npz")
    read(tmp_path, moving_hands())
    assert not hands_of().doubt(tmp_path / "hands.npz")
    exchanged[19:, 0] = np.nan  # too few moments that show both
    read(tmp_path, exchanged)
    assert not hands_of().doubt(tmp_path / "hands.npz")


def test_check_says_how_often_each_hand_is_in_view(tmp_path: Path) -> None:
    hands = moving_hands()
    hands[:45, 1] = np.nan
    left_alone = np.where([[[[1]], [[0]]]], hands, 0)
    for values, shares in ((hands, (1.0, 0.5)), (hands.reshape(90, -1), (1.0, 0.5)), (left_alone, (1.0, 0.0))):
        np.savez(tmp_path / "hands.npz", hands=values, seconds=SECONDS)
        report = inspect_file(tmp_path / "hands.npz", ("hands",))
        assert (report.facts["left_share"], report.facts["right_share"]) == shares and not report.errors
    assert report.warnings == ["the right hand is never in view"]
    np.savez(tmp_path / "hands.npz", hands=np.zeros((90, 2, 21, 3)), seconds=SECONDS)
    assert inspect_file(tmp_path / "hands.npz", ("hands",)).errors == ["no hand is ever in view"]
    np.savez(tmp_path / "hands.npz", hands=np.ones((90, 7)), seconds=SECONDS)
    assert "time × 2 × joints" in inspect_file(tmp_path / "hands.npz", ("hands",)).errors[0]


def test_a_live_tracker_is_heard_as_its_files_are_read(tmp_path: Path) -> None:
    hands = moving_hands()
    hands[40:60, 0] = 0.0
    buffer = ArrayBuffer(4.0, (2, 21, 3), gaps=True)
    for second, pose in zip(SECONDS, hands, strict=True):
        buffer.push(float(second), pose)
    live = hands_of(up="y").read_live(buffer, 0.5, 2.5)
    assert live is not None
    np.testing.assert_allclose(live, read(tmp_path, hands, up="y"), atol=1e-6)


def test_hands_are_drawn_as_joints_of_both_where_they_are(tmp_path: Path) -> None:
    hands = moving_hands()
    hands[:, 0] = np.nan
    modality = hands_of(up="y", frames=6)
    clip = modality.transform(torch.from_numpy(read(tmp_path, hands, up="y", frames=6)[None]), None)[0].numpy()
    drawn = modality.drawn_joints(clip)
    assert drawn.shape == (6, 42, 2) and np.isnan(drawn[:, :21]).all()
    np.testing.assert_array_equal(drawn[:, 21:], clip[:, 1, :, :2])
    assert len(modality.bones) == 40 and {joint for bone in modality.bones for joint in bone} == set(range(42))
    figure = plot_joints(drawn, modality.bones)
    assert len(figure.axes) == 6 and len(figure.axes[0].lines) == 41
    plot_joints(np.full((6, 42, 2), np.nan, np.float32), modality.bones)


def test_mirrored_hands_change_sides(tmp_path: Path) -> None:
    hands = moving_hands()
    hands[:, 0] = np.nan
    modality = hands_of(up="y", turn_degrees=0, stretch=0, shift_palms=0, noise_palms=0, hand_dropout=0, trim=0, bend=0)
    stored = torch.from_numpy(read(tmp_path, hands, up="y")[None])
    mirrored = modality.transform(stored, Augmentation.draw(1, 0, mirror=1.0))
    plain = modality.transform(stored, None)
    assert not mirrored[:, :, 1].any() and plain[:, :, 1].any()
    torch.testing.assert_close(mirrored[:, :, 0] * torch.tensor([-1.0, 1, 1, 1]), plain[:, :, 1])


def test_augmented_hands_stay_hands_and_lost_ones_stay_lost(tmp_path: Path) -> None:
    hands = moving_hands()
    hands[45:, 1] = np.nan
    stored = torch.from_numpy(read(tmp_path, hands, up="y")).repeat(64, 1, 1, 1, 1)
    modality = hands_of(up="y", hand_dropout=0.3)
    made = modality.transform(stored, Augmentation.draw(64, 1, mirror=0.0))
    assert made.shape == (64, *modality.spec.input_shape) and made.isfinite().all()
    assert not made[..., :3][made[..., 3] == 0].any()
    dropped = (made[..., 3].amax((1, 3)) == 0).float().mean(0)
    assert (dropped > 0.15).all() and (dropped < 0.5).all()
    palms = (made[..., 9, :3] - made[..., 0, :3]).norm(dim=-1)[made[..., 0, 3] > 0]
    assert 0.8 < palms.median() < 1.2 and palms.std() > 0.03


def test_an_extractor_and_random_kernels_see_nothing_of_a_hand_out_of_view(tmp_path: Path) -> None:
    modality = hands_of(frames=12)
    spec = modality.spec
    assert read_spec("hands", describe_spec(spec)) == spec and spec.skeleton == "mediapipe"
    torch.manual_seed(0)
    clips = torch.randn(3, *spec.input_shape)
    clips[..., 3] = 1.0
    clips[:, :, 0] = 0.0
    clips[:, 5:7, 1] = 0.0
    features = hand_features(clips, HANDS["mediapipe"])
    own, apart = (21 * 3 + 3 + 15), features[..., -5:-2]
    assert features.shape == (3, 12, 4 * own + 5) and torch.equal(signals(spec, clips), features.transpose(1, 2))
    assert not features[..., :own].any() and not features[..., 2 * own : 3 * own].any() and not apart.any()
    assert not features[:, 5:7, own : 2 * own].any()
    assert not features[:, 7, 3 * own : 4 * own].any() and features[:, 8, 3 * own : 4 * own].any()  # no jump at its return
    moved = clips.clone()
    moved[:, :, 1, :, :3] += torch.tensor([1.0, 2.0, 3.0]) * clips[:, :, 1, :, 3:]
    others = hand_features(moved, HANDS["mediapipe"])
    torch.testing.assert_close(others[..., own : own + 63], features[..., own : own + 63], atol=1e-5, rtol=0)  # shape
    assert (others[:, 0, own + 63 : own + 66] - features[:, 0, own + 63 : own + 66] - torch.tensor([1.0, 2.0, 3.0])).abs().max() < 1e-5
    for layout in HANDS:
        spec = hands_of(frames=10, layout=layout).spec
        encoder = make_encoder(spec, EncoderConfig("hands", 8, mix_styles=0.5)).eval()
        assert encoder(torch.rand(2, *spec.input_shape)).shape == (2, encoder.tokens, 8) and encoder.tokens == 3


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int32])
def test_hostile_values_give_finite_hands_or_are_named(dtype: Any, tmp_path: Path) -> None:
    """Infinities, numbers beyond float32, clocks of one moment or far away, whole numbers, hands that jump."""
    random = np.random.default_rng(0)
    for number in range(60):
        hands = (moving_hands() * 1000).astype(dtype).astype(np.float64)
        for _ in range(random.integers(1, 30)):
            moment, side, joint = random.integers(90), random.integers(2), random.integers(21)
            hands[moment, side, joint] = random.choice([np.nan, np.inf, -np.inf, 0.0, 1e30, 1e300, -1e38])
        seconds = [SECONDS, SECONDS + 1.7e9, np.zeros(90), SECONDS * 1e-6][number % 4]
        path = tmp_path / f"{number}.npz"
        np.savez(path, hands=hands if number % 3 else hands.reshape(90, -1), seconds=seconds)
        try:
            stored = hands_of().read(path, 0.0, 2.0)
        except MediaError as error:
            assert str(path) in str(error)
            continue
        assert stored is None or np.isfinite(stored).all()
        assert np.isfinite(hands_of().doubt(path).count("palm"))
        inspect_file(path, ("hands",))
