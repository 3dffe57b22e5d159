"""What no data can make right is said before any are read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from karmma.config import EncoderConfig, KernelsConfig, RecognizerConfig, load_recipe, shipped_recipes
from karmma.modalities import make_modalities
from karmma.models.trial import require_buildable
from karmma.types import KarmmaError, ModalitySpec

PICTURES = {"rgb": make_modalities({"rgb": {"frames": 4, "height": 64, "width": 80}})["rgb"].spec}


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_extractors_of_every_recipe_can_be_built(name: str) -> None:
    recipe = load_recipe(Path(name))
    specs = {modality: made.spec for modality, made in make_modalities(recipe.modalities).items()}
    for recognizer in (recipe.teacher.recognizer, recipe.student.recognizer):
        bare = {modality: replace(encoder, weights=None) for modality, encoder in recognizer.encoders.items()}
        require_buildable(replace(recognizer, encoders=bare), specs, "recognizer")


@pytest.mark.parametrize(
    ("encoder", "words"),
    [
        ({"kind": "frame"}, r"student.encoders.rgb: encoder kind 'frame' is neither frames, "),
        ({"kind": "nowhere:at_all"}, r"student.encoders.rgb: encoder kind 'nowhere:at_all' cannot be imported"),
        ({"kind": "skeleton"}, r"kind 'skeleton' with these sizes cannot take such clips \(.*: 4 × 64 × 80 × 3\)"),
        ({"kind": "spectrogram"}, r"kind 'spectrogram' with these sizes cannot take such clips"),
        ({"kind": "video_swin", "variant": "huge"}, r"student.encoders.rgb: .*'huge' is none of tiny, small, base"),
        ({"kind": "video_swin", "variant": "test", "weights": "none.pth"}, r"student.encoders.rgb: weights not found: none.pth"),
    ],
)
def test_an_extractor_that_cannot_be_built_is_named(encoder: dict[str, Any], words: str) -> None:
    with pytest.raises(KarmmaError, match=words):
        require_buildable(RecognizerConfig({"rgb": EncoderConfig(**encoder)}), PICTURES, "student")


def test_random_kernels_that_cannot_read_such_clips_are_named() -> None:
    short = {"slow_features": make_modalities({"slow_features": {"width": 4, "tokens": 2}})["slow_features"].spec}
    encoders = {"slow_features": EncoderConfig(kind="features")}
    require_buildable(RecognizerConfig(encoders), short, "student")
    with pytest.raises(KarmmaError, match="student.kernels: slow_features: random kernels need clips of 3 steps or more"):
        require_buildable(RecognizerConfig(encoders, kernels=KernelsConfig()), short, "student")
    pairs = {"slow_features": ModalitySpec("gaze", (32, 2), "samples axes")}
    with pytest.raises(KarmmaError, match=r"kernels: slow_features: random kernels cannot take such clips \(samples axes: 32 × 2\)"):
        plain = {"slow_features": EncoderConfig(kind="sequence")}
        require_buildable(RecognizerConfig(plain, kernels=KernelsConfig()), pairs, "student")


def test_extractors_of_others_are_found_but_not_tried() -> None:
    """They may do in a constructor what the meta device cannot."""
    require_buildable(RecognizerConfig({"rgb": EncoderConfig(kind="karmma.config:load_recipe")}), PICTURES, "student")
