"""Weights on disk: safetensors, written atomically, loaded strictly. Nothing is ever unpickled."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from ..files import replacing
from ..types import KarmmaError


def save_weights(module: nn.Module, path: Path) -> None:
    """Write a module's state under `path`."""
    with replacing(path) as temporary:
        save_file({name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}, str(temporary))


def load_weights(module: nn.Module, path: Path) -> None:
    """Fill a module from `path`: same names, same shapes, or a KarmmaError that names the first difference."""
    if not path.is_file():
        raise KarmmaError(f"weights not found: {path}")
    try:
        weights = load_file(str(path))
    except SafetensorError as error:
        raise KarmmaError(f"{path}: not a safetensors file: {error}") from error
    expected = module.state_dict()
    lacking, surplus = sorted(set(expected) - set(weights)), sorted(set(weights) - set(expected))
    if lacking or surplus:
        raise KarmmaError(
            f"{path}: {len(lacking)} weights missing (first: {(lacking or ['none'])[0]}), "
            f"{len(surplus)} unknown (first: {(surplus or ['none'])[0]})"
        )
    for name, value in expected.items():
        if weights[name].shape != value.shape:
            raise KarmmaError(f"{path}: {name} has shape {tuple(weights[name].shape)}, expected {tuple(value.shape)}")
    module.load_state_dict(weights)
