"""Layouts of skeletons: each a tree of as many joints as its tracker delivers, whose sides match."""

from __future__ import annotations

import pytest

from karmma.skeletons import LAYOUTS, SkeletonLayout

COUNTS = {"utd_mhad": 20, "kinect": 20, "kinect_v2": 25, "azure_kinect": 32, "coco": 17, "mediapipe": 33, "openpose": 25,
          "human36m": 17, "smpl": 24}  # fmt: skip
PLACES = {  # joints by index, as their publishers number them
    "utd_mhad": {0: "head", 1: "neck", 3: "hip", 7: "left_hand", 11: "right_hand", 19: "right_foot"},
    "kinect": {0: "hip", 3: "head", 4: "left_shoulder", 19: "right_foot"},
    "kinect_v2": {0: "hip", 2: "neck", 3: "head", 11: "right_hand", 20: "spine_shoulder", 21: "left_hand_tip", 24: "right_thumb"},
    "azure_kinect": {3: "neck", 9: "left_hand_tip", 17: "right_thumb", 18: "left_hip", 26: "head", 31: "right_ear"},
    "coco": {0: "nose", 5: "left_shoulder", 10: "right_wrist", 16: "right_ankle"},
    "mediapipe": {0: "nose", 8: "right_ear", 11: "left_shoulder", 16: "right_wrist", 21: "left_thumb", 32: "right_toes"},
    "openpose": {1: "neck", 4: "right_wrist", 8: "hip", 14: "left_ankle", 18: "left_ear", 21: "left_heel", 24: "right_heel"},
    "human36m": {0: "hip", 3: "right_ankle", 8: "thorax", 10: "head", 13: "left_wrist", 16: "right_wrist"},
    "smpl": {0: "pelvis", 9: "chest", 12: "neck", 15: "head", 20: "left_wrist", 23: "right_hand"},
}


def path_to_root(layout: SkeletonLayout, joint: int) -> list[int]:
    path = [joint]
    while layout.parents[path[-1]] != path[-1]:
        path.append(layout.parents[path[-1]])
        assert len(path) <= layout.joints, layout.names[joint]
    return path


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_one_tree_of_both_sides(name: str) -> None:
    layout = LAYOUTS[name]
    assert layout.joints == COUNTS[name] == len(set(layout.names)) == len(layout.bones) + 1
    assert {index: layout.names[index] for index in PLACES[name]} == PLACES[name]
    assert len({path_to_root(layout, joint)[-1] for joint in range(layout.joints)}) == 1
    swapped = dict(layout.mirror_pairs) | {right: left for left, right in layout.mirror_pairs}
    assert all(joint in swapped for joint, text in enumerate(layout.names) if text.startswith(("left_", "right_")))
    for joint, parent in layout.bones:
        mirrored = layout.parents[swapped.get(joint, joint)]
        assert mirrored == swapped.get(parent, parent) or parent == joint, layout.names[joint]
    assert {swapped.get(end, end) for end in layout.ends} == set(layout.ends) and len(layout.ends) >= 9
    assert {swapped.get(joint, joint) for joint in layout.hip} == set(layout.hip)


def test_hands_hang_on_arms_and_feet_on_legs() -> None:
    for name, layout in LAYOUTS.items():
        for side in ("left", "right"):
            for end, way in ((f"{side}_wrist", f"{side}_shoulder"), (f"{side}_ankle", f"{side}_hip")):
                path = [layout.names[joint] for joint in path_to_root(layout, layout.names.index(end))]
                assert way in path, (name, path)


def test_the_first_layout_is_what_it_always_was() -> None:
    """Weights of students of UTD-MHAD hang on the order."""
    layout = LAYOUTS["utd_mhad"]
    assert layout.parents == (1, 1, 1, 2, 1, 4, 5, 6, 1, 8, 9, 10, 3, 12, 13, 14, 3, 16, 17, 18)
    assert layout.ends == (0, 1, 2, 3, 5, 7, 9, 11, 15, 19) and layout.hip == (3,) and layout.neck == (1,)
    assert layout.mirror_pairs == ((4, 8), (5, 9), (6, 10), (7, 11), (12, 16), (13, 17), (14, 18), (15, 19))
