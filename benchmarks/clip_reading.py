"""Random clips out of long H.264 files: this project's reader, the bare decoder, and the usual OpenCV loader.

python benchmarks/clip_reading.py WORK_DIR

Sixteen frames over two seconds at 224 pixels short side and a log-mel picture of the sound, random starts, two worker processes,
each way in turn on the same clips, three rounds, the median of rounds. The bare decoder seeks and decodes the same
frames in order and does nothing with them. The OpenCV loader has what helps it: sound as a WAV file beside the video.
"""

from __future__ import annotations

import statistics
import sys
import time
import wave
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import scipy.signal
from footage import FRAMES_HZ, write_footage
from recording import write_result

from karmma.media.audio import read_audio
from karmma.media.video import read_all, read_frames
from karmma.modalities.audio import log_mel
from karmma.preparation.bench import plain_decode
from karmma.workers import worker_pool

FRAMES, SECONDS, CLIPS, ROUNDS, RATE_HZ = 16, 2.0, 48, 3, 16000
SIZES = {"456x256": (456, 256), "1920x1080": (1920, 1080)}
Job = tuple[Path, float]


def moments(start: float) -> list[float]:
    return [start + SECONDS * (index + 0.5) / FRAMES for index in range(FRAMES)]


def small_size(path: Path) -> tuple[int, int]:
    width, height = SIZES[path.stem]
    return 2 * round(width * 224 / height / 2), 224


def ours(job: Job) -> int:
    path, start = job
    pictures = read_frames(path, moments(start), *small_size(path))
    samples = read_audio(path, start, start + SECONDS, RATE_HZ)
    assert samples is not None
    return pictures.shape[0] + log_mel(samples, RATE_HZ, 512, 256, 64).shape[0]


def ours_video_only(job: Job) -> int:
    return len(read_frames(job[0], moments(job[1]), *small_size(job[0])))


def ours_every_frame_decoded(job: Job) -> int:
    return len(read_all(job[0], moments(job[1]), *small_size(job[0])))


def bare_decoder(job: Job) -> int:
    return plain_decode(job[0], moments(job[1])[0], moments(job[1])[-1])


def opencv_loader(job: Job) -> int:
    path, start = job
    capture = cv2.VideoCapture(str(path))
    capture.set(cv2.CAP_PROP_POS_FRAMES, int(moments(start)[0] * FRAMES_HZ))
    at, pictures = int(moments(start)[0] * FRAMES_HZ), []
    for second in moments(start):
        while at < int(second * FRAMES_HZ):
            capture.grab()
            at += 1
        _, picture = capture.read()
        at += 1
        pictures.append(cv2.cvtColor(cv2.resize(picture, small_size(path), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB))
    with wave.open(str(path.with_suffix(".wav"))) as sound:
        sound.setpos(int(start * RATE_HZ))
        samples = np.frombuffer(sound.readframes(int(SECONDS * RATE_HZ)), np.int16).astype(np.float32) / 32768
    spectrum = scipy.signal.spectrogram(samples, RATE_HZ, nperseg=512, noverlap=256)[2]
    return len(pictures) + len(np.log(spectrum + 1e-5))


WAYS: dict[str, Callable[[Job], int]] = {
    "bare decoder": bare_decoder, "this reader, video": ours_video_only, "this reader, video and log-mel sound": ours,
    "this reader without leaving out frames, video": ours_every_frame_decoded, "OpenCV loader, video and sound": opencv_loader,
}  # fmt: skip


def write_wav(path: Path) -> None:
    with av.open(str(path)) as container:
        seconds = (container.duration or 0) / av.time_base
    samples = read_audio(path, 0.0, seconds, RATE_HZ)
    assert samples is not None
    with wave.open(str(path.with_suffix(".wav")), "wb") as sound:
        sound.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        sound.writeframes((samples * 32767).astype(np.int16).tobytes())


def measure(path: Path) -> dict[str, float]:
    """Seconds for all clips by each way, the median of rounds that take the ways in turn."""
    starts = np.random.default_rng(0).uniform(0, 590, CLIPS)
    jobs = [(path, float(start)) for start in starts]
    times: dict[str, list[float]] = {name: [] for name in WAYS}
    with worker_pool(2) as pool:
        list(pool.map(ours, jobs[:4]))
        for _ in range(ROUNDS):
            for name, way in WAYS.items():
                started = time.perf_counter()
                list(pool.map(way, jobs))
                times[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    work = Path(sys.argv[1])
    work.mkdir(parents=True, exist_ok=True)
    result = {}
    for name, (width, height) in SIZES.items():
        path = write_footage(work / f"{name}.mp4", width, height, 10)
        write_wav(path)
        seconds = measure(path)
        bare, opencv = seconds["bare decoder"], seconds["OpenCV loader, video and sound"]
        result[name] = {
            "clips_per_second": {way: round(CLIPS / value, 2) for way, value in seconds.items()},
            "time_over_bare_decoder": {way: round(value / bare, 3) for way, value in seconds.items()},
            "faster_than_opencv": round(opencv / seconds["this reader, video and log-mel sound"], 2),
        }
    write_result("clip_reading", {"clips": CLIPS, "workers": 2, "key_frame_every": 250, **result})


if __name__ == "__main__":
    main()
