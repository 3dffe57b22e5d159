"""Published weights of Video Swin Transformers under the names that video_swin.py has, which are torchvision's.

The authors' own release, OpenMMLab's MMAction2, Omnivore (Girdhar et al., CVPR 2022) and Multimodal Distillation
(Radevski et al., ICCV 2023) share other ones: `layers.0.blocks.0.mlp.fc1` is torchvision's `features.0.0.mlp.0`. Their
networks are the same, patch merging's order of neighbours included.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ...config import EncoderConfig

MARK = "layers.0.blocks.0.attn.qkv.weight"
WRAPPER = "module."  # what DistributedDataParallel puts before every name
OTHER_PARTS = (
    "cls_head.", "data_preprocessor.",  # MMAction2
    "heads.", "depth_patch_embed.",  # Omnivore: classifiers, and the embedding of RGB-D pictures' depth
    "classifiers.",  # Multimodal Distillation
)  # fmt: skip
STAGE = re.compile(r"layers\.(\d+)\.(blocks|downsample)\.(.+)")
LAST_NORM = "norm3."  # MMAction2 numbers the norms of the maps it gives out by their stages
PICTURES = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}  # of red, green, blue, whoever publishes them
TABLE = "attn.relative_position_bias_table"


def torchvision_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The extractor's weights by torchvision's names; those that have them already are returned as they are.

    Whatever stands before `layers.` (`backbone.`, as a rule) is taken off; classifiers (OTHER_PARTS) are left out.
    """
    bare = {name.removeprefix(WRAPPER): value for name, value in weights.items()}
    mark = next((name for name in bare if name.endswith(MARK)), None)
    if mark is None:
        return dict(weights)
    prefix = mark.removesuffix(MARK)
    inner = {name.removeprefix(prefix): value for name, value in bare.items()}
    return {torchvision_name(name): value for name, value in inner.items() if not name.startswith(OTHER_PARTS)}


def torchvision_name(name: str) -> str:
    """`layers.1.blocks.0.mlp.fc2.bias` is `features.2.0.mlp.3.bias`; merging follows its stage, MMAction2's `norm3` is `norm`."""
    found = STAGE.fullmatch(name)
    if found is None:
        return f"norm.{name.removeprefix(LAST_NORM)}" if name.startswith(LAST_NORM) else name
    stage, part, rest = int(found[1]), found[2], found[3]
    if part == "downsample":
        return f"features.{2 * stage + 1}.{rest}"
    return f"features.{2 * stage}.{rest.replace('.mlp.fc1.', '.mlp.0.').replace('.mlp.fc2.', '.mlp.3.')}"


def window_frames(weights: Mapping[str, Tensor], height: int, width: int) -> int | None:
    """Frames (after patches of two) of the windows that weights were trained with, from the size of their table of places.

    None where there is no such table, or where windows were of another height and width.
    """
    table = next((value for name, value in weights.items() if name.endswith(TABLE)), None)
    if table is None:
        return None
    steps, rest = divmod(len(table), (2 * height - 1) * (2 * width - 1))
    return None if rest else (steps + 1) // 2


def doubt_preprocessing(config: EncoderConfig, settings: Mapping[str, Any], where: str) -> str:
    """What should make one doubt that pictures come to published weights as these were trained; "" where nothing does."""
    is_coloured = np.size(settings.get("mean", ())) == len("rgb")
    if config.kind != "video_swin" or not config.weights or Path(config.weights).is_dir() or not is_coloured:
        return ""
    if all(np.allclose(settings[key], wanted, atol=1e-3) for key, wanted in PICTURES.items()):
        return ""
    found = ", ".join(f"{key} {list(settings[key])}" for key in PICTURES)
    wanted = " ".join(f"{where}.{key}={list(values)}".replace(" ", "") for key, values in PICTURES.items())
    return f"{where} has {found}, but every Video Swin that is published ({config.weights}?) was trained with {wanted}"
