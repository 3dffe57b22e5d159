"""Published detections into box CSVs (`seconds,label,left,top,right,bottom,score`, edges as shares of the picture)."""

from __future__ import annotations

import pickle
import re
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ..files import read_json, write_csv
from ..media.containers import MediaError
from ..media.probe import probe_size
from ..types import KarmmaError

COLUMNS = ("seconds", "label", "left", "top", "right", "bottom", "score")
SSV2_FRAMES_HZ = 12.0  # of the frames that Something-Else's annotators saw
Box = tuple[float, str, float, float, float, float, float]
OnDone = Callable[[int, int], None] | None


def write_boxes(path: Path, boxes: Iterable[Box]) -> None:
    """One CSV, atomically."""
    write_csv(path, COLUMNS, ([f"{box[0]:.4f}", box[1], *(f"{value:.5f}" for value in box[2:])] for box in boxes))


def convert_ssv2_boxes(files: Iterable[Path], videos: Path, out: Path, on_done: OnDone = None) -> dict[str, int]:
    """Something-Else's JSON files (video → frames → labels with `box2d` in pixels) into `out/<id>.csv`, labels hand and object.

    Videos that are not there are left out: without them the size of the picture is unknown. Returns how many were written
    and left out. Raises KarmmaError naming file and video for anything of another form.
    """
    written = missing = 0
    for path in files:
        if not path.is_file():
            raise KarmmaError(f"boxes not found: {path}")
        table = read_json(path)
        for number, (name, frames) in enumerate(table.items()):
            video = videos / f"{name}.webm"
            try:
                width, height = probe_size(video)
            except MediaError:
                missing += 1
                continue
            try:
                write_boxes(out / f"{Path(name).name}.csv", ssv2_boxes(frames, width, height))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise KarmmaError(f"{path}: video {name}: unexpected form: {error!r}") from error
            written += 1
            if on_done:
                on_done(number + 1, len(table))
    return {"written": written, "without_video": missing}


def ssv2_boxes(frames: Iterable[Any], width: int, height: int) -> list[Box]:
    """Boxes of one video, by rising time. People drew them: their score is 1."""
    boxes = []
    for frame in frames:
        number = re.search(r"(\d+)\.jpg$", frame["name"])
        if number is None:
            raise ValueError(f"frame {frame['name']!r} has no number")
        for label in frame["labels"]:
            edges = label["box2d"]
            kind = "hand" if label.get("standard_category", label["category"]) == "hand" else "object"
            boxes.append((
                (int(number[1]) - 1) / SSV2_FRAMES_HZ, kind, edges["x1"] / width, edges["y1"] / height,
                edges["x2"] / width, edges["y2"] / height, 1.0,
            ))  # fmt: skip
    return sorted(boxes)


class PlainUnpickler(pickle.Unpickler):
    """Reads lists of bytes and nothing else: a pickle that names any class or function is refused, so nothing can run."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it wants to load {module}.{name}; only plain lists of bytes are read")


def convert_epic_boxes(path: Path, out: Path, frames_hz: float, minimum_score: float = 0.1) -> int:
    """EPIC-KITCHENS-100's hand-object detections (`<video>.pkl`: a list with one protobuf message per frame) into a box CSV.

    Returns how many boxes there are. Raises KarmmaError for a file of another form.
    """
    if not path.is_file():
        raise KarmmaError(f"boxes not found: {path}")
    with path.open("rb") as file:
        messages = read_messages(path, file)
    boxes: list[Box] = []
    try:
        for message in messages:
            boxes += (box for box in epic_boxes(message, frames_hz) if box[-1] >= minimum_score)
    except (ValueError, IndexError, struct.error) as error:
        raise KarmmaError(f"{path}: broken message after {len(boxes)} boxes: {error}") from error
    write_boxes(out, sorted(boxes))
    return len(boxes)


def read_messages(path: Path, file: BinaryIO) -> list[bytes]:
    try:
        content = PlainUnpickler(file).load()
    except (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError, TypeError, AttributeError, MemoryError) as error:
        raise KarmmaError(f"{path}: not a plain list of messages: {error}") from error
    if not isinstance(content, list) or not all(isinstance(message, bytes) for message in content):
        raise KarmmaError(f"{path}: expected a list of bytes")
    return content


def epic_boxes(message: bytes, frames_hz: float) -> list[Box]:
    """Boxes of one frame. Fields: 2 frame number, 3 hands, 4 objects; in both 1 box, 2 score, in hands 5 side (0 left)."""
    number, boxes = 1, []
    for field, value in read_fields(message):
        if field == 2:
            number = int(value)
        elif field in (3, 4):
            content = dict(read_fields(value))
            edges = dict(read_fields(content.get(1, b"")))
            hand = "right hand" if content.get(5, 0) else "left hand"
            left, top, right, bottom = (float(edges.get(edge, 0.0)) for edge in (1, 2, 3, 4))
            boxes.append((hand if field == 3 else "object", left, top, right, bottom, float(content.get(2, 0.0))))
    return [((number - 1) / frames_hz, *box) for box in boxes]


def read_fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Field numbers and values of a protobuf message: ints, floats, and bytes for what is nested or text."""
    at = 0
    while at < len(message):
        key, at = read_varint(message, at)
        field, kind = key >> 3, key & 7
        if kind == 0:
            value, at = read_varint(message, at)
            yield field, value
        elif kind in (1, 5):
            size, code = (8, "<d") if kind == 1 else (4, "<f")
            yield field, struct.unpack(code, message[at : at + size])[0]
            at += size
        elif kind == 2:
            size, at = read_varint(message, at)
            if at + size > len(message):
                raise ValueError("a field reaches beyond the end")
            yield field, message[at : at + size]
            at += size
        else:
            raise ValueError(f"unknown wire type {kind}")


def read_varint(message: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits per byte, and where the next thing begins."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError("a number is too long")
