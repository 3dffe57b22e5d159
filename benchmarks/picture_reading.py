"""Random clips out of tars of numbered pictures, as EPIC-KITCHENS-100 comes: this reader, decoding alone, a list for each clip.

python benchmarks/picture_reading.py WORK_DIR

Forty tars of 10,000 pictures of 456×256 (all the same one), more than the reader that came before kept lists of (32). Sixteen
pictures over two seconds from a random place of a random tar, at 224 pixels short side, one thread. `first_pass` meets each tar for
the first time, `later` no more. The floor reads and decodes the same bytes at known places; `listed_anew` lists a tar for every clip,
which is what a reader does that keeps too few lists.
"""

from __future__ import annotations

import io
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from recording import write_result

from karmma.media.pictures import TARS, PictureSequence, list_pictures, read_picture_frames
from karmma.workers import use_one_thread

TARFILES, PICTURES, FRAMES_HZ, FRAMES, CLIPS = 40, 10_000, 60.0, 16, 120
SIZE = 398, 224  # width, height
Clip = tuple[PictureSequence, list[float]]


def write_tars(work: Path) -> list[Path]:
    """The tars, made once."""
    rough = np.random.default_rng(0).integers(0, 255, (16, 28, 3), dtype=np.uint8)
    smooth = cv2.resize(rough, (456, 256), interpolation=cv2.INTER_CUBIC)
    picture = cv2.imencode(".jpg", smooth, [cv2.IMWRITE_JPEG_QUALITY, 50])[1].tobytes()
    paths = [work / f"P01_{number:02d}.tar" for number in range(TARFILES)]
    for path in (path for path in paths if not path.exists()):
        with tarfile.open(path.with_suffix(".part"), "w") as archive:
            for number in range(1, PICTURES + 1):
                member = tarfile.TarInfo(f"./frame_{number:010d}.jpg")
                member.size = len(picture)
                archive.addfile(member, io.BytesIO(picture))
        path.with_suffix(".part").rename(path)
    return paths


def draw_clips(paths: list[Path], seed: int) -> list[Clip]:
    random = np.random.default_rng(seed)
    sequences = [PictureSequence(paths[place], FRAMES_HZ) for place in random.integers(len(paths), size=CLIPS)]
    starts = random.uniform(0, PICTURES / FRAMES_HZ - 3, CLIPS)
    return [(one, [start + 2 * i / FRAMES for i in range(FRAMES)]) for one, start in zip(sequences, starts, strict=True)]


def ours(clip: Clip) -> None:
    read_picture_frames(clip[0], clip[1], *SIZE)


def listed_anew(clip: Clip) -> None:
    TARS.kept.clear()
    ours(clip)


def floor(clip: Clip) -> None:
    """The same pictures, decoded and made smaller, at places that are known."""
    sequence, seconds = clip
    pictures = list_pictures(sequence.path)
    for second in seconds:
        content = np.frombuffer(pictures.read(sequence.number_at(second)), np.uint8)
        picture = cv2.imdecode(content, cv2.IMREAD_COLOR_RGB)
        assert picture is not None
        cv2.resize(picture, SIZE, interpolation=cv2.INTER_AREA)


def rate_of(read: Callable[[Clip], None], clips: list[Clip]) -> float:
    """Clips per second."""
    began = time.perf_counter()
    for clip in clips:
        read(clip)
    return round(len(clips) / (time.perf_counter() - began), 2)


def main() -> None:
    use_one_thread()
    paths = write_tars(Path(sys.argv[1]))
    clips = draw_clips(paths, 0)
    first_pass = rate_of(ours, clips)
    for path in paths:
        list_pictures(path)
    began = time.perf_counter()
    TARS.kept.clear()
    listed = list_pictures(paths[0])
    listing = time.perf_counter() - began
    for path in paths:
        list_pictures(path)
    arrays = [part for part in (listed.numbers, listed.offsets, listed.sizes) if part is not None]
    drawn = [draw_clips(paths, seed) for seed in (1, 2, 3)]
    later = [{"ours": rate_of(ours, clips), "floor": rate_of(floor, clips)} for clips in drawn]
    result = {
        "tars": TARFILES, "pictures_per_tar": PICTURES, "frames_per_clip": FRAMES,
        "listing_seconds_per_tar": round(listing, 3), "list_bytes_per_picture": sum(part.nbytes for part in arrays) / PICTURES,
        "clips_per_second": {"first_pass": first_pass, "later": later, "listed_anew": rate_of(listed_anew, draw_clips(paths, 4))},
    }  # fmt: skip
    write_result("picture_reading", result)


if __name__ == "__main__":
    main()
