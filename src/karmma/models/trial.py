"""Whether a recipe's extractors can be built: tried on the meta device, where it costs nothing, before hours of reading."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

from ..config import EncoderConfig, RecognizerConfig
from ..types import KarmmaError, ModalitySpec
from .encoders import find_factory, is_ours, make_encoder
from .encoders.hugging_face import KIND
from .random_kernels import RandomKernels

MISFITS = (RuntimeError, ValueError, TypeError, LookupError, ZeroDivisionError)  # how torch refuses sizes and shapes


def require_buildable(config: RecognizerConfig, specs: Mapping[str, ModalitySpec], where: str) -> None:
    """Try each modality's extractor and random kernels. Raises KarmmaError for the first that cannot take such clips."""
    for name, spec in specs.items():
        encoder = config.encoders[name]
        with told(f"{where}.encoders.{name}", f"an extractor of kind {encoder.kind!r} with these sizes", spec):
            try_extractor(encoder, spec)
        if config.kernels is not None:
            with told(f"{where}.kernels: {name}", "random kernels", spec), torch.device("meta"):
                RandomKernels(spec, config.kernels, 2)


@contextmanager
def told(where: str, what: str, spec: ModalitySpec) -> Iterator[None]:
    """Whatever goes wrong as one line that says where."""
    try:
        yield
    except KarmmaError as error:
        raise KarmmaError(f"{where}: {error}") from error
    except MISFITS as error:
        shape = " × ".join(map(str, spec.input_shape))
        words = f"{what} cannot take such clips ({spec.layout}: {shape})"
        raise KarmmaError(f"{where}: {words}: {' '.join(str(error).split())[:200]}") from error


def try_extractor(config: EncoderConfig, spec: ModalitySpec) -> None:
    """Build an extractor without weights and run it on two clips of nothing; of others' only find what would make it.

    Raises KarmmaError, or whatever torch raises.
    """
    if not is_ours(config.kind):
        find_factory(config.kind)
        return
    with torch.device("meta"):
        encoder = make_encoder(spec, config).eval()
    if config.kind != KIND:
        encoder(torch.zeros(2, *spec.input_shape, device="meta"))
    if config.weights and config.kind != KIND and "://" not in config.weights and not Path(config.weights).exists():
        raise KarmmaError(f"weights not found: {config.weights}")
