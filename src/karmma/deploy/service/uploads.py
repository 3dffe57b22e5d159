"""What clients send: checked before it is decoded, kept in a directory that goes away with the request."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors

from ...media.containers import MediaError, forget_containers
from ...media.kept import forget_files
from ...media.probe import probe, probe_size
from ...media.series import BROKEN
from ...types import KarmmaError
from ..recognition import Recognition, Window
from ..recordings import MEDIA_SUFFIXES
from ..windows import RecordingReader, count_windows

LEAST_SECONDS = 0.1


@dataclass(frozen=True)
class ServiceLimits:
    """What a request may cost. Beyond a limit the answer is a 4xx with one sentence; beyond `waiting` it is 503."""

    megabytes: float = 64.0
    seconds: float = 600.0
    megapixels: float = 9.0
    array_megabytes: float = 512.0  # what an uploaded .npz holds, unpacked
    windows: int = 2000
    request_seconds: float = 30.0
    decoding: int = 2  # requests that are decoded at once
    waiting: int = 16  # requests in the house, waiting included
    batch_size: int = 16


class RefusedError(KarmmaError):
    """A request that is not served, with its HTTP status."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


def check_recording(path: Path, limits: ServiceLimits) -> None:
    """Raises RefusedError for a recording beyond the limits, KarmmaError for one that cannot be opened."""
    if path.stat().st_size == 0:
        raise RefusedError(400, "the file is empty")
    if probe(path).has_video:
        width, height = probe_size(path)
        if width * height > limits.megapixels * 1e6:
            most = f"this service takes up to {limits.megapixels:g} megapixels"
            raise RefusedError(413, f"pictures have {width} × {height} pixels; {most}")


def check_duration(seconds: float, limits: ServiceLimits) -> None:
    """Raises RefusedError for a recording that is too long or too short."""
    if seconds > limits.seconds:
        raise RefusedError(413, f"the recording lasts {seconds:.0f} s; this service takes up to {limits.seconds:g} s")
    if seconds < LEAST_SECONDS:
        raise RefusedError(422, f"the recording lasts {seconds:.2f} s, less than {LEAST_SECONDS:g} s")


def check_arrays(path: Path, limits: ServiceLimits) -> None:
    """Raises RefusedError for an archive that would unpack to more than is allowed; what is no archive is named when it is read."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except BROKEN:
        return
    if unpacked > limits.array_megabytes * 1e6:
        most = f"this service takes up to {limits.array_megabytes:g} MB"
        raise RefusedError(413, f"{path} holds {unpacked / 1e6:.0f} MB of arrays; {most}")


def read_windows(
    recognition: Recognition, path: Path | None, sources: Mapping[str, Path], spans: tuple[float, float], limits: ServiceLimits,
    deadline: float, directory: Path,
) -> list[Window]:  # fmt: skip
    """All windows of a recording that have anything; its files below `directory` are let go of. Raises RefusedError or KarmmaError."""
    try:
        for file in sources.values():
            if file.suffix == ".npz":
                check_arrays(file, limits)
            elif file.suffix in MEDIA_SUFFIXES:
                with suppress(MediaError):  # it is named when it is read, and the others answer
                    check_recording(file, limits)
        if path is not None:
            check_recording(path, limits)
        reader = RecordingReader(recognition, path, sources, spans[0])
        try:
            windows = list(cut_windows(reader, spans, limits, deadline))
        finally:
            reader.close()
        if not windows:
            raise RefusedError(422, next(iter(reader.failures.values()), "none of the modalities is in the file"))
        return windows
    finally:
        forget_containers(directory)
        forget_files(directory)


def cut_windows(
    reader: RecordingReader, spans: tuple[float, float], limits: ServiceLimits, deadline: float
) -> Iterator[Window]:
    """Windows that have anything. Raises RefusedError for a recording beyond the limits, or when there is no time left."""
    if reader.timed:
        duration = reader.stop_seconds - reader.start_seconds
        check_duration(duration, limits)
        count = count_windows(duration, *spans)
        if count > limits.windows:
            raise RefusedError(413, f"{count:.6g} windows; this service takes up to {limits.windows}: take a longer hop")
    for start, stop in reader.spans(*spans):
        if time.monotonic() > deadline:
            raise RefusedError(413, f"reading took longer than {limits.request_seconds:g} s; send a shorter or smaller recording")
        window = reader.window(start, stop)
        if window.inputs:
            yield window


def read_tensors(recognition: Recognition, content: bytes) -> list[Window]:
    """Model inputs by modality in safetensors, each of one clip or of a batch `(batch, …)`. Raises RefusedError."""
    try:
        arrays: dict[str, NDArray[Any]] = load_safetensors(content)
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise RefusedError(400, f"not safetensors: {' '.join(str(error).split())[:200]}") from error
    if not arrays:
        raise RefusedError(422, "no tensors in the request")
    batched = {}
    for name, array in arrays.items():
        if name not in recognition.specs:
            raise RefusedError(422, f"unknown modality {name!r}; this student has: {', '.join(recognition.modalities)}")
        shape = recognition.specs[name].input_shape
        batched[name] = array if array.ndim == len(shape) + 1 else array[None]
        if batched[name].shape[1:] != shape:
            raise RefusedError(422, f"{name}: shape {array.shape}, expected {shape} or (batch, …)")
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise RefusedError(422, f"{name}: values must be finite numbers")
    sizes = {len(array) for array in batched.values()}
    if len(sizes) != 1 or 0 in sizes:
        raise RefusedError(422, "tensors have different batch sizes, or none")
    return [recognition.window_of({n: a[i] for n, a in batched.items()}, f"clip {i}") for i in range(sizes.pop())]
