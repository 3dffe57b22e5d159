"""Networks of Hugging Face's transformers, from directories written here."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.lib.stride_tricks import sliding_window_view

from karmma.config import EncoderConfig, RecognizerConfig
from karmma.modalities.audio import Audio, kaldi_fbank
from karmma.models.checkpoint import CheckpointInfo, load_checkpoint, save_checkpoint
from karmma.models.encoders import make_encoder
from karmma.models.encoders.hugging_face import check_preprocessing
from karmma.models.recognizer import RecognizerModel
from karmma.trees import plain
from karmma.types import KarmmaError, LabelSpace, ModalitySpec

SMALL: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
VIDEO = ModalitySpec("rgb", (4, 32, 32, 3), "frames height width channels")
SOUND = ModalitySpec("audio", (32, 48), "mel-bands frames")
CONFIGS: dict[str, tuple[Any, ModalitySpec]] = {
    "VideoMAE": (transformers.VideoMAEConfig(image_size=32, patch_size=16, num_frames=4, **SMALL), VIDEO),
    "TimeSformer": (transformers.TimesformerConfig(image_size=32, patch_size=16, num_frames=4, **SMALL), VIDEO),
    "V-JEPA 2": (transformers.VJEPA2Config(crop_size=32, patch_size=16, frames_per_clip=4, mlp_ratio=2, pred_hidden_size=16,
                                           pred_num_attention_heads=2, pred_num_hidden_layers=1, **SMALL), VIDEO),
    "AST": (transformers.ASTConfig(max_length=48, num_mel_bins=32, patch_size=16, time_stride=16, frequency_stride=16, **SMALL),
            SOUND),
}  # fmt: skip


@pytest.mark.parametrize("name", list(CONFIGS))
def test_tokens_equal_the_librarys_own_hidden_state(name: str, tmp_path: Path) -> None:
    config, spec = CONFIGS[name]
    torch.manual_seed(0)
    original = transformers.AutoModel.from_config(config).eval()
    original.save_pretrained(tmp_path)
    encoder = make_encoder(spec, EncoderConfig("hugging_face", weights=str(tmp_path))).eval()
    encoder.load_start()
    clip = torch.randn(2, *spec.input_shape)
    values = clip.permute(0, 1, 4, 2, 3) if spec is VIDEO else clip.transpose(1, 2)
    with torch.no_grad():
        expected = original(**{original.main_input_name: values}).last_hidden_state
        torch.testing.assert_close(encoder(clip), expected)
        pooled = make_encoder(spec, EncoderConfig("hugging_face", weights=str(tmp_path), tokens=3))
        assert pooled(clip).shape == (2, 3, 16) and encoder.tokens == expected.shape[1]


@pytest.fixture
def videomae(tmp_path: Path) -> Path:
    transformers.VideoMAEModel(CONFIGS["VideoMAE"][0]).save_pretrained(tmp_path / "videomae")
    return tmp_path / "videomae"


def test_a_checkpoint_needs_the_files_no_more(videomae: Path, tmp_path: Path) -> None:
    config = RecognizerConfig({"rgb": EncoderConfig("hugging_face", weights=str(videomae))}, dim=16, ffn_dim=16, head_dim=16)
    labels = LabelSpace({"action": ("a", "b")})
    model = RecognizerModel(config, {"rgb": VIDEO}, labels.sizes).eval()
    save_checkpoint(tmp_path / "out", model, CheckpointInfo(model.config, {"rgb": VIDEO}, labels, {"rgb": {}}, {}))
    videomae.rename(tmp_path / "elsewhere")
    again, _ = load_checkpoint(tmp_path / "out")
    clip, present = {"rgb": torch.randn(1, *VIDEO.input_shape)}, {"rgb": torch.tensor([True])}
    with torch.no_grad():
        torch.testing.assert_close(again(clip, present), model(clip, present))


def test_what_does_not_fit_is_named(videomae: Path, tmp_path: Path) -> None:
    with pytest.raises(KarmmaError, match=r"'nowhere/model' cannot be loaded .*copy the model's config\.json"):
        make_encoder(VIDEO, EncoderConfig("hugging_face", weights="nowhere/model"))
    with pytest.raises(KarmmaError, match="cannot take rgb"):
        make_encoder(replace(VIDEO, input_shape=(4, 32, 32, 2)), EncoderConfig("hugging_face", weights=str(videomae)))
    with pytest.raises(KarmmaError, match="not samples axes"):
        make_encoder(ModalitySpec("imu", (10, 6), "samples axes"), EncoderConfig("hugging_face", weights=str(videomae)))
    content = json.loads((videomae / "config.json").read_text())
    (videomae / "config.json").write_text(json.dumps(content | {"num_hidden_layers": 3}))
    with pytest.raises(KarmmaError, match="weights missing"):
        make_encoder(VIDEO, EncoderConfig("hugging_face", weights=str(videomae))).load_start()


@pytest.mark.parametrize("name", ["preprocessor_config.json", "video_preprocessor_config.json"])
def test_preprocessing_comes_with_the_weights(videomae: Path, name: str) -> None:
    (videomae / name).write_text(json.dumps({"image_mean": [0.5, 0.5, 0.5], "image_std": [0.2, 0.2, 0.2]}))
    config = EncoderConfig("hugging_face", weights=str(videomae))
    check_preprocessing(config, {"mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2)}, "modalities.rgb")
    with pytest.raises(KarmmaError, match=r"modalities\.rgb\.mean is \[0\.45, 0\.42, 0\.4\], but .*trained with \[0\.5, 0\.5, 0\.5\]"):
        check_preprocessing(config, {"mean": (0.45, 0.42, 0.4), "std": (0.2, 0.2, 0.2)}, "modalities.rgb")


FBANK: dict[str, Any] = {
    "spectrum": "kaldi", "fft_size": 400, "hop": 160, "bands": 128, "sample_rate_hz": 16000, "mean": -4.2677393, "std": 9.1379948,
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:At least one mel filter")
def test_sound_is_what_ast_was_trained_on(tmp_path: Path) -> None:
    """Against the library's own features; their pieces begin with the sound, ours lie around their moments."""
    theirs = transformers.ASTFeatureExtractor()
    noise = np.random.default_rng(0)
    sound = (0.3 * np.sin(np.cumsum(np.linspace(0.02, 1.5, 16240))) + noise.normal(0, 0.05, 16240) + 0.1).astype(np.float32)
    expected = theirs(sound, sampling_rate=16000, return_tensors="np").input_values[0][:100].T
    audio = Audio(seconds=1.0, shift_seconds=0.0, **FBANK)
    found = (kaldi_fbank(sliding_window_view(sound, 400)[::160][:100], 16000, 128) - audio.mean) / audio.std
    np.testing.assert_allclose(found, expected, atol=2e-3)
    whole = audio.transform(torch.from_numpy(audio.spectrogram(sound[40:16040]))[None], None)[0].numpy()
    np.testing.assert_allclose(whole[:, 2:99], expected[:, 1:98], atol=5e-3)  # 200 samples before a moment, 160 are a step
    other = (replace(audio, spectrum="log_mel").spectrogram(sound[40:16040]).astype(float)[:, 2:99] - audio.mean) / audio.std
    assert np.abs(other - expected[:, 1:98])[:32].mean() > 0.3  # in the lowest quarter of the bands, in deviations


@pytest.mark.filterwarnings("ignore:At least one mel filter")
def test_settings_of_sound_are_checked(tmp_path: Path) -> None:
    transformers.ASTFeatureExtractor().save_pretrained(tmp_path)
    config = EncoderConfig("hugging_face", weights=str(tmp_path))
    check_preprocessing(config, plain(Audio(**FBANK)), "modalities.audio")
    for key, value, words in (
        ("spectrum", "log_mel", "spectrum is log_mel, but .*trained with kaldi"), ("std", 4.5689974, "std is 4.5.*trained with 9.13"),
        ("bands", 64, "bands is 64, but"), ("sample_rate_hz", 24000, "sample_rate_hz is 24000"), ("hop", 256, "hop is 256"),
    ):  # fmt: skip
        with pytest.raises(KarmmaError, match=rf"modalities\.audio\.{words}"):
            check_preprocessing(config, plain(Audio(**(FBANK | {key: value}))), "modalities.audio")
