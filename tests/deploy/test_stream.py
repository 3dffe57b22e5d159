"""Live sensors: buffers, clocks, health, faults, windows on time."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import karmma
from karmma.deploy.faults import Fault, FaultySensor, parse_fault
from karmma.deploy.health import ABSENT, DEGRADED, PRESENT, HealthConfig, make_monitors
from karmma.deploy.sensors import AudioFile, Camera, Lines, Microphone, SensorClock, TableFile, VideoFile, parse_source
from karmma.deploy.session import StreamConfig, StreamSession
from karmma.deploy.stream import simulate_stream
from karmma.media.live import FrameBuffer, PictureFrame, RowBuffer, SampleBuffer
from karmma.media.tables import AXES
from karmma.types import KarmmaError

VIDEO = "videos/P02/P02_01.MP4"


def sensors_of(root: Path) -> list[Any]:
    return [
        VideoFile(root / VIDEO), AudioFile(root / VIDEO, 16000), TableFile(root / "imu/P02/P02_01.csv", "imu"),
        TableFile(root / "boxes/P02/P02_01.csv", "detections"),
    ]  # fmt: skip


def test_a_stream_sees_what_a_stored_segment_holds(live_student: karmma.Recognizer, kitchen_root: Path) -> None:
    session = StreamSession(live_student, StreamConfig(hop_seconds=0.5, monitor=False))
    sources = {"imu": kitchen_root / "imu/P02/P02_01.csv", "detections": kitchen_root / "boxes/P02/P02_01.csv"}
    for due, _ in simulate_stream(session, sensors_of(kitchen_root), 4.0):
        if due < 2.0:
            continue
        window, _ = session.window(due)
        stored = live_student.read_window(kitchen_root / VIDEO, due - 2.0, due, sources)
        assert set(window.inputs) == set(live_student.modalities)
        assert np.array_equal(window.inputs["rgb"], stored.inputs["rgb"])
        np.testing.assert_allclose(window.inputs["audio"], stored.inputs["audio"], atol=0.02)
        np.testing.assert_allclose(window.inputs["imu"], stored.inputs["imu"], atol=1e-5)
        assert np.array_equal(window.inputs["flow"][0], stored.inputs["flow"][0])


def test_extractors_take_turns_and_windows_share_their_tokens(
    live_student: karmma.Recognizer, kitchen_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: dict[str, list[float]] = {name: [] for name in live_student.modalities}
    session = StreamSession(live_student, StreamConfig(monitor=False, hop_seconds=0.5, token_hop_seconds=1.0))
    encode = live_student.encode

    def counted(_: karmma.Recognizer, modality: str, inputs: np.ndarray) -> np.ndarray:
        calls[modality].append(due)
        return encode(modality, inputs)

    monkeypatch.setattr(type(live_student), "encode", counted)
    answers = {}
    for due, _ in simulate_stream(session, sensors_of(kitchen_root), 6.0):
        window, _ = session.window(due)
        assert window.encoded
        answers[due] = live_student.predict_windows([window])[0]
    moments = [number / 2 for number in range(1, 13)]
    own = {name: moments[0:1] + moments[1 + index % 2 :: 2] for index, name in enumerate(live_student.modalities)}
    assert calls == own
    assert all(answer.modalities == live_student.modalities for answer in answers.values())


def test_tokens_of_a_sensors_bad_time_are_not_used_again(live_student: karmma.Recognizer, kitchen_root: Path) -> None:
    config = StreamConfig(hop_seconds=0.5, token_hop_seconds=2.0)
    session = StreamSession(live_student, config)
    sensors = [FaultySensor(sensor, [parse_fault("video=black:3:5")]) for sensor in sensors_of(kitchen_root)]
    for due, _ in simulate_stream(session, sensors, 12.0):
        window, health = session.window(due)
        assert ("rgb" in window.inputs) == session.believed("rgb", health)
        if "rgb" in window.inputs:
            kept = session.kept_tokens["rgb"].stop_seconds
            assert due - kept < 2.0 and (kept < 4.0 or kept >= 6.0), (due, kept)
    assert "rgb" in window.inputs
    with pytest.raises(KarmmaError, match="token hop: 3 s does not lie between the hop of 0.5 s and the window of 2.0 s"):
        StreamConfig(token_hop_seconds=3)


def test_a_token_hop_of_one_hop_changes_no_answer(live_student: karmma.Recognizer, kitchen_root: Path) -> None:
    sessions = [StreamSession(live_student, StreamConfig(monitor=False, token_hop_seconds=hop)) for hop in (None, 0.5)]
    streams = [simulate_stream(session, sensors_of(kitchen_root), 3.0) for session in sessions]
    for (_, session), (due, _) in zip(*streams, strict=True):
        assert session.answer(due).prediction == sessions[1].answer(due).prediction


def test_flow_between_two_frames_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(*pair: Any) -> np.ndarray:
        calls.append(1)
        return np.zeros((4, 4, 2))

    monkeypatch.setattr("karmma.media.live.compute_flow", counted)
    buffer = FrameBuffer(2.0, [(4, 4)])
    for index in range(10):
        buffer.push(index / 10, PictureFrame(np.full((8, 8, 3), index, np.uint8)))
    for _ in range(3):
        buffer.flow(0.25, 0.35, 4, 4, "fast")
    assert len(calls) == 1
    buffer.push(9.0, PictureFrame(np.zeros((8, 8, 3), np.uint8)))
    assert len(buffer.held) <= 2 and not buffer.flows


def test_buffers_are_bounded_and_drop_what_is_stale() -> None:
    sound, rows = SampleBuffer(1.0, 100), RowBuffer(1.0, ("a", "b"))
    for index in range(1000):
        sound.push(index * 0.1, np.full(10, index, np.float32))
        rows.push(index * 0.1, (index, 0))
    assert len(sound.pieces) <= 12 and len(rows.rows) <= 11
    sound.push(50.0, np.zeros(10, np.float32))
    assert sound.stale == 1
    samples = sound.samples(99.0, 99.5)
    assert samples is not None and np.unique(samples).tolist() == [990, 991, 992, 993, 994]
    assert sound.samples(10.0, 11.0) is None
    assert rows.columns(99.05, 99.35)["a"].tolist() == [991, 992, 993]
    with pytest.raises(ValueError, match="3 values for the columns a, b"):
        rows.push(200.0, (1, 2, 3))


def test_a_sensor_with_a_clock_of_its_own_is_put_on_the_streams() -> None:
    random, clock = np.random.default_rng(0), SensorClock()
    found = [clock.to_stream(1000 + t, t + 0.03 + random.exponential(0.02)) - t for t in np.arange(0, 20, 0.05)]
    assert np.abs(np.array(found[40:]) - 0.03).max() < 0.02
    restarted = [clock.to_stream(t, 20 + t + 0.03) for t in np.arange(0, 2, 0.05)]
    assert restarted[-1] == pytest.approx(20 + 1.95 + 0.03, abs=0.05)


@dataclass(frozen=True)
class Scripted:
    """A sensor out of a list."""

    name: str
    deliveries: list[tuple[float, Any]]
    recorded: bool = True

    def samples(self) -> Iterator[tuple[float, Any]]:
        yield from self.deliveries


def states_under(fault: Fault, deliveries: list[tuple[float, Any]], buffer: Any, hop: float = 0.25) -> list[str]:
    """States at every hop of 20 seconds."""
    monitor = next(iter(make_monitors({fault.sensor: buffer}, HealthConfig()).values()))
    upcoming = iter(FaultySensor(Scripted(fault.sensor, deliveries), [fault]).samples())
    waiting, states = next(upcoming, None), []
    for due in np.arange(hop, 20, hop):
        while waiting is not None and waiting[0] <= due:
            buffer.push(*waiting)
            waiting = next(upcoming, None)
        states.append(monitor.judge(float(due)))
    return states


def scene(second: float) -> PictureFrame:
    """A picture with edges that drift, and a sensor's noise."""
    random = np.random.default_rng(round(second * 1000))
    y, x = np.mgrid[:96, :128]
    shift = 6 * np.sin(second)
    grey = 110 + 70 * np.sign(np.sin((x + shift) / 7)) * np.sign(np.sin((y - shift) / 9)) + random.normal(0, 2, (96, 128))
    return PictureFrame(np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, 2))


FRAMES = [(index / 12, scene(index / 12)) for index in range(240)]
SOUND = [
    (index * 0.05, np.random.default_rng(index).normal(0, 0.02, 800).astype(np.float32)) for index in range(400)
]  # fmt: skip
ROWS = [(index * 0.02, tuple(np.random.default_rng(index).normal((0, 9.8, 0, 0, 0, 0), 0.3))) for index in range(1000)]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [("video=dead", ABSENT), ("video=frozen", ABSENT), ("video=black", ABSENT), ("video=covered", ABSENT),
     ("video=defocused", DEGRADED), ("audio=dead", ABSENT), ("audio=silent", ABSENT), ("audio=clipped", DEGRADED),
     ("imu=dead", ABSENT), ("imu=stuck", ABSENT), ("imu=saturated", DEGRADED), ("imu=broken", ABSENT)],
)  # fmt: skip
def test_every_fault_is_noticed_within_two_seconds_and_forgotten_after(fault: str, expected: str) -> None:
    found = parse_fault(f"{fault}:8:13")
    deliveries: list[tuple[float, Any]] = {"video": FRAMES, "audio": SOUND, "imu": ROWS}[found.sensor]  # type: ignore[assignment]
    buffer = {
        "video": lambda: FrameBuffer(3.0, [(128, 96)]), "audio": lambda: SampleBuffer(3.0, 16000),
        "imu": lambda: RowBuffer(3.0, ("accel_x", "accel_y", "accel_z", "gyro_x", "gyro_y", "gyro_z")),
    }[found.sensor]()  # fmt: skip
    states = states_under(found, deliveries, buffer)
    moments = np.arange(0.25, 20, 0.25)
    assert all(state == PRESENT for state, second in zip(states, moments, strict=True) if second < 8), states
    assert all(state == expected for state, second in zip(states, moments, strict=True) if 10 <= second < 13), states
    assert all(state == PRESENT for state, second in zip(states, moments, strict=True) if 15 <= second < 19.5), states


def test_what_is_no_number_is_left_out_and_counted() -> None:
    rows, sound = RowBuffer(3.0, ("a", "label")), SampleBuffer(3.0, 10)
    monitor = make_monitors({"detections": rows}, HealthConfig())["detections"]
    rows.push(0.1, (1.0, "hand"))
    for second, value in ((0.2, np.nan), (np.nan, 1.0), (0.3, np.inf)):
        rows.push(second, (value, "hand"))
        sound.push(second, np.array([value, 0.5], np.float32))
    assert rows.columns(0.0, 9.0)["a"].tolist() == [1.0] and rows.broken == 3
    assert sound.broken == 3 and not sound.pieces and sound.samples(0.0, 1.0) is None
    assert monitor.look(9.0) == (ABSENT, "not a number")
    rows.push(9.0, (2.0, "hand"))
    assert monitor.look(9.0) == (PRESENT, "") and monitor.look(20.0) == (ABSENT, "no data")


def test_a_clock_that_stutters_is_forgiven() -> None:
    clock = SensorClock()
    assert clock.to_stream(10.0, 0.5) == pytest.approx(0.5)
    assert np.isnan(clock.to_stream(np.nan, 0.6))
    assert clock.to_stream(10.2, 0.7) == pytest.approx(0.7, abs=0.01)


def test_a_detector_of_other_labels_does_not_end_the_stream(
    live_student: karmma.Recognizer, kitchen_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    boxes = [(index / 10, (0.1, 0.1, 0.4, 0.4, 0.9, "left paw")) for index in range(40)]
    sensors: list[Any] = [VideoFile(kitchen_root / VIDEO), Scripted("detections", boxes)]
    events = list(live_student.stream(sensors, StreamConfig(monitor=False), duration_seconds=3.0, speed=4.0))
    assert all(event.prediction is not None and "detections" not in event.prediction.modalities for event in events[2:])
    assert "unknown label 'left paw'" in events[-1].reasons["detections"]
    assert capsys.readouterr().err.count("unknown label 'left paw'") == 1


def test_unknown_faults_and_sources_are_refused() -> None:
    with pytest.raises(KarmmaError, match="known are video: dead, frozen"):
        parse_fault("video=melted:1:2")
    with pytest.raises(KarmmaError, match="SENSOR=KIND:START:STOP"):
        parse_fault("video=frozen:1")
    with pytest.raises(KarmmaError, match=r"other sources are video=/dev/video0"):
        parse_source("nowhere.mp4", 16000)
    with pytest.raises(KarmmaError, match="a CSV, - for standard input, or tcp:PORT"):
        parse_source("imu=nowhere.csv", 16000)
    with pytest.raises(KarmmaError, match="or tcp:PORT with a port up to 65535"):
        parse_source("imu=tcp:99999", 16000)


def test_two_sources_of_one_sensor_and_no_time_at_all_are_refused(live_student: karmma.Recognizer, kitchen_root: Path) -> None:
    film = VideoFile(kitchen_root / VIDEO)
    with pytest.raises(KarmmaError, match="video has 2 sources; a sensor has one"):
        live_student.stream([film, film])
    nothing: list[dict[str, Any]] = [{"speed": 0.0}, {"speed": -1.0}, {"duration_seconds": 0.0}]
    for options in nothing:
        with pytest.raises(KarmmaError, match="speed and duration must be above 0"):
            live_student.stream([film], **options)


def test_devices_that_ffmpeg_cannot_open_at_all_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("karmma.deploy.sensors.is_input", lambda name: name == "alsa")
    with pytest.raises(KarmmaError, match=r"audio=pulse:default: FFmpeg has no pulse here; it has alsa \(karmma env"):
        parse_source("audio=pulse:default", 16000)
    with pytest.raises(KarmmaError, match="video=/dev/video0: FFmpeg has no v4l2"):
        parse_source("video=/dev/video0", 16000)
    assert parse_source("audio=alsa:default:CARD=PCH", 16000) == [Microphone("alsa:default:CARD=PCH", 16000)]
    assert parse_source("video=rtsp://camera/1", 16000) == [Camera("rtsp://camera/1")]


def test_a_microphone_is_opened_by_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[str, str | None]] = []

    def heard(address: str, system: str | None, kind: str) -> Iterator[tuple[float, av.AudioFrame]]:
        opened.append((address, system))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 48000
        yield 0.5, frame

    monkeypatch.setattr("karmma.deploy.sensors.until_lost", heard)
    for address in ("alsa:hw:1,0", "rtsp://camera/sound"):
        seconds, samples = next(Microphone(address, 16000).samples())
        assert seconds == 0.5 and samples.ndim == 1 and len(samples) > 1000
    assert opened == [("hw:1,0", "alsa"), ("rtsp://camera/sound", None)]


def test_lines_that_cannot_be_read_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["seconds,accel_x,…", "0.1,1,2,3,4,5,6", "nonsense", "0.2,1,2,3", "0.3,6,5,4,3,2,1", ""]
    assert [seconds for seconds, _ in Lines("-", "imu").parsed(lines)] == [0.1, 0.3]  # type: ignore[arg-type]
    assert "line 3 is not seconds,accel_x" in capsys.readouterr().err


class Stuck:
    """A sensor that never delivers anything and never ends."""

    name, recorded = "audio", False

    def __init__(self) -> None:
        self.released = threading.Event()

    def samples(self) -> Iterator[tuple[float, Any]]:
        self.released.wait(60)
        yield from ()


class Failing:
    """A sensor whose driver crashes."""

    name, recorded = "imu", False

    def samples(self) -> Iterator[tuple[float, Any]]:
        yield 0.0, (0.0,) * 6
        raise OSError("device lost")


def test_dead_and_crashing_sensors_block_nobody(student: karmma.Recognizer, kitchen_root: Path) -> None:
    stuck = Stuck()
    sensors: list[Any] = [VideoFile(kitchen_root / VIDEO), stuck, Failing()]
    running = student.stream(sensors, StreamConfig(hop_seconds=0.5), duration_seconds=3.0, speed=4.0)
    started = time.monotonic()
    events = list(running)
    stuck.released.set()
    summary = running.summary.row()
    assert time.monotonic() - started < 20 and summary["answered"] + summary["dropped"] == summary["windows"] == 6
    assert events[-1].prediction is not None and events[-1].prediction.modalities == ("rgb",)
    assert events[-1].health["audio"] == ABSENT and "device lost" in summary["failed_sensors"]["imu"]
    assert summary["latency_ms"]["p99"] > 0 and summary["uptime"]["audio"] == 0


def test_a_slow_student_drops_windows_and_counts_them(
    student: karmma.Recognizer, kitchen_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = student.predict_windows

    def slow(*arguments: Any) -> Any:
        time.sleep(0.2)
        return fast(*arguments)

    monkeypatch.setattr(type(student), "predict_windows", lambda self, *arguments: slow(*arguments))
    running = student.stream([VideoFile(kitchen_root / VIDEO)], StreamConfig(hop_seconds=0.1), duration_seconds=3.0, speed=2.0)
    list(running)
    summary = running.summary.row()
    assert summary["dropped"] > 5 and summary["windows"] == 30


def test_the_command_writes_events_and_a_summary(student_path: Path, kitchen_root: Path, tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "karmma.cli", "stream", str(student_path), str(kitchen_root / VIDEO), "--speed", "8",
        "--fault", "audio=silent:4:9", "--summary", str(tmp_path / "summary.json"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    by_time = {event["stop_seconds"]: event for event in events}
    assert by_time[3.0]["health"] == {"video": PRESENT, "audio": PRESENT, "imu": ABSENT}
    assert by_time[7.0]["reasons"]["audio"] == "silent" and "audio" not in by_time[3.0]["reasons"]
    assert by_time[7.0]["health"]["audio"] == ABSENT and by_time[7.0]["modalities"] == ["rgb"]
    assert by_time[12.0]["modalities"] == ["rgb", "audio"]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["answered"] == len(events) and 0.3 < summary["uptime"]["audio"] < 0.8


def test_a_coarse_imu_at_rest_is_well_and_one_at_its_end_stops_is_not() -> None:
    """Values in steps of 0.02: at rest many of them are the largest there is, which is no end stop."""
    buffer = RowBuffer(3.0, AXES)
    monitor = make_monitors({"imu": buffer}, HealthConfig())["imu"]
    random, states = np.random.default_rng(0), {}
    for tick in range(900):
        seconds = tick / 50
        swing = np.sin(7 * seconds + np.arange(6)) * 5 if seconds < 4 or seconds >= 12 else np.zeros(6)
        values = np.round((swing + np.array([0, 0, 9.8, 0, 0, 0]) + random.normal(0, 0.01, 6)) / 0.02) * 0.02
        buffer.push(seconds, tuple((np.clip(4 * values, -9, 9) if seconds >= 14 else values).tolist()))
        if tick % 5 == 4:
            states[round(seconds, 2)] = monitor.judge(seconds)
    assert {state for seconds, state in states.items() if seconds < 14} == {PRESENT}
    assert {state for seconds, state in states.items() if seconds > 15} == {DEGRADED}
