"""Which joint is which in bodies and hands of common trackers: bones, sides, what gives place and size, which way is up."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Literal

Up = Literal["y", "-y", "z"]
LEFT, RIGHT = "left_", "right_"


@dataclass(frozen=True)
class SkeletonLayout:
    """Joints of a tracker by index: their names, the joint that each hangs on (the root on itself), and what others need to know.

    `hip` and `neck` are joints in whose middle they lie; `ends` those between which distances tell a pose: head, trunk, elbows,
    hands, feet. `up`: the axis that points up as the tracker delivers it. Of a hand `hip` is its wrist and `neck` the root of its
    middle finger, `ends` are wrist and finger tips.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    hip: tuple[int, ...]
    neck: tuple[int, ...]
    ends: tuple[int, ...]
    up: Up

    @property
    def joints(self) -> int:
        return len(self.names)

    @property
    def mirror_pairs(self) -> tuple[tuple[int, int], ...]:
        """Left and right joints of one name."""
        sides = [(name, name.replace(LEFT, RIGHT)) for name in self.names if name.startswith(LEFT)]
        return tuple((self.names.index(left), self.names.index(right)) for left, right in sides)

    @property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """Each joint and the one that it hangs on."""
        return tuple((joint, parent) for joint, parent in enumerate(self.parents) if joint != parent)

    @property
    def pairs(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """One end and the other of every distance."""
        one, other = zip(*combinations(self.ends, 2), strict=True)
        return one, other


def describe_layout(tree: str, up: Up, *, hip: str, neck: str, ends: str) -> SkeletonLayout:
    """A layout from its joints in order. A joint hangs on the one before it, or on the one behind its `<`; the root has `<` alone.

    `ends` without a side are of both: `elbow` is `left_elbow` and `right_elbow`.
    """
    words = [word.partition("<") for word in tree.split()]
    names = tuple(name for name, _, _ in words)
    before = (names[0], *names)
    parents = [parent or (name if mark else before[place]) for place, (name, mark, parent) in enumerate(words)]
    chosen = [name for end in ends.split() for name in ([end] if end in names else [LEFT + end, RIGHT + end])]
    hips, necks = (tuple(names.index(name) for name in text.split()) for text in (hip, neck))
    return SkeletonLayout(
        names, tuple(names.index(parent) for parent in parents), hips, necks, tuple(sorted(map(names.index, chosen))), up
    )  # fmt: skip


LIMBS = ("left_shoulder<neck left_elbow left_wrist left_hand right_shoulder<neck right_elbow right_wrist right_hand "
         "left_hip<hip left_knee left_ankle left_foot right_hip<hip right_knee right_ankle right_foot")  # fmt: skip
KINECT_ENDS = "head neck spine hip elbow hand foot"
MIDDLES = {"hip": "left_hip right_hip", "neck": "left_shoulder right_shoulder"}
LAYOUTS: dict[str, SkeletonLayout] = {
    "utd_mhad": describe_layout(f"head<neck neck< spine hip {LIMBS}", "y", hip="hip", neck="neck", ends=KINECT_ENDS),
    "kinect": describe_layout(f"hip< spine neck head {LIMBS}", "y", hip="hip", neck="neck", ends=KINECT_ENDS),
    "kinect_v2": describe_layout(
        f"hip< spine neck<spine_shoulder head {LIMBS.replace('<neck', '<spine_shoulder')} spine_shoulder<spine "
        "left_hand_tip<left_hand left_thumb<left_hand right_hand_tip<right_hand right_thumb<right_hand",
        "y", hip="hip", neck="spine_shoulder", ends="head spine_shoulder spine hip elbow hand foot",
    ),
    "azure_kinect": describe_layout(
        "pelvis< navel chest neck left_clavicle<chest left_shoulder left_elbow left_wrist left_hand left_hand_tip "
        "left_thumb<left_wrist right_clavicle<chest right_shoulder right_elbow right_wrist right_hand right_hand_tip "
        "right_thumb<right_wrist left_hip<pelvis left_knee left_ankle left_foot right_hip<pelvis right_knee right_ankle right_foot "
        "head<neck nose left_eye<head left_ear<head right_eye<head right_ear<head",
        "-y", hip="pelvis", neck="neck", ends="head neck navel pelvis elbow hand foot",
    ),
    "coco": describe_layout(
        "nose< left_eye<nose right_eye<nose left_ear<left_eye right_ear<right_eye left_shoulder<nose right_shoulder<nose "
        "left_elbow<left_shoulder right_elbow<right_shoulder left_wrist<left_elbow right_wrist<right_elbow left_hip<left_shoulder "
        "right_hip<right_shoulder left_knee<left_hip right_knee<right_hip left_ankle<left_knee right_ankle<right_knee",
        "-y", **MIDDLES, ends="nose shoulder hip elbow wrist ankle",
    ),
    "mediapipe": describe_layout(
        "nose< left_eye_inner left_eye left_eye_outer right_eye_inner<nose right_eye right_eye_outer left_ear<left_eye_outer "
        "right_ear<right_eye_outer left_mouth<nose right_mouth<nose left_shoulder<nose right_shoulder<nose "
        "left_elbow<left_shoulder right_elbow<right_shoulder left_wrist<left_elbow right_wrist<right_elbow left_pinky<left_wrist "
        "right_pinky<right_wrist left_index<left_wrist right_index<right_wrist left_thumb<left_wrist right_thumb<right_wrist "
        "left_hip<left_shoulder right_hip<right_shoulder left_knee<left_hip right_knee<right_hip left_ankle<left_knee "
        "right_ankle<right_knee left_heel<left_ankle right_heel<right_ankle left_toes<left_heel right_toes<right_heel",
        "-y", **MIDDLES, ends="nose shoulder hip elbow wrist ankle",
    ),
    "openpose": describe_layout(
        "nose<neck neck< right_shoulder right_elbow right_wrist left_shoulder<neck left_elbow left_wrist hip<neck right_hip "
        "right_knee right_ankle left_hip<hip left_knee left_ankle right_eye<nose left_eye<nose right_ear<right_eye left_ear<left_eye "
        "left_big_toe<left_ankle left_small_toe left_heel<left_ankle right_big_toe<right_ankle right_small_toe right_heel<right_ankle",
        "-y", hip="hip", neck="neck", ends="nose neck hip elbow wrist ankle",
    ),
    "human36m": describe_layout(
        "hip< right_hip right_knee right_ankle left_hip<hip left_knee left_ankle spine<hip thorax neck head "
        "left_shoulder<thorax left_elbow left_wrist right_shoulder<thorax right_elbow right_wrist",
        "-y", hip="hip", neck="thorax", ends="head thorax spine hip elbow wrist ankle",
    ),
    "smpl": describe_layout(
        "pelvis< left_hip<pelvis right_hip<pelvis spine<pelvis left_knee<left_hip right_knee<right_hip belly<spine "
        "left_ankle<left_knee right_ankle<right_knee chest<belly left_foot<left_ankle right_foot<right_ankle neck<chest "
        "left_collar<chest right_collar<chest head<neck left_shoulder<left_collar right_shoulder<right_collar "
        "left_elbow<left_shoulder right_elbow<right_shoulder left_wrist<left_elbow right_wrist<right_elbow left_hand<left_wrist "
        "right_hand<right_wrist",
        "y", hip="pelvis", neck="neck", ends="head neck belly pelvis elbow hand foot",
    ),
}  # fmt: skip


FINGERS = ("thumb", "index", "middle", "ring", "little")


def describe_hand(fingers: dict[str, str], up: Up, root: str, palm: str = "wrist<") -> SkeletonLayout:
    """The layout of one hand: `palm`, what comes before the fingers, then by finger its joints from the wrist outwards.

    `root` is what the middle finger's first joint beyond the palm is called.
    """
    joints = {finger: [f"{finger}_{part}" for part in parts.split()] for finger, parts in fingers.items()}
    tree = [palm, *(" ".join([f"{first}<wrist", *others]) for first, *others in joints.values())]
    ends = ["wrist", *(names[-1] for names in joints.values())]
    return describe_layout(" ".join(tree), up, hip="wrist", neck=f"middle_{root}", ends=" ".join(ends))


XR = {finger: f"metacarpal proximal {'' if finger == 'thumb' else 'intermediate '}distal tip" for finger in FINGERS}
HANDS: dict[str, SkeletonLayout] = {  # of one hand each
    "mediapipe": describe_hand({f: "cmc mcp ip tip" if f == "thumb" else "mcp pip dip tip" for f in FINGERS}, "-y", "mcp"),
    "openxr": describe_hand(XR, "y", "proximal", "palm<wrist wrist<"),
    "webxr": describe_hand(XR, "y", "proximal"),
    "unity": describe_hand(XR, "y", "proximal", "wrist< palm"),
    "mano": describe_hand(dict.fromkeys(("index", "middle", "little", "ring", "thumb"), "1 2 3"), "-y", "1"),
}
