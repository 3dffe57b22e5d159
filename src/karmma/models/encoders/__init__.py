"""Small feature extractors, one file each: a clip of one modality becomes tokens `(batch, tokens, width)`.

`ENCODERS` maps a recipe's `kind` to a factory `(spec, config) -> Encoder`; a dotted path names anyone else's factory.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from ...config import EncoderConfig
from ...types import KarmmaError, ModalitySpec
from ..weights import load_prefixed
from .base import Encoder
from .boxes import BoxesEncoder
from .features import FeaturesEncoder
from .frames import FramesEncoder
from .hands import HandsEncoder
from .hugging_face import KIND, HuggingFaceEncoder, complete
from .layout import LayoutEncoder
from .motion import MotionEncoder
from .sequence import SequenceEncoder
from .skeleton import SkeletonEncoder
from .spectrogram import SpectrogramEncoder
from .spectrogram_transformer import SpectrogramTransformerEncoder
from .video_swin import SpectrogramSwinEncoder, VideoSwinEncoder
from .views import ViewsEncoder

ENCODERS: dict[str, Callable[[ModalitySpec, EncoderConfig], Encoder]] = {
    "frames": FramesEncoder,
    "spectrogram": SpectrogramEncoder,
    "sequence": SequenceEncoder,
    "boxes": BoxesEncoder,
    "motion": MotionEncoder,
    "skeleton": SkeletonEncoder,
    "hands": HandsEncoder,
    "layout": LayoutEncoder,
    "features": FeaturesEncoder,
    KIND: HuggingFaceEncoder,
    "spectrogram_transformer": SpectrogramTransformerEncoder,
    "views": ViewsEncoder,
    "video_swin": VideoSwinEncoder,
    "spectrogram_swin": SpectrogramSwinEncoder,
}


def make_encoder(spec: ModalitySpec, config: EncoderConfig) -> Encoder:
    """The extractor a recipe names. Raises KarmmaError for an unknown kind, an unimportable path, or an option of another kind."""
    if config.mix_styles and is_ours(config.kind) and config.kind not in ("skeleton", "hands"):
        raise KarmmaError(f"encoder for {spec.name}: mix_styles is known to kinds skeleton and hands alone, not to {config.kind!r}")
    return find_factory(config.kind)(spec, config)


def find_factory(kind: str) -> Callable[[ModalitySpec, EncoderConfig], Encoder]:
    """What makes extractors of a kind. Raises KarmmaError for an unknown one, and for a path that cannot be imported."""
    if is_ours(kind):
        return ENCODERS[kind]
    module, separator, attribute = kind.partition(":")
    if not separator:
        raise KarmmaError(f"encoder kind {kind!r} is neither {', '.join(ENCODERS)} nor a path package.module:factory")
    try:
        factory: Callable[[ModalitySpec, EncoderConfig], Encoder] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise KarmmaError(f"encoder kind {kind!r} cannot be imported: {error}") from error
    return factory


def is_ours(kind: str) -> bool:
    return kind in ENCODERS


def start(encoder: Encoder, modality: str, config: EncoderConfig) -> None:
    """Fill a new extractor with what its configuration names as `weights`: a checkpoint of ours or published weights.

    Raises KarmmaError where such an extractor takes no published weights, or where they do not fit exactly.
    """
    if config.weights is None:
        return
    directory = Path(config.weights)
    if (directory / "config.json").is_file() and config.kind != KIND:
        prefix = f"encoders.{modality}."
        load_prefixed(encoder, directory / "model.safetensors", prefix)
    elif type(encoder).load_start is Encoder.load_start:
        raise KarmmaError(
            f"encoders.{modality}.weights: {config.weights!r} is no checkpoint directory, and an extractor of kind "
            f"{config.kind!r} takes nothing else"
        )
    else:
        encoder.load_start()


def completed(config: EncoderConfig) -> EncoderConfig:
    """A configuration from which the extractor can be rebuilt anywhere."""
    return complete(config) if config.kind == KIND else config


__all__ = ["ENCODERS", "Encoder", "completed", "find_factory", "is_ours", "make_encoder", "start"]
