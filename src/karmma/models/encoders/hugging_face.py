"""Pre-trained networks of Hugging Face's transformers: VideoMAE, V-JEPA 2, TimeSformer, AST and what has their interface.

Needs the extra `karmma[pretrained]`. `weights` is a directory with config.json and model.safetensors, or a name on the hub
where the hub can be reached. Nothing of a repository is executed and no pickle is read.
"""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ...config import EncoderConfig
from ...files import read_json
from ...types import KarmmaError, ModalitySpec
from .base import Encoder

KIND = "hugging_face"
LEFT_OVER = ("classifier.", "head.", "decoder.", "fc_norm.", "encoder_to_decoder.", "mask_token", "lm_head.", "pooler.")
PICTURES, SOUND = "frames height width channels", "mel-bands frames"
PREPROCESSING = ("preprocessor_config.json", "video_preprocessor_config.json")  # the latter of V-JEPA 2
CHECKED = {  # a key there → our modality settings
    "image_mean": "mean", "image_std": "std", "sampling_rate": "sample_rate_hz", "num_mel_bins": "bands",
}  # fmt: skip
FBANK = "ASTFeatureExtractor"  # whose sound is Kaldi's fbank of 25 ms every 10 ms, and whose deviation counts twice


def transformers() -> Any:
    """The library, or a KarmmaError that says how to get it."""
    try:
        import transformers
    except ImportError as error:
        raise KarmmaError("encoder kind hugging_face needs transformers: pip install 'karmma[pretrained]'") from error
    return transformers


def complete(config: EncoderConfig) -> EncoderConfig:
    """With the network's own configuration in `settings`, so that a checkpoint can be rebuilt without these files."""
    return config if config.settings else replace(config, settings=read_config(config).to_dict())


def read_config(config: EncoderConfig) -> Any:
    if config.settings:
        return transformers().AutoConfig.for_model(**config.settings)
    if config.weights is None:
        raise KarmmaError("encoder kind hugging_face: weights names neither a directory nor a model")
    try:
        return transformers().AutoConfig.from_pretrained(config.weights, local_files_only=Path(config.weights).is_dir())
    except (OSError, ValueError) as error:
        raise KarmmaError(not_found(config.weights, error)) from error


def not_found(weights: str, error: Exception) -> str:
    reason = " ".join(str(error).split())[:160]
    return (
        f"weights {weights!r} cannot be loaded ({reason}); where the hub cannot be reached, copy the model's config.json and "
        "model.safetensors into a directory and name that directory as weights"
    )


class HuggingFaceEncoder(Encoder):
    """The last hidden state of a network as tokens, averaged in order to `tokens` where that is set."""

    def __init__(self, spec: ModalitySpec, config: EncoderConfig) -> None:
        super().__init__()
        if spec.layout not in (PICTURES, SOUND):
            raise KarmmaError(f"encoder hugging_face for {spec.name}: takes pictures over time or spectrograms, not {spec.layout}")
        self.weights, self.layout = config.weights, spec.layout
        network_config = read_config(config)
        with torch.device("meta"):
            probe = transformers().AutoModel.from_config(network_config)
            self.network, clip = probe, torch.zeros(1, *spec.input_shape)
            try:
                shape = self.hidden(clip).shape
            except (RuntimeError, ValueError) as error:
                reason = " ".join(str(error).split())[:160]
                what = f"encoder {network_config.model_type} cannot take {spec.name} {spec.input_shape}"
                raise KarmmaError(f"{what}: {reason}") from error
        self.network = transformers().AutoModel.from_config(network_config)
        self.tokens, self.width = config.tokens or shape[1], shape[2]

    def load_start(self) -> None:
        """Put the published weights in: all that the network has must be in the file, only heads may be left over."""
        if self.weights is None:
            return
        try:
            loaded, report = transformers().AutoModel.from_pretrained(
                self.weights, local_files_only=Path(self.weights).is_dir(), use_safetensors=True, output_loading_info=True
            )
        except (OSError, ValueError) as error:
            raise KarmmaError(not_found(self.weights, error)) from error
        missing = sorted(name for name in report["missing_keys"] if not name.startswith(LEFT_OVER))
        surplus = sorted(name for name in report["unexpected_keys"] if not name.startswith(LEFT_OVER))
        if missing or surplus or report["mismatched_keys"]:
            first = (missing or surplus or [str(name) for name in report["mismatched_keys"]])[0]
            raise KarmmaError(
                f"{self.weights}: {len(missing)} weights missing, {len(surplus)} without a place, "
                f"{len(report['mismatched_keys'])} of another shape; first: {first}"
            )
        self.network.load_state_dict(loaded.state_dict())

    def hidden(self, clips: Tensor) -> Tensor:
        """`(batch, places, width)` of `(batch, T, H, W, C)` or `(batch, bands, frames)`."""
        values = clips.permute(0, 1, 4, 2, 3) if self.layout == PICTURES else clips.transpose(1, 2)
        options = {"skip_predictor": True} if "skip_predictor" in inspect.signature(self.network.forward).parameters else {}
        hidden: Tensor = self.network(**{self.network.main_input_name: values}, **options).last_hidden_state
        return hidden

    def forward(self, clips: Tensor) -> Tensor:
        hidden = self.hidden(clips)
        if hidden.shape[1] == self.tokens:
            return hidden
        return functional.adaptive_avg_pool1d(hidden.transpose(1, 2), self.tokens).transpose(1, 2)


def check_preprocessing(config: EncoderConfig, settings: dict[str, Any], where: str) -> None:
    """Compare a modality's mean and deviation with what the weights were trained with (`PREPROCESSING`).

    Raises KarmmaError naming the key and the right value.
    """
    if config.kind != KIND:
        return
    for path in (Path(config.weights or "") / name for name in PREPROCESSING):
        for ours, wanted in wanted_settings(read_json(path)).items() if path.is_file() else ():
            if ours in settings and not close(wanted, settings[ours]):
                found = list(settings[ours]) if isinstance(settings[ours], tuple) else settings[ours]
                raise KarmmaError(f"{where}.{ours} is {found}, but {path} was trained with {wanted}")


def wanted_settings(content: dict[str, Any]) -> dict[str, Any]:
    """Our settings of a modality that a preprocessor_config.json asks for."""
    wanted = {ours: content[theirs] for theirs, ours in CHECKED.items() if theirs in content}
    if content.get("feature_extractor_type") == FBANK:
        rate_hz = int(content.get("sampling_rate", 16000))
        wanted |= {"spectrum": "kaldi", "fft_size": rate_hz // 40, "hop": rate_hz // 100}
        if content.get("do_normalize", True) and "mean" in content and "std" in content:
            wanted |= {"mean": content["mean"], "std": 2 * content["std"]}
    return wanted


def close(one: Any, other: Any) -> bool:
    """Equal words, or numbers that differ by less than a thousandth."""
    if isinstance(one, str) or isinstance(other, str):
        return bool(one == other)
    ours, theirs = np.atleast_1d(np.asarray(one, float)), np.atleast_1d(np.asarray(other, float))
    return ours.shape == theirs.shape and bool((np.abs(ours - theirs) < 1e-3).all())
