"""Live skeletons and depth pictures: the same as stored ones, health, faults, lines, films of 16-bit grey."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from typer.testing import CliRunner

import karmma
from karmma.cli import app
from karmma.deploy.faults import FaultySensor, parse_fault
from karmma.deploy.recordings import find_recordings
from karmma.deploy.sensors import Camera, Lines, SeriesFile, TableFile, VideoFile, parse_source
from karmma.deploy.session import StreamConfig, StreamSession
from karmma.deploy.stream import simulate_stream
from karmma.media.containers import MediaError
from karmma.media.depth_pictures import millimetres_of, read_depth_film, thinned
from karmma.media.live import ArrayBuffer
from karmma.modalities.depth import Depth
from karmma.types import KarmmaError

from .conftest import save_student


def sensors_of(files: dict[str, Path]) -> list[Any]:
    return [TableFile(files["imu"], "imu"), SeriesFile(files["skeleton"], "skeleton"), SeriesFile(files["depth"], "depth")]


def write_depth_film(path: Path, pictures: np.ndarray, codec: str = "ffv1", pixel_format: str = "gray16le") -> Path:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=30)
        stream.height, stream.width, stream.pix_fmt = *pictures.shape[1:], pixel_format
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(picture, format="gray16le").reformat(format=pixel_format)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="session")
def depth_film(body_files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    pictures = np.stack([millimetres_of(picture) for picture in np.load(body_files["depth"])["depth_metres"]])
    return write_depth_film(tmp_path_factory.mktemp("films") / "walk_depth.mkv", pictures)


def test_a_stream_sees_what_a_stored_segment_holds(
    body_student: karmma.Recognizer, body_files: dict[str, Path], depth_film: Path
) -> None:
    for depth in (SeriesFile(body_files["depth"], "depth"), VideoFile(depth_film, "depth")):
        session = StreamSession(body_student, StreamConfig(monitor=False))
        for due, _ in simulate_stream(session, [*sensors_of(body_files)[:2], depth], 5.0):
            if due < 2.0:
                continue
            window, _ = session.window(due)
            stored = body_student.read_window(None, due - 2.0, due, body_files)
            assert set(window.inputs) == set(body_student.modalities)
            assert np.array_equal(window.inputs["depth"], stored.inputs["depth"]), due
            np.testing.assert_allclose(window.inputs["skeleton"], stored.inputs["skeleton"], atol=0.01)
            np.testing.assert_allclose(window.inputs["imu"], stored.inputs["imu"], atol=0.05)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("skeleton=dead:2:4", "no data"), ("skeleton=frozen:2:4", "frozen"), ("skeleton=empty:2:4", "empty"),
        ("skeleton=broken:2:4", "not a number"), ("depth=dead:2:4", "no data"), ("depth=frozen:2:4", "frozen"),
        ("depth=empty:2:4", "empty"),
    ],
)  # fmt: skip
def test_an_ill_sensor_is_absent_and_the_others_go_on(
    body_student: karmma.Recognizer, body_files: dict[str, Path], depth_film: Path, fault: str, reason: str
) -> None:
    ill = fault.partition("=")[0]
    session = StreamSession(body_student, StreamConfig())
    sensors = [*sensors_of(body_files)[:2], VideoFile(depth_film, "depth")]
    events = {}
    for due, _ in simulate_stream(session, [FaultySensor(sensor, [parse_fault(fault)]) for sensor in sensors], 6.0):
        events[due] = session.answer(due)
    assert events[1.5].health == dict.fromkeys(("imu", "skeleton", "depth"), "present") and events[1.5].prediction is not None
    assert events[3.5].health[ill] == "absent" and events[3.5].reasons[ill] == reason
    assert events[3.5].prediction is not None and set(events[3.5].prediction.modalities) == {"imu", "skeleton", "depth"} - {ill}
    assert events[5.5].health[ill] == "present"


def test_lines_of_joints_and_lines_that_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    sensor = parse_source("skeleton=tcp:9002", 16000, {"skeleton": (2, 3)})[0]
    assert isinstance(sensor, Lines)
    delivered = list(sensor.parsed(io.StringIO("seconds,x0\n0.1,1,2,3,4,5,6\n0.2,1,2\n0.3,1,2,3,4,5,nan\n0.4,a,2,3,4,5,6\n")))
    assert delivered[0][0] == 0.1 and delivered[0][1].tolist() == [[1, 2, 3], [4, 5, 6]] and len(delivered) == 2
    said = capsys.readouterr().err
    assert "skeleton: line 3 is not seconds,x0,y0,z0,x1,y1,z1" in said and "line 5" in said
    buffer = ArrayBuffer(2.0, (2, 3))
    for seconds, joints in delivered:
        buffer.push(seconds, joints)
    assert buffer.arrived == 1 and buffer.broken == 1
    with pytest.raises(ValueError, match=r"shape \(3, 3\), expected \(2, 3\)"):
        buffer.push(0.5, np.zeros((3, 3)))


def test_a_tracker_of_pictures_is_heard_as_its_files_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """COCO's seventeen joints in pixels, y down; a confidence may stand behind each."""
    path = save_student(tmp_path / "student", {"skeleton": {"layout": "coco", "flat": True, "frames": 6}})
    student = karmma.load(path)
    assert student.specs["skeleton"].skeleton == "coco" and student.specs["skeleton"].input_shape == (6, 17, 3)
    random, seconds = np.random.default_rng(3), np.arange(90) / 30
    pixels = 320 + 40 * random.normal(size=(1, 17, 2)) + 5 * np.sin(seconds)[:, None, None]
    confident = np.concatenate([pixels, random.uniform(0, 1, (90, 17, 1))], -1)
    np.savez(tmp_path / "skeleton.npz", skeleton=pixels, seconds=seconds)
    stored = student.read_window(None, 0.5, 2.5, {"skeleton": tmp_path / "skeleton.npz"}).inputs["skeleton"]
    lines = Lines("-", "skeleton", pose_shape=(17, 2)).parsed(
        io.StringIO("\n".join(",".join(map(str, (second, *pose.ravel()))) for second, pose in zip(seconds, pixels, strict=True)))
    )
    for delivered in (zip(seconds, pixels, strict=True), zip(seconds, confident, strict=True), lines):
        session = StreamSession(student, StreamConfig(2.0, monitor=False))
        for second, pose in delivered:
            session.push("skeleton", float(second), pose)
        window, _ = session.window(2.5)
        np.testing.assert_allclose(window.inputs["skeleton"], stored, atol=1e-4)
    assert not stored[..., 2].any() and not capsys.readouterr().err
    for shape in ((25, 2), (2, 17)):  # of as many numbers, but another order
        with pytest.raises(ValueError, match=rf"shape \({shape[0]}, {shape[1]}\), expected \(17, 2\)"):
            session.push("skeleton", 3.0, np.zeros(shape))


def test_a_buffer_forgets_what_is_old_or_of_another_shape() -> None:
    buffer = ArrayBuffer(1.05)  # and the sample that was valid when that began
    assert buffer.series() is None and buffer.period_seconds() == 0
    for index in range(100):
        buffer.push(index / 10, np.full((2, 2), index, np.uint16))
    series = buffer.series()
    assert series is not None and series.values.dtype == np.uint16 and series.values[:, 0, 0].tolist() == list(range(88, 100))
    assert buffer.period_seconds() == pytest.approx(0.1)
    buffer.push(5.0, np.zeros((2, 2), np.uint16))
    buffer.push(10.0, np.zeros((3, 2), np.uint16))
    again = buffer.series()
    assert buffer.stale == 1 and again is not None and again.values.shape == (1, 3, 2)


def test_depth_pictures_become_millimetres() -> None:
    metres = np.array([[0.5, np.nan, np.inf], [1.2345, 100.0, -1.0]], np.float32)
    assert millimetres_of(metres).tolist() == [[500, 0, 0], [1234, 65535, 0]]
    assert millimetres_of(np.array([[70000, 3]], np.int64)).tolist() == [[65535, 3]]
    for wrong in (np.zeros((2, 2, 3)), np.array([["a"]])):
        with pytest.raises(ValueError, match="a depth picture has height and width"):
            millimetres_of(wrong)
    large = np.arange(720 * 1280, dtype=np.uint16).reshape(720, 1280)
    small = thinned(large, 640 * 480)
    assert small.shape == (360, 640) and np.array_equal(small, large[::2, ::2])
    assert thinned(large[:48, :64], 640 * 480).shape == (48, 64)


@pytest.mark.parametrize(("codec", "pixel_format", "suffix"), [("ffv1", "gray16le", "mkv"), ("png", "gray16be", "mov")])
def test_films_of_16_bit_grey_hold_depth_to_the_millimetre(tmp_path: Path, codec: str, pixel_format: str, suffix: str) -> None:
    pictures = (np.arange(20)[:, None, None] * 1000 + np.arange(48)[:, None] * 10 + np.arange(64)).astype(np.uint16)
    path = write_depth_film(tmp_path / f"depth.{suffix}", pictures, codec, pixel_format)
    assert np.array_equal(read_depth_film(path, [0.01, 0.011, 0.3 + 0.01, 99.0]), pictures[[0, 0, 9, 19]])
    assert (recording := find_recordings([], {"depth": tmp_path})[0]).name == "depth" and recording.sources == {"depth": path}


def test_large_frames_are_thinned_from_a_film_as_from_a_camera(tmp_path: Path) -> None:
    large = np.arange(3 * 720 * 1280, dtype=np.uint16).reshape(3, 720, 1280)
    film = write_depth_film(tmp_path / "depth.mkv", large)
    assert np.array_equal(read_depth_film(film, [0.01, 0.05]), large[:2, ::2, ::2])


def test_a_coloured_film_is_no_depth(clock_video: Path, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"frames are .*, not 16-bit grey"):
        Depth().read(clock_video, 0.0, 1.0)
    (tmp_path / "broken.mkv").write_bytes(b"no film")
    with pytest.raises(MediaError, match="broken.mkv"):
        Depth().read(tmp_path / "broken.mkv", 0.0, 1.0)


def test_sources_on_the_command_line(body_files: dict[str, Path], depth_film: Path, tmp_path: Path) -> None:
    assert parse_source(f"depth={depth_film}", 16000) == [VideoFile(depth_film, "depth")]
    assert parse_source(f"depth={body_files['depth']}", 16000) == [SeriesFile(body_files["depth"], "depth")]
    assert parse_source("depth=rtsp://camera/depth", 16000) == [Camera("rtsp://camera/depth", "depth")]
    with pytest.raises(KarmmaError, match="no such file; an .npz with `seconds`, - for standard input, or tcp:PORT"):
        parse_source("skeleton=nowhere.npz", 16000)
    np.savez(tmp_path / "timeless.npz", skeleton=np.zeros((4, 20, 3)))
    with pytest.raises(MediaError, match="has no clock; a stream needs an array `seconds` beside 'skeleton'"):
        list(SeriesFile(tmp_path / "timeless.npz", "skeleton").samples())


def test_karmma_stream_takes_them_all(body_path: Path, body_files: dict[str, Path], depth_film: Path, tmp_path: Path) -> None:
    sources = [f"imu={body_files['imu']}", f"skeleton={body_files['skeleton']}", f"depth={depth_film}"]
    options = ["--speed", "4", "--fault", "depth=empty:2.5:9", "--summary", str(tmp_path / "summary.json")]
    done = CliRunner().invoke(app, ["stream", str(body_path), *sources, *options])
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert any(row["modalities"] == ["imu", "skeleton", "depth"] for row in rows)
    assert rows[-1]["modalities"] == ["imu", "skeleton"] and rows[-1]["reasons"] == {"depth": "empty"}
    assert json.loads((tmp_path / "summary.json").read_text())["failed_sensors"] == {}
