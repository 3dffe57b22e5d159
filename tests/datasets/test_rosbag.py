"""Bags of ROS 1 and ROS 2, written by rosbags as ROS writes them: every sensor by the film's seconds, whatever clock it has."""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np
import pytest
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as Writer2
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from typer.testing import CliRunner

from karmma.cli import app
from karmma.datasets.rosbag import convert_bag
from karmma.deploy.recordings import find_recordings
from karmma.media.audio import read_audio
from karmma.media.containers import MediaError
from karmma.media.depth_pictures import read_depth_film
from karmma.media.probe import probe
from karmma.media.ros_messages import packet_of, picture_of
from karmma.media.tables import AXES, read_table
from karmma.media.video import decode_from, read_frames
from karmma.types import KarmmaError

START = 1_700_000_000.0  # seconds at which the film begins
SIZE = (48, 64)
SHOWN = [0.0, 0.1, 0.25, 0.3, 0.7, 0.8, 0.9, 1.0]  # a camera that stops and goes
HZ = 8000
Message = tuple[str, str, float, float, dict[str, Any]]  # topic, type, when it came, its stamp (0: none), fields


def level(second: float) -> int:
    return round(40 + 180 * second)


def picture(second: float, encoding: str) -> dict[str, Any]:
    """A raw image that says when it was taken; its rows are padded."""
    height, width = SIZE
    if encoding in ("16UC1", "32FC1"):
        values = np.full(SIZE, 500 + 1000 * second, np.float32) / (1000 if encoding == "32FC1" else 1)
        pixels = values.astype("<f4" if encoding == "32FC1" else "<u2").view(np.uint8).reshape(height, -1)
    else:
        pixels = np.zeros((height, width, 3), np.uint8)
        pixels[..., {"rgb8": 0, "bgr8": 2}.get(encoding, 0)] = level(second)  # red
        pixels = pixels.reshape(height, -1)
    padded = np.pad(pixels, ((0, 0), (0, 8)))
    return {"height": height, "width": width, "encoding": encoding, "is_bigendian": 0, "step": padded.shape[1], "data": padded.ravel()}


def packed(second: float) -> dict[str, Any]:
    pixels = np.full((*SIZE, 3), level(second), np.uint8)
    return {"format": "jpeg", "data": cv2.imencode(".jpg", pixels)[1].ravel()}


def camera(topic: str = "/camera/image_raw", encoding: str = "bgr8", late: float = 0.03) -> list[Message]:
    return [(topic, "sensor_msgs/msg/Image", START + s + late, START + s, picture(s, encoding)) for s in SHOWN]


def imu(topic: str = "/imu/data", clock: float = 0.0) -> list[Message]:
    """A hundred times a second from half a second before the film on; its stamps are `clock` seconds ahead."""
    moments = np.arange(-0.5, 1.2, 0.01)
    return [(topic, "sensor_msgs/msg/Imu", START + s + 0.002, START + s + clock, {"seconds": s}) for s in moments]


def build(store: Any, kind: str, stamp: float, fields: dict[str, Any]) -> Any:
    make: Callable[[str], Any] = lambda name: store.types[name]  # noqa: E731
    if kind == "audio_common_msgs/msg/AudioData":
        return make(kind)(data=fields["data"])
    if kind == "audio_common_msgs/msg/AudioInfo":
        return make(kind)(**fields)
    if kind == "foxglove_msgs/msg/CompressedVideo":
        time = make("builtin_interfaces/msg/Time")(sec=int(stamp), nanosec=round(stamp % 1 * 1e9))
        return make(kind)(timestamp=time, frame_id="head", **fields)
    if kind == "std_msgs/msg/String":
        return make(kind)(data="hello")
    time = make("builtin_interfaces/msg/Time")(sec=int(stamp), nanosec=round(stamp % 1 * 1e9))
    options = {"seq": 0} if "seq" in make("std_msgs/msg/Header").__dataclass_fields__ else {}
    header = make("std_msgs/msg/Header")(stamp=time, frame_id="head", **options)
    if kind != "sensor_msgs/msg/Imu":
        return make(kind)(header=header, **fields)
    vector, none = make("geometry_msgs/msg/Vector3"), np.zeros(9)
    turned = make("geometry_msgs/msg/Quaternion")(x=0.0, y=0.0, z=0.0, w=1.0)
    turn, force = vector(x=0.0, y=fields["seconds"], z=0.1), vector(x=0.0, y=0.0, z=9.81)
    return make(kind)(header=header, orientation=turned, orientation_covariance=none, angular_velocity=turn,
                      angular_velocity_covariance=none, linear_acceleration=force, linear_acceleration_covariance=none)  # fmt: skip


def write_bag(path: Path, messages: list[Message], storage: str = "sqlite3") -> Path:
    store = get_typestore(Stores.ROS1_NOETIC if storage == "ros1" else Stores.ROS2_HUMBLE)
    store.register(get_types_from_msg("uint8[] data", "audio_common_msgs/msg/AudioData"))
    words = "uint8 channels\nuint32 sample_rate\nstring sample_format\nuint32 bitrate\nstring coding_format"
    store.register(get_types_from_msg(words, "audio_common_msgs/msg/AudioInfo"))
    words = "builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format"
    store.register(get_types_from_msg(words, "foxglove_msgs/msg/CompressedVideo"))
    words = "std_msgs/Header header\nint32 width\nint32 height\nstring encoding\nuint64 pts\nuint8 flags\nbool is_bigendian"
    words += "\nuint8[] data"
    store.register(get_types_from_msg(words, "ffmpeg_image_transport_msgs/msg/FFMPEGPacket"))
    writer: Any = Writer1(path) if storage == "ros1" else Writer2(
        path, version=9, storage_plugin=StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
    )  # fmt: skip
    with writer:
        connections: dict[str, Any] = {}
        for topic, kind, came, stamp, fields in sorted(messages, key=lambda message: message[2]):
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=store)
            message = build(store, kind, stamp, fields)
            raw = store.serialize_ros1(message, kind) if storage == "ros1" else store.serialize_cdr(message, kind)
            writer.write(connections[topic], round(came * 1e9), raw)
    return path


@pytest.mark.parametrize(("storage", "suffix"), [("sqlite3", ""), ("mcap", ""), ("ros1", ".bag")])
def test_every_sensor_by_the_films_seconds(tmp_path: Path, storage: str, suffix: str) -> None:
    image = "sensor_msgs/msg/Image"
    depth = [("/depth", image, START + s + 0.2, START + s, picture(max(s, 0.0), "16UC1")) for s in (-0.2, 0.0, 0.5, 0.9)]
    other: list[Message] = [("/chatter", "std_msgs/msg/String", START, 0.0, {})]
    bag = write_bag(tmp_path / f"walk{suffix}", [*camera(), *imu(), *depth, *other], storage)
    done = CliRunner().invoke(app, ["convert", "rosbag", str(bag), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "walk" in done.output and "rgb 8 pictures in 1.00 s" in done.output and "imu 170 rows, -0.50 to 1.19 s" in done.output
    film = tmp_path / "out" / "walk.mp4"
    assert [frame.seconds for frame in decode_from(film, 0.0)] == pytest.approx(SHOWN, abs=0.002)
    shown = read_frames(film, [0.05, 0.2, 0.6, 0.95], 64, 48)
    assert shown[..., 0].mean((1, 2)) == pytest.approx([level(s) for s in (0.0, 0.1, 0.3, 0.9)], abs=6)  # red, held until the next
    assert shown[..., 2].mean() < 12
    table = read_table(tmp_path / "out" / "walk_imu.csv", AXES)
    np.testing.assert_allclose(table["gyro_y"], table["seconds"], atol=2e-3)
    assert table["accel_z"] == pytest.approx(9.81)
    pictures = read_depth_film(tmp_path / "out" / "walk_depth.mkv", [0.01, 0.51, 0.91])
    assert pictures[:, 0, 0].tolist() == [500, 1000, 1400] and pictures.shape[1:] == SIZE
    files = {"imu": tmp_path / "out", "depth": tmp_path / "out"}
    (recording,) = [found for found in find_recordings([film], files) if found.file == film]
    assert recording.sources == {"imu": tmp_path / "out/walk_imu.csv", "depth": tmp_path / "out/walk_depth.mkv"}


def test_sound_goes_into_the_film_and_gaps_are_silence(tmp_path: Path) -> None:
    sine = (8000 * np.sin(np.arange(2 * HZ) / 5)).astype("<i2")
    ends = [end for end in range(800, 2 * HZ, 800) if not 6400 < end <= 9600]
    heard = [(START - 0.2 + end / HZ, {"data": sine[end - 800 : end].view(np.uint8)}) for end in ends]
    words = [("/audio", "audio_common_msgs/msg/AudioData", came, 0.0, fields) for came, fields in heard]
    bag = write_bag(tmp_path / "talk", [*camera(late=0.0), *words])
    report = convert_bag(bag, tmp_path / "out", {"rgb": "/camera/image_raw", "audio": "/audio"}, HZ)
    assert report.written["rgb"] == "8 pictures in 1.00 s" and probe(tmp_path / "out" / "talk.mp4").has_audio
    sound = read_audio(tmp_path / "out" / "talk.mp4", 0.0, 1.6, HZ)
    assert sound is not None
    loud = np.abs(sound).reshape(-1, 400).mean(1)
    assert loud[2:11].min() > 0.1 and loud[13:19].max() < 0.02 and loud[21:30].min() > 0.1  # of 50 ms each; AAC begins softly
    alone = convert_bag(bag, tmp_path / "alone", {"audio": "/audio"}, HZ)
    assert set(alone.written) == {"audio"} and probe(tmp_path / "alone" / "talk.flac").duration_seconds == pytest.approx(1.9, abs=0.11)
    with pytest.raises(KarmmaError, match="sound needs its rate: --audio-hz"):
        convert_bag(bag, tmp_path / "out", {"audio": "/audio"})


def spoken(pieces: list[bytes], ends: list[float], topic: str = "/audio/audio") -> list[Message]:
    kind = "audio_common_msgs/msg/AudioData"
    timed = zip(pieces, ends, strict=True)
    return [(topic, kind, START + end, 0.0, {"data": np.frombuffer(piece, np.uint8)}) for piece, end in timed]


MOVING = [message for message in imu() if message[3] >= START]
HEARD = {"audio": "/audio/audio", "imu": "/imu/data"}


def info(topic: str = "/audio/audio_info", **changes: Any) -> Message:
    fields = {"channels": 1, "sample_rate": HZ, "sample_format": "S16LE", "bitrate": 0, "coding_format": "wave", **changes}
    return (topic, "audio_common_msgs/msg/AudioInfo", START, 0.0, fields)


def test_mp3_is_decoded_wherever_messages_cut_it(tmp_path: Path) -> None:
    """As audio_capture sends it unless told otherwise; taken for samples it would be noise."""
    beep = np.where(np.arange(32000) % 16000 < 8000, 0.5 * np.sin(np.arange(32000) / 5), 0.0).astype(np.float32)
    stream = io.BytesIO()
    with av.open(stream, "w", format="mp3") as container:
        track = container.add_stream("mp3", rate=16000, layout="mono")
        for offset in range(0, 32000, 1152):
            piece = beep[None, offset : offset + 1152]
            frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, offset
            container.mux(track.encode(frame))
        container.mux(track.encode(None))
    whole = stream.getvalue()
    cuts = list(range(0, len(whole), 700))
    pieces = [whole[cut : cut + 700] for cut in cuts]
    bag = write_bag(tmp_path / "talk", [*MOVING, *spoken(pieces, [2.0 * (cut + 700) / len(whole) for cut in cuts])])
    report = convert_bag(bag, tmp_path, HEARD)
    sound = read_audio(tmp_path / "talk.flac", 0.0, 2.0, 16000)
    assert sound is not None and float(report.written["audio"].split()[0]) == pytest.approx(2.1, abs=0.1)  # encoders begin late
    loud = np.abs(sound).reshape(-1, 1600).mean(1) > 0.1
    assert loud[2:5].all() and not loud[7:10].any() and loud[12:15].all()


@pytest.mark.parametrize(
    ("changes", "numbers", "unit"),
    [
        ({}, "<i2", 32767),
        ({"channels": 2}, "<i2", 32767),
        ({"sample_format": "F32LE"}, "<f4", 1),
        ({"sample_format": "U8"}, "u1", 127),
    ],
)
def test_an_audio_info_tells_rate_channels_and_numbers(changes: dict[str, Any], numbers: str, unit: float, tmp_path: Path) -> None:
    sine = 0.5 * np.sin(np.arange(HZ) / 5)
    values = np.repeat(np.rint(sine * unit) if unit > 1 else sine, changes.get("channels", 1))
    raw = (values + (128 if numbers == "u1" else 0)).astype(numbers).tobytes()
    cut = len(raw) // 2 - 3  # within a sample
    end = cut // (len(raw) // HZ) / HZ
    other = info("/other/audio_info", sample_rate=44100)
    bag = write_bag(tmp_path / "talk", [*MOVING, info(**changes), other, *spoken([raw[:cut], raw[cut:]], [end, 1.0])])
    assert convert_bag(bag, tmp_path, HEARD).written["audio"] == "1.00 s"
    sound = read_audio(tmp_path / "talk.flac", 0.0, 1.0, HZ)
    assert sound is not None
    np.testing.assert_allclose(sound, sine, atol=0.01)


def test_sound_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    silent = spoken([bytes(3200)], [0.2])
    for name, messages, words in (
        ("odd", [info(sample_format="S24LE"), *silent], "/audio/audio: sound of format 'S24LE'; read are U8, S16LE"),
        ("two", [info("/a/info"), info("/b/info"), *silent], "sound needs its rate: --audio-hz"),
    ):
        with pytest.raises(KarmmaError, match=words):
            convert_bag(write_bag(tmp_path / name, messages), tmp_path, {"audio": "/audio/audio"})
    bag = write_bag(tmp_path / "before", [*camera(), *spoken([bytes(320)], [-1.0])])
    report = convert_bag(bag, tmp_path, {"rgb": "/camera/image_raw", "audio": "/audio/audio"}, HZ)
    assert report.left_out == {"audio": "nothing that can be read from second 0 on"} and set(report.written) == {"rgb"}
    assert not probe(tmp_path / "before.mp4").has_audio


def test_a_driver_with_a_clock_of_its_own_is_put_on_the_bags(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "boot", [*camera(late=0.0), *imu(clock=37.0 - START)])
    convert_bag(bag, tmp_path / "out", {})
    table = read_table(tmp_path / "out" / "boot_imu.csv", AXES)
    np.testing.assert_allclose(table["gyro_y"], table["seconds"], atol=4e-3)
    unstamped = [(topic, kind, came, 0.0, fields) for topic, kind, came, _, fields in camera(late=0.0)]
    convert_bag(write_bag(tmp_path / "bare", [*unstamped, *imu()]), tmp_path / "out", {})
    assert [frame.seconds for frame in decode_from(tmp_path / "out" / "bare.mp4", 0.0)] == pytest.approx(SHOWN, abs=0.002)


def test_one_odd_stamp_spoils_nothing_and_a_clock_that_is_set_is_followed(tmp_path: Path) -> None:
    topic, kind, *_ = camera()[0]
    moments = np.arange(0.0, 2.0, 0.1)
    shown = picture(0.5, "rgb8")
    odd = [(topic, kind, START + s, START + s + (900.0 if n in (0, 5) else 0.0), shown) for n, s in enumerate(moments)]
    twice = [(topic, kind, START + 0.3001, START + 0.3004, shown)]
    rows = [(0.1, 0.1), (0.10004, 0.10004), (0.5, np.nan), (1.0, 1.0)]
    nan = [("/imu", "sensor_msgs/msg/Imu", START + s, START + s, {"seconds": value}) for s, value in rows]
    report = convert_bag(write_bag(tmp_path / "odd", [*odd, *twice, *nan]), tmp_path / "out", {})
    assert report.written == {"rgb": "18 pictures in 1.80 s", "imu": "2 rows, 0.00 to 0.90 s"}
    assert report.left_out["rgb"] == "2 messages: with a stamp far ahead of its time; 1 messages: no later than those before"
    assert report.left_out["imu"] == "1 messages: no later than those before; 1 messages: motion that holds no numbers is left out"
    often = np.arange(0.0, 2.0, 0.02)
    later = [(topic, kind, START + s, START + s + (60.0 if s > 1.39 else 0.0), shown) for s in often]
    report = convert_bag(write_bag(tmp_path / "set", later), tmp_path / "out", {})
    assert report.written["rgb"] == "99 pictures in 61.98 s" and "far ahead" in report.left_out["rgb"]


def test_which_of_several_cameras_has_to_be_said(tmp_path: Path) -> None:
    side = [("/side/compressed", "sensor_msgs/msg/CompressedImage", START + s, START + s, packed(s)) for s in SHOWN]
    metres = [("/metres", "sensor_msgs/msg/Image", START + s, START + s, picture(s, "32FC1")) for s in SHOWN]
    bag = write_bag(tmp_path / "two", [*camera(), *camera("/other", "rgb8"), *side, *metres])
    words = "rgb may be any of /camera/image_raw, /other; say which: --topic rgb=/camera/image_raw"
    with pytest.raises(KarmmaError, match=words):
        convert_bag(bag, tmp_path / "out", {})
    chosen = ["rgb=/other", "side_rgb=/side/compressed", "depth=/metres"]
    options = [option for text in chosen for option in ("--topic", text)]
    done = CliRunner().invoke(app, ["convert", "rosbag", str(bag), "--out", str(tmp_path / "out"), *options])
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["two.mp4", "two_depth.mkv", "two_side_rgb.mp4"]
    assert read_frames(tmp_path / "out/two_side_rgb.mp4", [0.05], 64, 48)[0].mean() == pytest.approx(level(0.0), abs=4)
    assert read_depth_film(tmp_path / "out/two_depth.mkv", [0.31])[0, 0, 0] == 800
    for topics, words in (
        ({"rgb": "/nowhere"}, "no topic /nowhere; there is: .*/side/compressed"), ({"skeleton": "/other"}, "of bags are read"),
        ({"imu": "/other"}, "/other is sensor_msgs/msg/Image; imu has to be sensor_msgs/msg/Imu"),
    ):  # fmt: skip
        with pytest.raises(KarmmaError, match=words):
            convert_bag(bag, tmp_path / "out", topics)


def test_depth_may_be_compressed_and_bags_be_single_files(tmp_path: Path) -> None:
    def depth_png(second: float) -> bytes:
        return bytes(12) + cv2.imencode(".png", np.full(SIZE, 500 + round(1000 * second), np.uint16))[1].tobytes()

    kind, form = "sensor_msgs/msg/CompressedImage", "16UC1; compressedDepth png"
    depth = [("/d", kind, START + s, START + s, {"format": form, "data": np.frombuffer(depth_png(s), np.uint8)}) for s in SHOWN]
    floats = [("/f", kind, START + s, START + s, {**depth[0][4], "format": "32FC1; compressedDepth png"}) for s in SHOWN]
    colour = [("/c", kind, START + s, START + s, packed(s)) for s in SHOWN]
    bag = write_bag(tmp_path / "packed", [*depth, *colour], "mcap")
    report = convert_bag(bag / "packed.mcap", tmp_path / "out", {})
    assert report.written == {"rgb": "8 pictures in 1.00 s", "depth": "8 pictures"}
    assert read_depth_film(tmp_path / "out" / "packed_depth.mkv", [0.31])[0, 0, 0] == 800
    report = convert_bag(write_bag(tmp_path / "floats", [*floats, *colour]), tmp_path / "out", {"rgb": "/c", "depth": "/f"})
    assert "8 messages: compressed depth images of format '32FC1; compressedDepth png'" in report.left_out["depth"]
    assert not (tmp_path / "out" / "floats_depth.mkv").exists()
    (tmp_path / "other").mkdir()
    again = write_bag(tmp_path / "other" / "packed", colour)
    done = CliRunner().invoke(app, ["convert", "rosbag", str(bag), str(again), "--out", str(tmp_path / "out")])
    assert "several bags are called packed" in str(done.exception or done.output)


@pytest.mark.parametrize(
    ("encoding", "pixels", "expected"),
    [("yuv422", [128, 200, 128, 200], 200), ("yuv422_yuy2", [200, 128, 200, 128], 200), ("mono8", [90] * 4, 90),
     ("bayer_rggb8", [70] * 4, 70), ("bayer_gbrg8", [70] * 4, 70), ("rgba8", [60, 60, 60, 0] * 2, 60)],
)  # fmt: skip
def test_what_cameras_deliver_becomes_rgb(encoding: str, pixels: list[int], expected: int) -> None:
    row = np.tile(np.array(pixels, np.uint8), 8)
    width = {"yuv422": 16, "yuv422_yuy2": 16, "rgba8": 16}.get(encoding, 32)
    image = SimpleNamespace(encoding=encoding, height=6, width=width, step=len(row), data=np.tile(row, 6).tobytes(), is_bigendian=0)
    found = picture_of(image)
    assert found.shape == (6, width, 3) and found.dtype == np.uint8
    expected = round((expected - 16) * 255 / 219) if encoding.startswith("yuv") else expected
    assert np.abs(found.astype(int) - expected).max() <= 2


def test_messages_that_cannot_be_read_are_counted_and_broken_bags_named(tmp_path: Path) -> None:
    torn = [(topic, kind, came, stamp, {**fields, "data": fields["data"][:99]}) for topic, kind, came, stamp, fields in camera()[2:4]]
    again = camera()[5:6]
    kept = [message for index, message in enumerate(camera()) if index not in (2, 3)]
    deep = [("/raw", "sensor_msgs/msg/Image", START + s, START + s, {**picture(s, "rgb8"), "encoding": "rgb16"}) for s in SHOWN]
    bag = write_bag(tmp_path / "torn", [*kept, *torn, *again, *deep])
    topics = ["--topic", "rgb=/camera/image_raw", "--topic", "raw_rgb=/raw"]
    done = CliRunner().invoke(app, ["convert", "rosbag", str(bag), "--out", str(tmp_path / "out"), *topics])
    assert done.exit_code == 0 and "rgb 6 pictures" in done.output
    assert "2 messages: images of 64 × 48 'bgr8' are left out: 99 bytes" in done.output and "1 messages: no later" in done.output
    assert "raw_rgb: left out: 8 messages: images of encoding 'rgb16'" in done.output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["torn.mp4"]
    (tmp_path / "none.bag").write_bytes(b"#ROSBAG V2.0\nnothing")
    cut = write_bag(tmp_path / "cut.bag", camera(), "ros1")
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    for broken in (tmp_path / "none.bag", cut, tmp_path / "nowhere"):
        with pytest.raises(MediaError, match=str(broken)):
            convert_bag(broken, tmp_path / "again", {})
    done = CliRunner().invoke(app, ["convert", "rosbag", str(cut), str(bag), "--out", str(tmp_path / "out"), *topics])
    assert done.exit_code == 3 and "cut.bag" in done.output and "rgb 6 pictures" in done.output


def encoded(codec: str, every: int) -> list[bytes]:
    """What a codec makes of each picture, with a key frame every few."""
    encoder: Any = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = SIZE[1], SIZE[0], "yuv420p", Fraction(1, 30)
    encoder.options = {"g": str(every), "bf": "0", "crf": "10", "tune": "zerolatency", "x265-params": f"keyint={every}:log-level=none"}
    packets = []
    for index, second in enumerate(SHOWN):
        pixels = np.zeros((*SIZE, 3), np.uint8)
        pixels[..., 0] = level(second)
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts = index
        packets += encoder.encode(frame)
    return [bytes(packet) for packet in [*packets, *encoder.encode(None)]]


@pytest.mark.parametrize(
    ("kind", "codec", "words"),
    [
        ("foxglove_msgs/msg/CompressedVideo", "libx264", {"format": "h264"}),
        ("foxglove_msgs/msg/CompressedVideo", "libx265", {"format": "h265"}),
        ("ffmpeg_image_transport_msgs/msg/FFMPEGPacket", "libx264", {"encoding": "h264_nvenc;yuv420p;bgr8;bgr8"}),
    ],
)
def test_cameras_that_were_recorded_as_video(kind: str, codec: str, words: dict[str, str], tmp_path: Path) -> None:
    """Recording began within a group of pictures, and one packet is broken."""
    packets = encoded(codec, 3)
    assert len(packets) == len(SHOWN)
    packets[7] = b"\0" * 40
    more = {"width": SIZE[1], "height": SIZE[0], "pts": 0, "flags": 0, "is_bigendian": False} if "encoding" in words else {}
    messages = [
        ("/video", kind, START + s + 0.03, START + s, {"data": np.frombuffer(packet, np.uint8), **words, **more})
        for s, packet in zip(SHOWN, packets, strict=True)
    ]
    report = convert_bag(write_bag(tmp_path / "walk", [*messages[1:], *imu()]), tmp_path, {})
    assert report.left_out == {"rgb": "3 messages: no picture comes of them, as before the first key frame"}
    assert report.written["rgb"].startswith("4 pictures in 0.80 s") and "imu" in report.written
    seen = read_frames(tmp_path / "walk.mp4", [0.4, 0.65, 0.75], 64, 48)[..., 0].mean((1, 2))  # from the second message on
    assert seen == pytest.approx([level(second) for second in (0.3, 0.7, 0.8)], abs=8)


def test_video_that_is_no_cameras_is_left_out(tmp_path: Path) -> None:
    with pytest.raises(KarmmaError, match="video of format 'prores;yuv422p' is left out; known: h264, hevc"):
        packet_of(SimpleNamespace(encoding="prores;yuv422p", data=np.zeros(3, np.uint8)))
    depth = {"width": 64, "height": 48, "encoding": "hevc;gray12le;mono16;16UC1", "pts": 0, "flags": 0, "is_bigendian": False}
    kind, data = "ffmpeg_image_transport_msgs/msg/FFMPEGPacket", np.zeros(9, np.uint8)
    bag = write_bag(tmp_path / "walk", [("/depth", kind, START, START, {**depth, "data": data}), *imu()])
    assert convert_bag(bag, tmp_path, {}).written.keys() == {"imu"}


def test_cameras_that_begin_later_keep_the_films_seconds(tmp_path: Path) -> None:
    """A file's seconds count from its first picture: one that begins later, or whose first messages are torn, must not move."""
    torn = [(topic, kind, came, stamp, {**fields, "data": fields["data"][:9]}) for topic, kind, came, stamp, fields in camera()[:2]]
    depth = [("/depth", "sensor_msgs/msg/Image", START + s, START + s, picture(s, "16UC1")) for s in (0.4, 0.6)]
    bag = write_bag(tmp_path / "late", [*torn, *camera()[2:], *camera("/side")[3:], *depth])
    report = convert_bag(bag, tmp_path, {"rgb": "/camera/image_raw", "side_rgb": "/side", "depth": "/depth"})
    assert report.written == {
        "rgb": "6 pictures in 1.00 s (none before 0.25 s: the first one stands from second 0 on)",
        "side_rgb": "5 pictures in 1.00 s (none before 0.30 s: the first one stands from second 0 on)",
        "depth": "2 pictures (none before 0.40 s: the first one stands from second 0 on)",
    }
    for film, first in (("late.mp4", 0.25), ("late_side_rgb.mp4", 0.3)):
        seen = [float(shown[..., 0].mean()) for shown in read_frames(tmp_path / film, [0.1, 0.75, 0.95], 64, 48)]
        assert seen == pytest.approx([level(second) for second in (first, 0.7, 0.9)], abs=6)
    assert read_depth_film(tmp_path / "late_depth.mkv", [0.1, 0.5, 0.7])[:, 0, 0].tolist() == [900, 900, 1100]


def test_a_driver_that_was_started_again_goes_on_in_the_same_file(tmp_path: Path) -> None:
    """A topic of ROS 1 has a connection for each node that published it."""
    store = get_typestore(Stores.ROS1_NOETIC)
    with Writer1(tmp_path / "again.bag") as writer:
        nodes = [writer.add_connection("/imu/data", "sensor_msgs/msg/Imu", typestore=store, callerid=f"/node{n}") for n in range(2)]
        for index, (_, kind, came, stamp, fields) in enumerate(imu()):
            raw = store.serialize_ros1(build(store, kind, stamp, fields), kind)
            writer.write(nodes[index > 100], round(came * 1e9), raw)
    assert convert_bag(tmp_path / "again.bag", tmp_path, {}).written["imu"] == "170 rows, 0.00 to 1.69 s"


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_a_recorder_that_was_killed_left_files_without_metadata(storage: str, tmp_path: Path) -> None:
    suffix = "db3" if storage == "sqlite3" else storage
    bags = [write_bag(tmp_path / f"walk_{n}", [m for m in imu() if (m[2] < START + 0.3) == (n == 9)], storage) for n in (9, 10)]
    (tmp_path / "walk").mkdir()
    for bag in bags:
        (bag / f"{bag.name}.{suffix}").rename(tmp_path / "walk" / f"{bag.name}.{suffix}")
    assert convert_bag(tmp_path / "walk", tmp_path / "out", {}).written["imu"] == "170 rows, 0.00 to 1.69 s"
    last = tmp_path / "walk" / f"walk_10.{suffix}"
    last.write_bytes(last.read_bytes()[:5000])
    with pytest.raises(MediaError, match="if its recording was cut short: `ros2 bag reindex`, `mcap recover`"):
        convert_bag(tmp_path / "walk", tmp_path / "out", {})


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("metadata.yaml", b"message_count: 8", b"message_count: null"),
        ("metadata.yaml", b"nanoseconds: ", b"nanoseconds: x"),
        ("bag.db3", b"SQLite format 3", b"SQLite format 9"),
        ("bag.db3", b"\x0d", b"\x0c"),  # the kind of its pages
        ("bag.db3", b"bgr8", b"\xff\xff\xff\xff"),
    ],
)
def test_a_bag_that_was_changed_is_named_whatever_its_parsers_raise(file: str, old: bytes, new: bytes, tmp_path: Path) -> None:
    where = write_bag(tmp_path / "bag", camera()) / file
    assert old in where.read_bytes()
    where.write_bytes(where.read_bytes().replace(old, new))
    with pytest.raises(MediaError, match=str(tmp_path / "bag")):
        convert_bag(tmp_path / "bag", tmp_path / "out", {})
