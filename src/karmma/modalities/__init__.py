"""One file a sensor: reading by seconds, transforms, spec. To add one: a file, a line in MODALITIES, a test.

Other packages bring theirs as entry points (plugins.py).
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

from ..plugins import MODALITY, load_plugin, plugin_names
from ..trees import build
from ..types import KarmmaError, kind_of
from .audio import Audio
from .base import DoubtfulStreams, DrawnAsJoints, LiveReader, LiveRows, ManyLooks, Modality, PictureReader
from .depth import Depth
from .detections import Detections
from .features import Features
from .flow import Flow
from .hands import Hands
from .imu import Imu
from .rgb import Rgb
from .skeleton import Skeleton

MODALITIES: dict[str, type[Any]] = {
    "rgb": Rgb,
    "flow": Flow,
    "audio": Audio,
    "detections": Detections,
    "imu": Imu,
    "skeleton": Skeleton,
    "hands": Hands,
    "depth": Depth,
    "features": Features,
}
FROM_PICTURES = ("rgb", "flow")
FROM_VIDEO = (*FROM_PICTURES, "audio")  # what a video file may hold


def find_modality(name: str, where: str = "modalities") -> type[Any]:
    """The class of a modality; `<anything>_imu` is another imu, and so with every kind.

    Raises KarmmaError naming the nearest known one, or for another package's that would be taken for one of a kind.
    """
    kind = kind_of(name)
    if kind in MODALITIES:
        if name != kind and name in plugin_names(MODALITY):
            raise KarmmaError(f"{where}: {name!r} means another {kind}; the package that declares it must call it something else")
        return MODALITIES[kind]
    brought = load_plugin(MODALITY, name)
    if brought is None:
        known = [*MODALITIES, *plugin_names(MODALITY)]
        near = difflib.get_close_matches(name, known, 1, 0.4)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}, another one of a kind as <name>_imu"
        raise KarmmaError(f"{where}: unknown modality {name!r}; {hint}")
    lacking = [part for part in ("spec", "read", "stored_zeros", "transform") if not hasattr(brought, part)]
    if lacking or not (isinstance(brought, type) and dataclasses.is_dataclass(brought)):
        raise KarmmaError(f"{where}: {name} of another package must be a dataclass with {', '.join(lacking) or 'its settings'}")
    return brought


def make_modalities(settings: Mapping[str, Mapping[str, Any]], where: str = "modalities") -> dict[str, Modality]:
    """Modalities by name from a recipe's settings. Raises KarmmaError for an unknown name or key."""
    return {
        name: build(find_modality(name, where), dict(values or {}), f"{where}.{name}") for name, values in settings.items()
    }


def make_for_fixed_looks(settings: Mapping[str, Mapping[str, Any]], where: str = "modalities") -> dict[str, Modality]:
    """As make_modalities, but reading no more than the fixed look at a clip needs: not for training or several looks."""
    made = make_modalities(settings, where)
    return {name: modality.for_fixed_look() if isinstance(modality, ManyLooks) else modality for name, modality in made.items()}


__all__ = [
    "MODALITIES", "DoubtfulStreams", "DrawnAsJoints", "LiveReader", "LiveRows", "Modality", "PictureReader", "find_modality",
    "make_for_fixed_looks", "make_modalities",
]  # fmt: skip
