"""Weights on disk: safetensors, written atomically, loaded strictly. Nothing is ever unpickled."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..files import replacing
from ..types import KarmmaError


def save_weights(module: nn.Module, path: Path) -> None:
    """Write a module's state under `path`."""
    with replacing(path) as temporary:
        save_file({name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}, str(temporary))


def load_weights(module: nn.Module, path: Path) -> None:
    """Fill a module from `path`: same names, same shapes, or a KarmmaError that names the first difference."""
    fill(module, read_safetensors(path), path)


def load_prefixed(module: nn.Module, path: Path, prefix: str) -> None:
    """Fill a module from the part of a larger one whose names begin with `prefix`, as strictly."""
    weights = {name.removeprefix(prefix): value for name, value in read_safetensors(path).items() if name.startswith(prefix)}
    if not weights:
        raise KarmmaError(f"{path}: holds no weights {prefix}…")
    fill(module, weights, path)


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Tensors by name. Raises KarmmaError for a missing file or one of another kind."""
    if not path.is_file():
        raise KarmmaError(f"weights not found: {path}")
    try:
        return load_file(str(path))
    except SafetensorError as error:
        raise KarmmaError(f"{path}: not a safetensors file: {error}") from error


def fill(module: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Put weights into a module; names and shapes must be the same."""
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
