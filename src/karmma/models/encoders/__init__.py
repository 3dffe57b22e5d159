"""Small feature extractors, one file each: a clip of one modality becomes tokens `(batch, tokens, width)`.

`ENCODERS` maps a recipe's `kind` to a factory `(spec, config) -> Encoder`; a dotted path names anyone else's factory.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

from ...config import EncoderConfig
from ...types import KarmmaError, ModalitySpec
from .base import Encoder
from .boxes import BoxesEncoder
from .features import FeaturesEncoder
from .frames import FramesEncoder
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
    "layout": LayoutEncoder,
    "features": FeaturesEncoder,
    KIND: HuggingFaceEncoder,
    "spectrogram_transformer": SpectrogramTransformerEncoder,
    "views": ViewsEncoder,
    "video_swin": VideoSwinEncoder,
    "spectrogram_swin": SpectrogramSwinEncoder,
}


def make_encoder(spec: ModalitySpec, config: EncoderConfig) -> Encoder:
    """The extractor a recipe names. Raises KarmmaError for an unknown kind or an unimportable path."""
    if config.kind in ENCODERS:
        return ENCODERS[config.kind](spec, config)
    module, separator, attribute = config.kind.partition(":")
    if not separator:
        raise KarmmaError(f"encoder kind {config.kind!r} is neither {', '.join(ENCODERS)} nor a path package.module:factory")
    try:
        factory = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise KarmmaError(f"encoder kind {config.kind!r} cannot be imported: {error}") from error
    encoder: Encoder = factory(spec, config)
    return encoder


def completed(config: EncoderConfig) -> EncoderConfig:
    """A configuration from which the extractor can be rebuilt anywhere."""
    return complete(config) if config.kind == KIND else config


__all__ = ["ENCODERS", "Encoder", "completed", "make_encoder"]
