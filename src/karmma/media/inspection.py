"""What is wrong with a file before anybody trains on it: streams, rates, rotation, silence, clocks, boxes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from ..types import kind_of
from .audio import audio_stream, read_audio
from .containers import MediaError, film_streams, open_container
from .inertial import axes_of, doubt_units
from .series import Series, key_in_file, read_series
from .tables import EDGES, SENSOR_COLUMNS, doubt_clock, find_gaps, find_holes, read_table
from .video import GREY16, decode_from, video_stream

SILENT_PEAK = 1e-4  # of full scale
SAMPLE_SECONDS = 10.0  # of sound that is listened to, in the middle
UNEVEN = 1.5  # the longest step between frames against the median, from which on a rate counts as variable
PROBED_FRAMES = 48
TICKING = ("skeleton", "hands", "depth")  # modalities of arrays that come many times a second
TABLES, SERIES = (".csv",), (".mat", ".npz", ".npy")


@dataclass
class FileReport:
    """Facts about a file, `errors` that make it unusable, `warnings` that somebody should look at."""

    path: Path
    modalities: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def kinds(self) -> set[str]:
        """What kinds of modalities lie in it."""
        return set(map(kind_of, self.modalities))


def inspect_file(path: Path, modalities: tuple[str, ...]) -> FileReport:
    """Everything about one file that does not need all of it decoded. Never raises for a bad file."""
    report = FileReport(path, modalities)
    try:
        if path.suffix in TABLES:
            inspect_table(report)
        elif path.suffix in SERIES:
            inspect_series(report)
        else:
            inspect_media(report)
    except MediaError as error:
        report.errors.append(str(error).removeprefix(f"{path}: "))
    except OSError as error:
        report.errors.append(f"{type(error).__name__}: {error.strerror or error}")
    return report


def inspect_media(report: FileReport) -> None:
    """Streams, length, frame rate, rotation, unevenness, silence; a first and a last picture must decode."""
    path, facts = report.path, report.facts
    if not path.is_file():
        raise MediaError(f"{path}: no such file")
    facts["bytes"] = path.stat().st_size
    try:
        with open_container(str(path)) as container:
            facts["seconds"] = round(container.duration / av.time_base, 3) if container.duration else None
            facts["has_audio"] = bool(container.streams.audio)
            if film_streams(container):
                stream = video_stream(path, container)
                facts |= {"codec": stream.codec_context.name, "width": stream.width, "height": stream.height}
                facts["frames_hz"] = round(float(stream.average_rate), 3) if stream.average_rate else None
            if container.streams.audio:
                sound = audio_stream(path, container)
                facts |= {"audio_codec": sound.codec_context.name, "sample_rate_hz": sound.rate}
            if not film_streams(container) and not container.streams.audio:
                raise MediaError(f"{path}: has neither video nor audio")
    except (av.error.FFmpegError, OSError) as error:
        raise MediaError(f"{path}: {error}") from error
    if "codec" in facts:
        inspect_frames(report)
    if not facts["has_audio"]:
        if "audio" in report.kinds:
            report.warnings.append("no audio track")
        return
    inspect_sound(report)


def inspect_frames(report: FileReport) -> None:
    """Rotation and evenness of the first frames; whether the file goes on to its end."""
    seconds, rotation = [], 0
    for frame in decode_from(report.path, 0.0):
        seconds.append(frame.seconds)
        rotation = frame.frame.rotation
        if len(seconds) == PROBED_FRAMES:
            break
    if not seconds:
        raise MediaError(f"{report.path}: no frame can be decoded")
    if "depth" in report.kinds and frame.frame.format.name not in GREY16:
        report.errors.append(f"depth has to be 16-bit grey (millimetres), not {frame.frame.format.name}")
    if rotation:
        report.facts["rotation_degrees"] = rotation
        report.warnings.append(f"rotated by {rotation}° (undone when read)")
    steps = np.diff(seconds)
    if (steps <= 0).any():
        report.warnings.append("frame times do not grow")
    elif len(steps) > 2 and steps.max() > UNEVEN * np.median(steps):
        report.facts["variable_rate"] = True
        report.warnings.append(f"variable frame rate: steps of {steps.min():.3f} to {steps.max():.3f} s")
    length = report.facts.get("seconds")
    if length and length > 2:
        last = max((frame.seconds for frame in decode_from(report.path, length - 1.0)), default=0.0)
        if last < length - 1.5:
            report.facts["decodable_seconds"] = round(last, 3)
            if report.facts["has_audio"] and read_audio(report.path, length - 1.5, length, 16000) is not None:
                report.warnings.append(f"its pictures end at {last:.2f} s, its sound goes on to {length:.2f} s")
            else:
                report.errors.append(f"breaks off: says {length:.2f} s, the last frame is at {last:.2f} s")


def inspect_sound(report: FileReport) -> None:
    """Listen to some seconds in the middle."""
    middle = (report.facts.get("seconds") or 0.0) / 2
    samples = read_audio(report.path, max(middle - SAMPLE_SECONDS / 2, 0.0), middle + SAMPLE_SECONDS / 2, 16000)
    peak = 0.0 if samples is None else float(np.abs(samples).max(initial=0.0))
    report.facts["audio_peak"] = round(peak, 5)
    if peak < SILENT_PEAK:
        report.warnings.append("the audio track is silent")
    elif samples is not None and float((np.abs(samples) > 0.999).mean()) > 0.01:
        report.warnings.append("the microphone clips")


def inspect_table(report: FileReport) -> None:
    """A sensor table must have rising, finite seconds; boxes must lie in the picture."""
    sensor = next((kind for kind in SENSOR_COLUMNS if kind in report.kinds), None)
    table = read_table(report.path, SENSOR_COLUMNS[sensor] if sensor else None)
    report.facts |= {"rows": len(table["seconds"]), "seconds": float(table["seconds"][-1]) if len(table["seconds"]) else 0.0}
    if not len(table["seconds"]):
        report.errors.append("no rows")
    elif len(table["seconds"]) > 2 and sensor == "imu" and np.ptp(table["seconds"]) == 0:
        report.errors.append(f"all rows are at {table['seconds'][0]:.3f} s")
    gaps = find_gaps(table)
    amiss = report.errors if sensor else report.warnings  # what gaps mean to sensors of other packages, these know
    amiss += [f"column {name!r} is not a number at {second:.3f} s" for name, second in gaps.items()]
    if sensor == "detections":
        edges = np.stack([table[edge] for edge in EDGES], -1)
        outside = ((edges < -0.02) | (edges > 1.02)).any(1) | (edges[:, 2:] <= edges[:, :2]).any(1)
        if outside.any():
            first = table["seconds"][int(outside.argmax())]
            report.warnings.append(f"{int(outside.sum())} boxes outside the picture or empty; first at {first:.3f} s")
        return
    if sensor == "imu":
        report.warnings += filter(
            None, (doubt_units(axes_of(table)), doubt_clock(table["seconds"]), words_of_holes(table["seconds"]))
        )
    for name, values in table.items():
        if name not in (*gaps, "seconds") and values.dtype != object and len(values) > 10 and np.ptp(values) == 0:
            report.warnings.append(f"column {name!r} never changes")


def words_of_holes(seconds: NDArray[np.float64]) -> str:
    """What is said of stretches without a row; nothing if there are none."""
    holes = find_holes(seconds)
    if not holes:
        return ""
    start, stop = max(holes, key=lambda hole: hole[1] - hole[0])
    whole = sum(last - first for first, last in holes)
    longest = f"from {start:.2f} to {stop:.2f} s"
    return f"no rows {longest}" if len(holes) == 1 else f"{len(holes)} holes without rows, {whole:.1f} s in all; the longest {longest}"


def inspect_series(report: FileReport) -> None:
    """An array over time must be there and finite."""
    for modality in sorted(report.kinds):
        key, axis = key_in_file(modality, report.path.suffix)
        gaps = modality in ("skeleton", "hands") and report.path.suffix != ".mat"
        series = read_series(report.path, key, axis, gaps or modality == "depth")
        report.facts |= {"samples": len(series.values), "shape": list(series.values.shape[1:])}
        if modality == "hands":
            tell_of_hands(report, series)
        elif gaps:
            warn_of_lost_joints(report, series)
        if series.seconds is not None:
            report.facts["seconds"] = round(float(series.seconds[-1]), 3)
            report.warnings += filter(None, [doubt_clock(series.seconds) if modality in TICKING else ""])
        if series.seconds is not None and not gaps and modality != "depth":  # whose places without a measurement may be no numbers
            lost = ~np.isfinite(series.values).reshape(len(series.values), -1).all(1)
            if lost.any():
                first = series.seconds[int(lost.argmax())]
                report.errors.append(f"{int(lost.sum())} of {len(lost)} samples hold no numbers; first at {first:.3f} s")


def tell_of_hands(report: FileReport, series: Series) -> None:
    """How much of the time each hand is in view; one that never is may be meant, both are not."""
    values = series.values
    if values.shape[1:2] != (2,) and (values.ndim == 1 or values.shape[1] % 2):
        report.errors.append(f"hands must be time × 2 × joints × coordinates, not {values.shape}")
        return
    both = values.reshape(len(values), 2, -1)  # hand after hand, however it is written
    with np.errstate(over="ignore"):  # of numbers that are no places
        spread = np.ptp(np.where(np.isfinite(both), both, 0), axis=2) > 0
    seen = spread & (np.isfinite(both).mean(2) >= 0.5)
    report.facts |= {"left_share": round(float(seen[:, 0].mean()), 3), "right_share": round(float(seen[:, 1].mean()), 3)}
    if not seen.any():
        report.errors.append("no hand is ever in view")
    else:
        never = [side for side, there in zip(("left", "right"), seen.any(0), strict=True) if not there]
        report.warnings += [f"the {side} hand is never in view" for side in never]


def warn_of_lost_joints(report: FileReport, series: Series) -> None:
    """Joints that are no numbers are filled when read."""
    values = series.values
    if values.ndim == 2 and values.shape[1] % 3 == 0:  # all coordinates one after another
        values = values.reshape(len(values), -1, 3)
    if values.ndim != 3:
        report.errors.append(f"poses must be time × joints × coordinates, not {values.shape}")
        return
    lost = ~np.isfinite(values).all(-1)
    if lost.all():
        report.errors.append("all values are not finite")
    elif lost.any():
        moments = f"{int(lost.any(1).sum())} of {len(lost)} samples"
        report.warnings.append(f"{100 * lost.mean():.2g} % of joints are lost (no numbers), in {moments}")
