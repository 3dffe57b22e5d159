"""Published weights: strict, safe, and clear about what does not fit."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial, reduce
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from karmma.config import EncoderConfig
from karmma.modalities.flow import Flow
from karmma.modalities.rgb import Rgb
from karmma.models.checkpoint import CheckpointInfo, save_checkpoint
from karmma.models.encoders import make_encoder, start
from karmma.models.encoders.published_swin import PICTURES, doubt_preprocessing, torchvision_names
from karmma.models.encoders.video_swin import SIZES, VideoSwin
from karmma.models.pretrained import FIRST_LAYER, load_published, local_file
from karmma.trees import plain
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


def authors_name(name: str, last_norm: str = "norm.") -> str:
    """What the network's authors call a weight of the `test` variant."""
    if not name.startswith("features."):
        return name.replace("norm.", last_norm) if name.startswith("norm.") else name
    _, index, rest = name.split(".", 2)
    stage = f"layers.{int(index) // 2}."
    if int(index) % 2:
        return f"{stage}downsample.{rest}"
    pairs = [(".mlp.0.", ".mlp.fc1."), (".mlp.3.", ".mlp.fc2.")]
    return stage + "blocks." + reduce(lambda known, pair: known.replace(*pair), pairs, rest)


def layouts(weights: Mapping[str, torch.Tensor]) -> dict[str, object]:
    """A Video Swin as others publish it."""
    theirs = {authors_name(name): value for name, value in weights.items()}
    head = torch.zeros(400, 128)
    mmaction2 = {f"backbone.{authors_name(name, 'norm3.')}": value for name, value in weights.items()}
    depth = {f"depth_{name}": value for name, value in theirs.items() if name.startswith("patch_embed.")}
    distilled = {f"backbone.{name}": value for name, value in theirs.items()} | {"classifiers.verb.weight": head}
    return {
        "video-swin": {"meta": {"epoch": 30}, "state_dict": distilled | {"cls_head.fc_cls.weight": head}},
        "mmaction2": {"state_dict": mmaction2 | {"data_preprocessor.mean": head, "cls_head.fc_cls.weight": head}},
        "omnivore": {"trunk": theirs | depth, "heads": {"video.1.weight": head}},
        "multimodal-distillation": distilled,
        "in parallel": {f"module.{name}": value for name, value in distilled.items()},
        "no reckoned places": {name: value for name, value in distilled.items() if "relative_position_index" not in name},
    }


@pytest.mark.parametrize("layout", layouts({}))
def test_weights_of_other_publishers_give_the_same_map(tmp_path: Path, layout: str) -> None:
    torch.manual_seed(1)
    expected = VideoSwin(SIZES["test"])
    with torch.no_grad():
        for parameter in expected.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    torch.save(layouts(expected.state_dict())[layout], tmp_path / "swin.torch")
    config = EncoderConfig("video_swin", variant="test", weights=str(tmp_path / "swin.torch"))
    encoder = make_encoder(ModalitySpec("rgb", (4, 64, 64, 3), ""), config)
    start(encoder, "rgb", config)
    clips = torch.randn(2, 3, 4, 64, 64)
    torch.testing.assert_close(encoder.network(clips), expected(clips))  # type: ignore[operator]


def test_a_part_that_nobody_publishes_is_refused_in_these_layouts_too(tmp_path: Path) -> None:
    torch.manual_seed(1)
    weights = {f"backbone.{authors_name(name)}": value for name, value in VideoSwin(SIZES["test"]).state_dict().items()}
    refused: list[tuple[Callable[[], object], str]] = [
        (lambda: weights.update({"decoder.weight": torch.zeros(1)}), "weight 'decoder.weight' has no place"),
        (lambda: weights.pop("backbone.layers.1.blocks.0.mlp.fc1.bias"), r"no weight 'features\.2\.0\.mlp\.0\.bias'"),
    ]
    for change, words in refused:
        change()
        torch.save(weights, tmp_path / "swin.pth")
        with pytest.raises(KarmmaError, match=words):
            load_published(VideoSwin(SIZES["test"]), tmp_path / "swin.pth", torchvision_names)
        weights.pop("decoder.weight", None)


def test_longer_windows_have_a_variant_and_another_says_so(tmp_path: Path) -> None:
    small = replace(SIZES["test"], window_frames=16)
    torch.save({"trunk": VideoSwin(small).state_dict()}, tmp_path / "omnivore.torch")
    config = EncoderConfig("video_swin", variant="test", weights=str(tmp_path / "omnivore.torch"))
    with pytest.raises(KarmmaError, match=r"trained with windows of 16 frames, but variant 'test' .* base_window16 16"):
        start(make_encoder(ModalitySpec("rgb", (4, 32, 32, 3), ""), config), "rgb", config)
    assert SIZES["base_window16"].window == (16, 7, 7)
    wide = {"features.0.0.attn.relative_position_bias_table": torch.zeros(15 * 23 * 23, 6)}  # windows of 8 × 12 × 12
    torch.save(VideoSwin(SIZES["test"]).state_dict() | wide, tmp_path / "wide.pth")
    config = replace(config, weights=str(tmp_path / "wide.pth"))
    with pytest.raises(KarmmaError, match=r"bias_table has shape \(7935, 6\), expected \(2535, 1\)"):
        start(make_encoder(ModalitySpec("rgb", (4, 32, 32, 3), ""), config), "rgb", config)


def test_pictures_of_another_mean_than_every_published_swin_saw_are_doubted(tmp_path: Path) -> None:
    config, settings = EncoderConfig("video_swin", variant="tiny", weights="weights/swin3d_t.pth"), plain(Rgb())
    words = doubt_preprocessing(config, settings, "modalities.rgb")
    assert "modalities.rgb has mean [0.45, 0.42, 0.4]" in words and "modalities.rgb.mean=[0.485,0.456,0.406]" in words
    assert not doubt_preprocessing(config, settings | PICTURES, "modalities.rgb")
    assert not doubt_preprocessing(replace(config, weights=None), settings, "modalities.rgb")
    assert not doubt_preprocessing(replace(config, weights=str(tmp_path)), settings, "modalities.rgb")  # a checkpoint of ours
    assert not doubt_preprocessing(replace(config, kind="frames"), settings, "modalities.rgb")
    assert not doubt_preprocessing(config, plain(Flow()), "modalities.flow")


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
    with pytest.raises(KarmmaError, match="variant 'huge' is none of tiny, small, base, base_window16, large, test"):
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
    asked = local_file(address.replace(".pth", "%2Epth?download=true"))  # as some hosts' links end
    assert asked.name == "swin.pth" and asked == local_file(address)
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
