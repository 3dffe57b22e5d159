"""Whatever a file holds, reading it gives data, says absent, or raises MediaError: nothing else may stop a run."""

from __future__ import annotations

import random
from pathlib import Path

import av
import numpy as np
import pytest

from karmma.data.manifest import Segment
from karmma.data.reading import read_segment
from karmma.media.containers import MediaError, forget_containers
from karmma.media.inspection import inspect_file
from karmma.media.probe import probe
from karmma.media.series import read_series
from karmma.media.video import read_frames
from karmma.modalities import make_modalities

SMALL = {"frames": 2, "height": 16, "width": 24}
MODALITIES = make_modalities({
    "rgb": SMALL, "flow": SMALL, "audio": {"seconds": 0.5, "bands": 16}, "imu": {}, "detections": {}, "skeleton": {}, "hands": {},
    "depth": {"frames": 2, "size": 16, "content": "person"}, "clip_features": {"width": 4},
})  # fmt: skip
FROM_VIDEO = ("rgb", "flow", "audio")


@pytest.fixture(scope="module")
def sound_files(kitchen_root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, tuple[str, ...]]]:
    """One file of every kind, and the modalities it is read as."""
    import scipy.io

    made, generator = tmp_path_factory.mktemp("sound"), np.random.default_rng(0)
    np.savez_compressed(made / "skeleton.npz", skeleton=generator.normal(size=(20, 20, 3)), seconds=np.arange(20.0))
    np.save(made / "features.npy", generator.normal(size=(20, 4)))
    scipy.io.savemat(made / "imu.mat", {"d_iner": generator.normal(size=(90, 6))})
    depth = np.zeros((40, 50, 8), np.uint16)
    depth[5:35, 20:30] = 1500
    scipy.io.savemat(made / "depth.mat", {"d_depth": depth}, do_compression=True)
    return [
        (kitchen_root / "videos/P02/P02_01.MP4", FROM_VIDEO), (kitchen_root / "imu/P02/P02_01.csv", ("imu",)),
        (kitchen_root / "boxes/P02/P02_01.csv", ("detections",)), (made / "skeleton.npz", ("skeleton",)),
        (made / "features.npy", ("clip_features",)), (made / "imu.mat", ("imu",)), (made / "depth.mat", ("depth",)),
        (kitchen_root / "hands/P02/P02_01.npz", ("hands",)),
    ]  # fmt: skip


def spoiled(content: bytes, draw: random.Random) -> bytes:
    """Cut off, with bytes changed anywhere or near the start, with a piece missing, or with one too many."""
    damage, place = bytearray(content), draw.randrange(len(content))
    kind = draw.randrange(5)
    if kind == 0:
        return content[:place]
    if kind in (1, 2):
        reach = len(content) if kind == 1 else min(len(content), 2048)
        for _ in range(draw.choice([1, 4, 40])):
            damage[draw.randrange(reach)] = draw.randrange(256)
    elif kind == 3:
        del damage[place : place + draw.choice([1, 100, 5000])]
    else:
        damage[place:place] = draw.randbytes(draw.choice([1, 100, 5000]))
    return bytes(damage)


@pytest.mark.parametrize("kind", range(8))
def test_a_spoiled_file_stops_nobody(kind: int, sound_files: list[tuple[Path, tuple[str, ...]]], tmp_path: Path) -> None:
    source, names = sound_files[kind]
    content, draw, failed = source.read_bytes(), random.Random(kind), 0
    for number in range(40):
        path = tmp_path / f"{number}{source.suffix}"
        path.write_bytes(spoiled(content, draw))
        segment = Segment("x", "", 0.5, 2.0, {}, dict.fromkeys(names, path))
        reading = read_segment(segment, {name: MODALITIES[name] for name in names})
        failed += bool(reading.failures)
        assert all(np.isfinite(array.astype(np.float64)).all() for array in reading.arrays.values())
        assert all(str(path) in words for words in reading.failures.values())
        inspect_file(path, names)
        forget_containers(tmp_path)
    assert failed > 0


def test_titles_in_another_encoding_do_not_matter(clock_video: Path, tmp_path: Path) -> None:
    path = tmp_path / "titled.mkv"
    with av.open(str(clock_video)) as source, av.open(str(path), "w") as target:
        target.metadata["title"] = "KITCHEN-FILM"
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    path.write_bytes(path.read_bytes().replace(b"KITCHEN-FILM", "Küchen-Film!".encode("latin-1")))
    with pytest.raises(UnicodeDecodeError):
        av.open(str(path))
    assert probe(path).has_video and read_frames(path, [1.0], 32, 24).shape == (1, 24, 32, 3)
    assert not inspect_file(path, ("rgb",)).errors


def test_a_codec_that_nobody_knows_is_named(clock_video: Path, tmp_path: Path) -> None:
    path = tmp_path / "unknown.mp4"
    path.write_bytes(clock_video.read_bytes().replace(b"avc1", b"xyz9"))
    with pytest.raises(MediaError, match="no decoder for its video stream"):
        read_frames(path, [1.0], 32, 24)
    assert inspect_file(path, ("rgb",)).errors == ["no decoder for its video stream"]


@pytest.mark.parametrize("value", [np.inf, np.nan, 1e300])
def test_numbers_that_do_not_fit_are_named(value: float, tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", np.array([[0.0, value]]))
    with pytest.raises(MediaError, match="values that are not finite"):
        read_series(tmp_path / "s.npy", "s")
