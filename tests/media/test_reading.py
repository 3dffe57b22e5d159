"""Media by seconds, hostile files included."""

from __future__ import annotations

import itertools
import shutil
import wave
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.stream import Disposition

from karmma.media import video
from karmma.media.audio import MonoResampler, read_audio
from karmma.media.containers import MediaError
from karmma.media.flow import compute_flow, quantise, resolved
from karmma.media.inspection import inspect_file
from karmma.media.probe import probe
from karmma.media.tables import read_table, require_finite, rows_between
from karmma.media.video import read_frames
from karmma.media.write import VideoWriter

CLIPS = Path(__file__).resolve().parents[3] / "shared" / "data" / "clips"
needs_clips = pytest.mark.skipif(not CLIPS.is_dir(), reason="real media files are not beside the checkout")


def level(picture: np.ndarray) -> float:
    return float(picture.mean())


def test_frames_are_those_shown_at_the_asked_seconds(clock_video: Path) -> None:
    pictures = read_frames(clock_video, [0.05, 1.0, 1.09, 2.55, 3.95], 32, 24)
    assert pictures.shape == (5, 24, 32, 3) and pictures.dtype == np.uint8
    for picture, frame in zip(pictures, (0, 10, 10, 25, 39), strict=True):
        assert level(picture) == pytest.approx(20 + 5 * frame, abs=2.5)


def test_seeking_and_reading_on_agree(clock_video: Path) -> None:
    whole = read_frames(clock_video, [index / 10 + 0.05 for index in range(40)], 64, 48)
    for index in (0, 7, 23, 39):
        assert np.array_equal(read_frames(clock_video, [index / 10 + 0.05], 64, 48)[0], whole[index])


@pytest.mark.parametrize("b_frames", [0, 3])
def test_leaving_out_frames_that_nobody_needs_changes_no_picture(b_frames: int, tmp_path: Path) -> None:
    path, random = tmp_path / "moving.mp4", np.random.default_rng(0)
    canvas = np.asarray(cv2.resize(random.integers(0, 255, (40, 60, 3), np.uint8), (480, 320)), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.options = {"g": "48", "bf": str(b_frames), "preset": "veryfast"}
        for index in range(150):
            picture = np.ascontiguousarray(canvas[index : index + 120, 2 * index : 2 * index + 160])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    for first in (0.0, 0.5, 2.17, 5.4):
        seconds = [first + step * 0.11 for step in range(6)]
        needed = video.read_needed(path, seconds, 80, 60)
        assert needed is not None
        assert np.array_equal(needed, np.stack(video.read_all(path, seconds, 80, 60)))


def test_a_file_that_is_replaced_between_two_reads_is_read_anew(clock_video: Path, mute_video: Path, tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    shutil.copyfile(clock_video, path)
    late = read_frames(path, [3.95], 32, 24)
    assert read_audio(path, 2.5, 3.0, 8000) is not None
    path.unlink()
    shutil.copyfile(mute_video, path)
    assert read_audio(path, 0.5, 1.0, 8000) is None and not np.array_equal(read_frames(path, [1.0], 32, 24), late)
    path.unlink()
    with pytest.raises(MediaError, match="no such file"):
        read_frames(path, [1.0], 32, 24)


def test_reading_does_not_depend_on_what_was_read_before(kitchen_root: Path) -> None:
    path = kitchen_root / "videos/P02/P02_01.MP4"
    places = [(0.0, 2.0), (5.0, 8.0), (-0.5, 1.5), (12.5, 15.0), (0.3, 1.0), (9.0, 13.9)]
    once = [(read_audio(path, *place, 16000), read_frames(path, [max(place[0], 0.0), place[1]], 48, 36)) for place in places]
    for (sound, pictures), place in zip(reversed(once), reversed(places), strict=True):
        again = read_audio(path, *place, 16000)
        assert sound is not None and again is not None and np.array_equal(again, sound), place
        assert np.array_equal(read_frames(path, [max(place[0], 0.0), place[1]], 48, 36), pictures), place


def test_two_readers_of_one_file_do_not_disturb_each_other(clock_video: Path) -> None:
    one, other = video.decode_from(clock_video, 0.0), video.decode_from(clock_video, 2.0)
    for index in range(10):
        assert next(one).seconds == pytest.approx(index / 10) and next(other).seconds == pytest.approx(2 + index / 10)
    del one
    assert next(video.decode_from(clock_video, 1.0)).seconds == pytest.approx(1.0)


def test_seconds_beyond_the_end_show_the_last_frame(clock_video: Path) -> None:
    pictures = read_frames(clock_video, [3.95, 9.0], 32, 24)
    assert np.array_equal(pictures[0], pictures[1])
    assert level(read_frames(clock_video, [60.0], 32, 24)[0]) == pytest.approx(215, abs=3)


def test_audio_is_cut_by_seconds(clock_video: Path) -> None:
    silent, loud = read_audio(clock_video, 0.5, 1.5, 8000), read_audio(clock_video, 2.5, 3.5, 8000)
    assert silent is not None and loud is not None and len(silent) == len(loud) == 8000
    assert np.abs(silent).max() < 0.01
    assert np.sqrt(np.mean(loud**2)) == pytest.approx(0.5 / 2**0.5, rel=0.05)
    onset = read_audio(clock_video, 1.9, 2.1, 16000)
    assert onset is not None
    assert np.flatnonzero(np.abs(onset) > 0.25)[0] == pytest.approx(1600, abs=160)


@pytest.mark.parametrize("channels", [1, 2, 6, 8, 16])
def test_the_same_sound_on_several_channels_is_as_loud_as_on_one(channels: int, tmp_path: Path) -> None:
    """As in the .wav files that `ffmpeg -ac 1` writes and published extractors were trained on."""
    with wave.open(str(tmp_path / "sound.wav"), "wb") as target:
        target.setnchannels(channels)
        target.setsampwidth(2)
        target.setframerate(16000)
        target.writeframes(np.full((16000, channels), 8192, "<i2").tobytes())
    heard = read_audio(tmp_path / "sound.wav", 0.0, 1.0, 8000)
    assert heard is not None
    np.testing.assert_allclose(heard[100:-100], 0.25, atol=1e-3)


def test_a_stream_may_change_its_channels_midway() -> None:
    mono, heard = MonoResampler(8000), []
    for number, layout in enumerate(("mono", "stereo", "stereo", "5.1")):
        samples = np.full((1, 4000 * av.AudioLayout(layout).nb_channels), 0.25, np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="flt", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = 16000, 4000 * number, Fraction(1, 16000)
        heard += mono.resample(frame)
    heard += mono.resample(None)
    begins = [(round(seconds * 8000), len(samples)) for samples, seconds in heard]
    assert all(first + length == second for (first, length), (second, _) in itertools.pairwise(begins))
    whole = np.concatenate([samples for samples, _ in heard])
    assert len(whole) == 8000 and np.abs(whole - 0.25).mean() < 2e-3


def shifted(film: Path, path: Path, late: dict[str, float]) -> Path:
    """The film again, its streams of a kind later."""
    with av.open(str(film)) as source, av.open(str(path), "w") as target:
        streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None and packet.pts is not None:
                ticks = round(late.get(packet.stream.type, 0.0) / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts + ticks, packet.dts + ticks, streams[packet.stream.index]
                target.mux(packet)
    return path


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize(("sound", "pictures"), [(1.0, 0.0), (0.0, 0.5), (1.5, 0.5)])
def test_sound_and_pictures_stay_together_where_one_of_them_begins_later(
    sound: float, pictures: float, suffix: str, clock_video: Path, tmp_path: Path
) -> None:
    """A file's second 0 is when the first of them begins, as players count."""
    film = shifted(clock_video, tmp_path / f"late.{suffix}", {"audio": sound, "video": pictures})
    moments = [index / 100 for index in range(600)]
    shown = np.array([level(picture) for picture in read_frames(film, moments, 32, 24)])
    heard = read_audio(film, 0.0, 6.0, 16000)
    assert heard is not None
    bright, loud = moments[int(np.argmax(shown > 117))], float(np.argmax(np.abs(heard) > 0.2)) / 16000  # both at second 2 before
    assert bright - loud == pytest.approx(pictures - sound, abs=0.02)
    assert min(bright - pictures, loud - sound) == pytest.approx(2.0 - min(sound, pictures), abs=0.08)  # AAC's first packet is earlier
    for moment in (0.61, 1.37, 2.66, 3.9):  # entered anywhere
        assert level(read_frames(film, [moment], 32, 24)[0]) == shown[round(100 * moment)]


def test_sound_that_goes_on_behind_the_pictures_is_no_broken_file(clock_video: Path, tmp_path: Path) -> None:
    report = inspect_file(shifted(clock_video, tmp_path / "late.mkv", {"audio": 2.5}), ("rgb", "audio"))
    assert not report.errors and report.warnings == ["its pictures end at 3.90 s, its sound goes on to 6.50 s"]
    assert report.facts["decodable_seconds"] == pytest.approx(3.9, abs=0.01)


def test_the_cover_of_a_sound_file_is_no_film(tmp_path: Path) -> None:
    path = tmp_path / "note.mp3"
    with av.open(str(path), "w") as container:
        track, cover = container.add_stream("mp3", rate=16000, layout="mono"), container.add_stream("png")
        cover.width, cover.height, cover.pix_fmt, cover.disposition = 64, 48, "rgb24", Disposition.attached_pic
        picture = av.Packet(cv2.imencode(".png", np.full((48, 64, 3), 200, np.uint8))[1].tobytes())
        picture.stream, picture.pts, picture.dts, picture.is_keyframe = cover, 0, 0, True
        container.start_encoding()
        container.mux(picture)
        sound = av.AudioFrame.from_ndarray(np.full((1, 32000), 0.3, np.float32), format="fltp", layout="mono")
        sound.sample_rate, sound.pts = 16000, 0
        for piece in av.AudioResampler("fltp", "mono", 16000, frame_size=576).resample(sound):
            container.mux(track.encode(piece))
        container.mux(track.encode(None))
    assert not probe(path).has_video and probe(path).has_audio
    report = inspect_file(path, ("rgb", "audio"))
    assert "codec" not in report.facts and not report.errors
    with pytest.raises(MediaError, match="has no video stream"):
        read_frames(path, [0.1], 32, 24)


def test_silence_is_not_absence(clock_video: Path, mute_video: Path) -> None:
    assert read_audio(clock_video, 0.0, 1.0, 16000) is not None
    assert read_audio(mute_video, 0.0, 1.0, 16000) is None
    assert read_audio(clock_video, 100.0, 101.0, 16000) is None


def test_probe_tells_length_and_streams(clock_video: Path, mute_video: Path) -> None:
    info = probe(clock_video)
    assert info.duration_seconds == pytest.approx(4.0, abs=0.1) and info.has_audio
    assert not probe(mute_video).has_audio


@pytest.mark.parametrize("kind", ["missing", "empty", "garbage", "headless"])
def test_broken_files_are_named_with_the_decoders_words(kind: str, tmp_path: Path, clock_video: Path) -> None:
    path = tmp_path / "broken.mp4"
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "garbage":
        path.write_bytes(bytes(range(256)) * 200)
    elif kind == "headless":
        path.write_bytes(clock_video.read_bytes()[:4000])
    for read in (lambda: read_frames(path, [0.0], 8, 8), lambda: read_audio(path, 0, 1, 8000), lambda: probe(path)):
        with pytest.raises(MediaError, match="broken.mp4"):
            read()


def test_a_stream_cut_off_midway_still_gives_its_beginning(tmp_path: Path) -> None:
    whole = tmp_path / "whole.mp4"
    with VideoWriter(whole, 64, 48, 10) as writer:
        random = np.random.default_rng(0)
        for _ in range(40):
            writer.write_frame(random.integers(0, 255, (48, 64, 3), dtype=np.uint8))
    content = bytearray(whole.read_bytes())
    middle = len(content) // 2
    content[middle : middle + len(content) // 4] = bytes(len(content) // 4)
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(bytes(content))
    assert read_frames(damaged, [0.05, 0.35], 16, 16).shape == (2, 16, 16, 3)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_behind_the_break_of_a_film_nobody_reads_all_of_it(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, frames = tmp_path / f"long.{suffix}", list[float]()
    with av.open(str(path), "w", options={"movflags": "faststart"} if suffix == "mp4" else {}) as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.options = 64, 48, "yuv420p", {"g": "10"}
        for index in range(1200):
            noise = np.random.default_rng(index).integers(0, 255, (48, 64, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="rgb24")))
        container.mux(stream.encode(None))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    class Counted(video.DecodedFrame):
        def __init__(self, seconds: float, frame: av.VideoFrame) -> None:
            super().__init__(seconds, frame)
            frames.append(seconds)

    monkeypatch.setattr(video, "DecodedFrame", Counted)
    with pytest.raises(MediaError):
        read_frames(path, [100.0, 101.0], 32, 24, 0.5)
    assert len(frames) < 300


def test_a_writer_that_fails_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stop"), VideoWriter(tmp_path / "half.mp4", 64, 48, 10) as writer:
        writer.write_frame(np.zeros((48, 64, 3), np.uint8))
        raise RuntimeError("stop")
    assert list(tmp_path.iterdir()) == []


def test_flow_finds_a_shift_and_is_bounded() -> None:
    random = np.random.default_rng(0)
    picture = np.kron(random.integers(0, 255, (16, 20), dtype=np.uint8), np.ones((4, 4), np.uint8))
    before = np.repeat(picture[..., None], 3, 2)
    after = np.roll(before, 3, axis=1)
    flow = compute_flow(before, after, "medium")
    assert np.median(flow[8:-8, 12:-8, 0]) == pytest.approx(3, abs=0.3)
    assert np.median(flow[8:-8, 12:-8, 1]) == pytest.approx(0, abs=0.3)
    assert quantise(np.array([-99.0, 0.0, 5.0], np.float32), 10.0).tolist() == [-127, 0, 64]


def test_flow_does_not_depend_on_the_sizes_seen_before() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (250, 330, 3), np.uint8)
    picture = np.asarray(cv2.GaussianBlur(noise, (0, 0), 3), np.uint8)
    pair = np.ascontiguousarray(picture[:240, :320]), np.ascontiguousarray(picture[3:243, 2:322])
    before = compute_flow(*pair, "ultrafast")
    compute_flow(pair[0][:40, :50].copy(), pair[1][:40, :50].copy(), "ultrafast")
    assert np.array_equal(compute_flow(*pair, "ultrafast"), before)


def test_threads_find_the_flow_that_one_alone_finds() -> None:
    random = np.random.default_rng(1)
    pictures = [np.asarray(cv2.GaussianBlur(random.integers(0, 255, (90, 120, 3), np.uint8), (0, 0), 2), np.uint8) for _ in range(9)]
    pairs = list(itertools.pairwise(pictures)) * 12
    alone = [compute_flow(one, other, "fast") for one, other in pairs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda pair: compute_flow(pair[0], pair[1], "fast"), pairs))
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))


def test_the_method_for_flow_follows_the_size() -> None:
    assert [resolved("auto", side) for side in (58, 90, 91, 400)] == ["medium", "medium", "light", "light"]
    assert resolved("ultrafast", 58) == "ultrafast"


def test_tables_name_file_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "imu.csv"
    path.write_text("seconds,accel_x\n0.0,1\n0.1,2\n0.2,3\n")
    assert rows_between(read_table(path), 0.05, 0.2)["accel_x"].tolist() == [2.0]
    for text, words in (
        ("time,accel_x\n0,1\n", "no column 'seconds'"),
        ("seconds,accel_x\n0,1\n0.2\n", "line 3: 1 values for 2 columns"),
        ("seconds,accel_x\n0,fast\n", "column 'accel_x'"),
        ("seconds,gyro_x\n0,1\n", "no column 'accel_x'; found: seconds, gyro_x"),
        ("seconds,accel_x\n0,1\n0.2,1\n0.1,1\n", "line 4: seconds go backwards"),
        ("seconds,accel_x\n0,1\nnan,1\n", "line 3: seconds go backwards or are not a number"),
        ("", "no column 'seconds'; found: nothing"),
    ):
        bad = tmp_path / f"bad{abs(hash(text))}.csv"
        bad.write_text(text)
        with pytest.raises(MediaError, match=words):
            read_table(bad, ("accel_x",))


def test_of_a_table_only_what_is_needed_must_be_numbers(tmp_path: Path) -> None:
    path = tmp_path / "imu.csv"
    path.write_text("device,seconds,accel_x\nleft,0.0,1\nright,0.1,\nleft,0.2,3\n")
    assert list(read_table(path, ("accel_x",))) == ["seconds", "accel_x"]
    everything = read_table(path)
    assert everything["device"].tolist() == ["left", "right", "left"] and list(everything) == ["seconds", "device", "accel_x"]
    require_finite(path, rows_between(everything, 0.15, 1.0))
    with pytest.raises(MediaError, match=r"imu.csv: column 'accel_x' is not a number at 0.100 s"):
        require_finite(path, rows_between(everything, 0.0, 1.0))


@needs_clips
def test_real_files_of_all_kinds_are_read() -> None:
    assert read_frames(CLIPS / "flipping_a_pancake.mkv", [1.0, 2.0], 32, 24).std() > 5
    sound = read_audio(CLIPS / "flipping_a_pancake.mkv", 1.0, 2.0, 16000)
    assert sound is not None and np.abs(sound).max() > 0.001
    assert read_frames(CLIPS / "mpeg4_mp3.avi", [0.5], 32, 24).shape == (1, 24, 32, 3)
    assert read_audio(CLIPS / "mpeg4_mp3.avi", 0.2, 0.7, 16000) is not None
    assert read_audio(CLIPS / "no_audio.mp4", 0.0, 1.0, 16000) is None


@needs_clips
def test_rotation_in_the_metadata_is_undone() -> None:
    import av

    with av.open(str(CLIPS / "rotated_90.mov")) as container:
        frame = next(container.decode(container.streams.video[0]))
        turns = round(-frame.rotation / 90) % 4
        assert turns % 2 == 1
        upright = np.rot90(frame.to_ndarray(format="rgb24"), turns)
    picture = read_frames(CLIPS / "rotated_90.mov", [0.0], upright.shape[1], upright.shape[0])[0]
    assert np.abs(picture.astype(int) - upright.astype(int)).mean() < 2
