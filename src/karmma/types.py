"""The small vocabulary that all rooms speak: label spaces, clips, batches, predictions, and the one error users see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    from .later import torch


JOINTS = "joints"  # in the layout of what holds a skeleton's
OTHERS = "others"  # subsets of modalities that are not named


KINDS = ("rgb", "flow", "audio", "detections", "imu", "skeleton", "hands", "depth", "features")  # of modalities
VIDEO = "video"  # the sensor of rgb and flow


class KarmmaError(Exception):
    """Something a user can mend; the command line prints its one line and exits with 2."""


def kind_of(name: str) -> str:
    """What kind of modality or sensor a name means: what stands behind its last underscore (`wrist_imu`) if there is such a kind."""
    kind = name.rpartition("_")[2]
    return kind if kind in KINDS or kind == VIDEO else name


@dataclass(frozen=True)
class LabelSpace:
    """Names of the classes of every label set (head), in the order of the logits.

    With heads `verb` and `noun` an action is right when both are (EPIC-KITCHENS); else the only head is the action.
    """

    names: dict[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        if not self.names:
            raise KarmmaError("a label space needs at least one label set")
        for head, names in self.names.items():
            if len(set(names)) != len(names) or not names:
                raise KarmmaError(f"label set {head!r} is empty or names a class twice")

    @property
    def heads(self) -> tuple[str, ...]:
        return tuple(self.names)

    @property
    def sizes(self) -> dict[str, int]:
        return {head: len(names) for head, names in self.names.items()}

    def require_same(self, other: LabelSpace, whose: str) -> None:
        """Raise KarmmaError naming the first difference to another label space."""
        if self.heads != other.heads:
            raise KarmmaError(f"{whose}: label sets {', '.join(other.heads)}, expected {', '.join(self.heads)}")
        for head, names in self.names.items():
            if names != other.names[head]:
                pairs = zip(names, other.names[head], strict=False)
                at = next((i for i, (mine, its) in enumerate(pairs) if mine != its), min(len(names), len(other.names[head])))
                raise KarmmaError(
                    f"{whose}: label set {head!r} has other classes ({len(other.names[head])}, here {len(names)}; "
                    f"they first differ at class {at})"
                )


def subsets_of(modalities: Sequence[str]) -> list[tuple[str, ...]]:
    """Every non-empty subset, largest first, in the order of `modalities`."""
    return [subset for size in range(len(modalities), 0, -1) for subset in combinations(modalities, size)]


def subset_name(subset: Sequence[str]) -> str:
    """`rgb+flow+audio`."""
    return "+".join(subset)


def weigh_subsets(weights: Mapping[str, float], modalities: Sequence[str]) -> list[float]:
    """A weight for each of `subsets_of(modalities)`: `imu+depth` names one in any order, `others` those that nobody names (1).

    Raises KarmmaError for a subset that is unknown or there twice, and for a modality that would never be drawn.
    """
    named: dict[frozenset[str], float] = {}
    for key, weight in weights.items():
        names = frozenset(key.split("+"))
        if key == OTHERS:
            continue
        if not names <= {*modalities}:
            raise KarmmaError(f"{key}: allowed are {OTHERS} and subsets of {subset_name(modalities)}")
        if names in named:
            raise KarmmaError(f"{key}: the same subset is there twice")
        named[names] = weight
    subsets = subsets_of(modalities)
    found = [named.get(frozenset(subset), weights.get(OTHERS, 1.0)) for subset in subsets]
    for name in modalities:
        if not any(weight for subset, weight in zip(subsets, found, strict=True) if name in subset):
            raise KarmmaError(f"{name} would never be drawn, and so never learnt")
    return found


@dataclass(frozen=True)
class ModalitySpec:
    """What a feature extractor receives: shape of one clip's tensor (without batch), and how to draw it in a report.

    `skeleton`: of joints, the name in skeletons.LAYOUTS that says which is which; empty if nobody does.
    """

    name: str
    input_shape: tuple[int, ...]
    layout: str  # e.g. "frames height width channels"
    skeleton: str = ""


def describe_model(specs: Mapping[str, ModalitySpec], labels: LabelSpace) -> dict[str, Any]:
    """What goes in and what comes out, as JSON for `config.json` of checkpoints and exported students."""
    return {
        "specs": {name: describe_spec(spec) for name, spec in specs.items()},
        "labels": {head: list(names) for head, names in labels.names.items()},
        "colour_order": "RGB",
    }


def describe_spec(spec: ModalitySpec) -> dict[str, Any]:
    """A modality's input as JSON."""
    skeleton = {"skeleton": spec.skeleton} if JOINTS in spec.layout else {}
    return {"input_shape": list(spec.input_shape), "layout": spec.layout, **skeleton}


def read_spec(name: str, content: Mapping[str, Any]) -> ModalitySpec:
    """What `describe_spec` wrote. Twenty joints without the key are of the time when there was one layout."""
    shape, layout = tuple(content["input_shape"]), content["layout"]
    if not all(isinstance(size, int) and size > 0 for size in shape):
        raise TypeError(f"specs.{name}.input_shape: {list(shape)} are not sizes")
    unnamed = "utd_mhad" if JOINTS in layout and shape[1:] == (20, 3) else ""
    return ModalitySpec(name, shape, layout, content.get("skeleton", unnamed))


def read_description(content: Mapping[str, Any]) -> tuple[dict[str, ModalitySpec], LabelSpace]:
    """What `describe_model` wrote. Raises KeyError, TypeError or AttributeError where it did not."""
    specs = {name: read_spec(name, spec) for name, spec in content["specs"].items()}
    return specs, LabelSpace({head: tuple(names) for head, names in content["labels"].items()})


@dataclass(frozen=True)
class Clip:
    """One segment, read: model inputs by modality. A modality that is absent has no key; it is never a zero tensor."""

    data: dict[str, Tensor]
    labels: dict[str, int] = field(default_factory=dict)
    name: str = ""
    start_seconds: float = 0.0
    stop_seconds: float = 0.0

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(self.data)


@dataclass(frozen=True)
class Batch:
    """Clips stacked: `data[modality]` `(batch, …)`, `present[modality]` `(batch,)` bool, `labels[head]` `(batch,)`.

    Where `present` is False the slot's content has no meaning and is never looked at (a test fills it with NaN).
    """

    data: dict[str, Tensor]
    present: dict[str, Tensor]
    labels: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        sizes = {name: len(flag) for name, flag in self.present.items()}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"presence differs in batch size: {sizes}")

    def __len__(self) -> int:
        return len(next(iter(self.present.values())))

    def select(self, rows: Tensor) -> Batch:
        """The samples `rows` `(count,)` of this batch, in that order."""

        def take(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: tensor[rows] for name, tensor in tensors.items()}

        return Batch(take(self.data), take(self.present), take(self.labels))

    def to(self, device: torch.device | str) -> Batch:
        def move(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}

        return Batch(move(self.data), move(self.present), move(self.labels))


def collate(clips: Sequence[Clip], modalities: Sequence[str]) -> Batch:
    """Stack clips; a slot of an absent modality holds NaN (0 where the tensor is of integers)."""
    data, present = {}, {}
    for modality in modalities:
        having = [modality in clip.data for clip in clips]
        present[modality] = torch.tensor(having)
        if any(having):
            example = next(clip.data[modality] for clip in clips if modality in clip.data)
            empty = torch.full_like(example, torch.nan) if example.is_floating_point() else torch.zeros_like(example)
            data[modality] = torch.stack([clip.data.get(modality, empty) for clip in clips])
    heads = clips[0].labels if clips else {}
    labels = {head: torch.tensor([clip.labels[head] for clip in clips]) for head in heads}
    return Batch(data, present, labels)


@dataclass(frozen=True)
class Ranked:
    """A class name with its probability."""

    name: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """What was recognised in one clip: ranked classes per head (and `action`), and which modalities were used.

    `unreadable`: of modalities that the recording has but that could not be read, the reader's words; `doubted`: of those that
    were read and used, what speaks against it (units, say).
    """

    ranked: dict[str, tuple[Ranked, ...]]
    modalities: tuple[str, ...]
    start_seconds: float = 0.0
    stop_seconds: float = 0.0
    unreadable: Mapping[str, str] = field(default_factory=dict)
    doubted: Mapping[str, str] = field(default_factory=dict)

    def top(self, head: str) -> Ranked:
        return self.ranked[head][0]
