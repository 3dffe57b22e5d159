"""Published weights: strict, safe, and clear about what does not fit."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from karmma.config import EncoderConfig
from karmma.models.checkpoint import CheckpointInfo, save_checkpoint
from karmma.models.encoders import make_encoder, start
from karmma.models.encoders.video_swin import SIZES, VideoSwin
from karmma.models.pretrained import FIRST_LAYER, load_published, local_file
from karmma.types import KarmmaError, LabelSpace, ModalitySpec

from ..conftest import LABEL_SIZES, SPECS, make_recognizer


def published(tmp_path: Path, suffix: str = ".pth", changes: Mapping[str, torch.Tensor | None] | None = None) -> Path:
    """A file as torchvision publishes it: all weights of the network and a classifier."""
    torch.manual_seed(1)
    weights = {**VideoSwin(SIZES["test"]).state_dict(), "head.weight": torch.zeros(400, 128), "head.bias": torch.zeros(400)}
    for name, value in (changes or {}).items():
        if value is None:
            weights.pop(name)
        else:
            weights[name] = value
    path = tmp_path / f"swin{suffix}"
    if suffix == ".safetensors":
        save_file({name: value.contiguous() for name, value in weights.items()}, str(path))
    else:
        torch.save(weights, path)
    return path


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_an_extractor_starts_from_the_file_its_recipe_names(tmp_path: Path, suffix: str) -> None:
    path = published(tmp_path, suffix)
    config = EncoderConfig("video_swin", variant="test", weights=str(path))
    encoder = make_encoder(ModalitySpec("rgb", (4, 32, 32, 3), ""), config)
    encoder.load_start()
    torch.manual_seed(1)
    expected = VideoSwin(SIZES["test"]).state_dict()
    for name, value in encoder.network.state_dict().items():  # type: ignore[union-attr]
        assert torch.equal(value, expected[name]), name


def test_two_channels_take_the_mean_of_three(tmp_path: Path) -> None:
    network = VideoSwin(SIZES["test"], channels=2)
    load_published(network, published(tmp_path))
    torch.manual_seed(1)
    three = VideoSwin(SIZES["test"]).state_dict()[FIRST_LAYER]
    two = network.state_dict()[FIRST_LAYER]
    torch.testing.assert_close(two.sum(1), three.sum(1))
    torch.testing.assert_close(two[:, 0], two[:, 1])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"norm.weight": None}, "no weight 'norm.weight'; it holds"),
        ({"extra": torch.zeros(1)}, "weight 'extra' has no place in this network"),
        ({"norm.weight": torch.zeros(7)}, r"norm.weight has shape \(7,\), expected \(128,\)"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, changes: dict[str, torch.Tensor | None], words: str) -> None:
    with pytest.raises(KarmmaError, match=words):
        load_published(VideoSwin(SIZES["test"]), published(tmp_path, changes=changes))


class Hostile:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("/tmp/karmma-was-executed"),))


def test_a_pickle_executes_nothing(tmp_path: Path) -> None:
    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"a": Hostile()}))
    with pytest.raises(KarmmaError, match="cannot be read as plain weights"):
        load_published(VideoSwin(SIZES["test"]), tmp_path / "evil.pth")
    assert not Path("/tmp/karmma-was-executed").exists()
    (tmp_path / "cut.safetensors").write_bytes(b"12345")
    with pytest.raises(KarmmaError, match="cannot be read as plain weights"):
        load_published(VideoSwin(SIZES["test"]), tmp_path / "cut.safetensors")


def test_a_missing_file_says_how_to_place_it(tmp_path: Path) -> None:
    with pytest.raises(KarmmaError, match="weights not found: .*none.pth; download them where there is a network"):
        load_published(VideoSwin(SIZES["test"]), tmp_path / "none.pth")
    with pytest.raises(KarmmaError, match="variant 'huge' is none of tiny, small, base, test"):
        make_encoder(ModalitySpec("rgb", (4, 32, 32, 3), ""), EncoderConfig("video_swin", variant="huge"))


def test_an_address_is_downloaded_once_and_a_missing_network_says_where_to_put_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    source = published(tmp_path)
    server = HTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/{source.name}"
    assert local_file(address).read_bytes() == source.read_bytes()
    server.shutdown()
    server.server_close()
    assert local_file(address).is_file()  # from the cache
    with pytest.raises(KarmmaError, match=r"cannot be downloaded .* place it as .*other\.pth"):
        local_file(address.replace("swin.pth", "other.pth"))
    assert local_file("weights/a.pth") == Path("weights/a.pth")


def test_an_extractor_starts_from_a_checkpoint_of_ours(tmp_path: Path) -> None:
    labels = LabelSpace({head: tuple(f"{head}{i}" for i in range(count)) for head, count in LABEL_SIZES.items()})
    model = make_recognizer(3)
    info = CheckpointInfo(model.config, SPECS, labels, {name: {} for name in SPECS}, {})
    save_checkpoint(tmp_path / "ours", model, info)
    config = replace(model.config.encoders["imu"], weights=str(tmp_path / "ours"))
    encoder = make_encoder(SPECS["imu"], config)
    start(encoder, "imu", config)
    torch.testing.assert_close(encoder.state_dict(), model.encoder("imu").state_dict())
    with pytest.raises(KarmmaError, match=r"holds no weights encoders\.depth\."):
        start(encoder, "depth", config)
    with pytest.raises(KarmmaError, match=r"encoders\.imu\.weights: 'x\.pth' is no checkpoint directory"):
        start(encoder, "imu", replace(config, weights="x.pth"))
