"""Published weights into our extractors: strict, with an explicit list of what may be left over."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..types import KarmmaError

Weights = Mapping[str, Tensor]

LEFT_OVER = ("head.weight", "head.bias")  # classifiers of what a network was pre-trained on
FIRST_LAYER = "patch_embed.proj.weight"
TABLES = ("state_dict", "trunk", "model")  # under which key of a pickled file the weights lie, if not at its top


def local_file(weights: str) -> Path:
    """The file that `weights` names; an http(s) address is downloaded once into the cache. Raises KarmmaError if it cannot."""
    if not weights.startswith(("http://", "https://")):
        return Path(weights)
    path = Path(torch.hub.get_dir()) / "checkpoints" / PurePosixPath(unquote(urlsplit(weights).path)).name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(weights, str(path), progress=False)
        except (OSError, ValueError) as error:
            raise KarmmaError(
                f"{weights} cannot be downloaded ({error}); get it where there is a network and place it as {path}"
            ) from error
    return path


def load_published(network: nn.Module, path: Path, rename: Callable[[Weights], Weights] = dict) -> None:
    """Fill a network from a file of published weights; a classifier head in the file is dropped, nothing else.

    `rename` gives the file's weights the network's names. Buffers, which are reckoned and not learnt, may be missing. A
    first layer of three channels is averaged where the network has another number. Raises KarmmaError naming the first
    weight that is missing, unknown or of another shape, and how to place the file where there is none.
    """
    weights = {name: value for name, value in rename(read_weights(path)).items() if name not in LEFT_OVER}
    expected = network.state_dict()
    if FIRST_LAYER in weights and FIRST_LAYER in expected:
        weights[FIRST_LAYER] = fit_channels(weights[FIRST_LAYER], expected[FIRST_LAYER].shape[1])
    for name, _ in network.named_parameters():
        if name not in weights:
            raise KarmmaError(
                f"{path}: no weight {name!r}; it holds {len(weights)} others, e.g. {next(iter(weights), 'none')!r}"
            )
    for name, value in weights.items():
        if name not in expected:
            raise KarmmaError(f"{path}: weight {name!r} has no place in this network")
        if value.shape != expected[name].shape:
            raise KarmmaError(f"{path}: {name} has shape {tuple(value.shape)}, expected {tuple(expected[name].shape)}")
    network.load_state_dict({**expected, **weights})


def read_weights(path: Path) -> Weights:
    """Tensors by name of a .safetensors file or of PyTorch's (.pth, .pt, .torch); pickles are read as plain tensors only."""
    if not path.is_file():
        raise KarmmaError(f"weights not found: {path}; download them where there is a network and place the file there")
    try:
        if path.suffix == ".safetensors":
            return load_file(str(path))
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise KarmmaError(f"{path}: cannot be read as plain weights: {' '.join(str(error).split())[:200]}") from error
    if isinstance(content, dict):
        content = next((content[key] for key in TABLES if key in content), content)
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise KarmmaError(f"{path}: holds no table of tensors")
    return content


def fit_channels(weight: Tensor, channels: int) -> Tensor:
    """A first layer `(out, in, …)` for another number of input channels: their mean, keeping the sum."""
    if weight.shape[1] == channels:
        return weight
    return weight.mean(1, keepdim=True).repeat(1, channels, *[1] * (weight.ndim - 2)) * (weight.shape[1] / channels)
