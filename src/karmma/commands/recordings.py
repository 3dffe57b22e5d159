"""Verbs for those who have a checkpoint and want answers: recordings, live sensors, export, a service."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..types import KarmmaError
from .options import Settings

if TYPE_CHECKING:
    from ..deploy.recordings import Recording

Sensors = {"boxes": "CSV of boxes for the modality detections, or a directory with one per recording",
           "imu": "CSV or .mat of an IMU, or a directory with one per recording",
           "skeleton": ".npz or .mat of skeletons, or a directory with one per recording",
           "hands": ".npz of both hands, or a directory with one per recording",
           "depth": ".npz, .mat, film or (--pictures-hz) folder of depth pictures, or a directory with one per recording"}  # fmt: skip

DEFAULT_RATE_HZ = 16000  # of sound that the student does not hear
MOST_TRACERS = 4  # processes that trace unless told otherwise: each holds the whole student


def predict(
    checkpoint: Annotated[Path, typer.Argument(help="a checkpoint directory, or one that `karmma export` wrote")],
    paths: Annotated[list[Path] | None, typer.Argument(help="media files or directories of them; none if there is no video and no "
                                                       "sound")] = None,
    pictures_hz: Annotated[float | None, typer.Option(help="paths are folders or tars of numbered pictures, so many a second")] = None,
    boxes: Annotated[Path | None, typer.Option(help=Sensors["boxes"])] = None,
    imu: Annotated[Path | None, typer.Option(help=Sensors["imu"])] = None,
    skeleton: Annotated[Path | None, typer.Option(help=Sensors["skeleton"])] = None,
    hands: Annotated[Path | None, typer.Option(help=Sensors["hands"])] = None,
    depth: Annotated[Path | None, typer.Option(help=Sensors["depth"])] = None,
    imu_offset: Annotated[float | None, typer.Option(help="seconds by which the imu's clock is ahead of the film's: what `karmma "
                                                     "check` finds")] = None,
    file: Annotated[list[str] | None, typer.Option(help="of any other modality NAME=PATH, e.g. slow_features=FILE.npz; a directory, "
                                                   "too")] = None,
    start: Annotated[float | None, typer.Option(help="start of one segment, seconds")] = None,
    stop: Annotated[float | None, typer.Option(help="stop of one segment, seconds")] = None,
    window: Annotated[float | None, typer.Option(help="without start and stop: length of windows, seconds; default: as training "
                                                 "clips, at least 2")] = None,
    hop: Annotated[float | None, typer.Option(help="from one window to the next, seconds; default: no overlap")] = None,
    only: Annotated[str | None, typer.Option(help="use only these modalities, e.g. rgb+audio")] = None,
    top: Annotated[int, typer.Option(min=1, max=5, help="classes to show")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object per line")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV with a header")] = False,
    timeline: Annotated[Path | None, typer.Option(help="directory for a plot over time of each recording")] = None,
    overlay: Annotated[Path | None, typer.Option(help="directory for each recording with the answers written on it")] = None,
) -> None:
    """Recognise actions in recordings from whatever modalities they have, window by window.

    Files of other sensors belong to a recording by its name: NAME.csv, NAME_imu.csv. Exit code 3: some recordings could not be
    read; each is named, the others are answered. A sensor that cannot be read is named once, and the recording is answered
    without it.
    """
    from ..deploy.answers import AnswerLines
    from ..deploy.recordings import files_by_modality, find_recordings, recognise
    from ..deploy.runtime import load_any

    recognition, names, failed = load_any(checkpoint), only.split("+") if only else None, 0
    if imu_offset is not None:
        recognition = recognition.with_clock_ahead("imu", imu_offset)
    given = {"detections": boxes, "imu": imu, "skeleton": skeleton, "hands": hands, "depth": depth}
    sources = {name: path for name, path in given.items() if path is not None} | files_by_modality(file or [])
    if pictures_hz is not None and not 0 < pictures_hz < math.inf:
        raise KarmmaError(f"--pictures-hz {pictures_hz:g}: pictures per second are a number above 0")
    recordings = find_recordings(paths or [], sources, pictures_hz)
    if overlay is not None and not isinstance(recordings[0].file, Path):
        raise KarmmaError(f"--overlay: {recordings[0].name} has no film to write answers on")
    lines = AnswerLines("json" if as_json else "csv" if as_csv else "text", top, len(recordings) > 1)
    if stop is None:
        tell_of_clocks(recordings)
    for recording in recordings:
        predictions = []
        try:
            for prediction in recognise(recognition, recording, (start, stop), window, hop, names):
                predictions.append(prediction)
                for line in lines.amiss(recording.name, prediction):
                    typer.echo(line, err=True)
                for line in lines.of(recording.name, prediction):
                    typer.echo(line)
        except KarmmaError as error:
            if len(recordings) == 1:
                raise
            failed += 1
            typer.echo(f"karmma: {error}", err=True)
            continue
        draw_predictions(recording, predictions, recognition.modalities, timeline, overlay)
    raise typer.Exit(3 if failed else 0)


def tell_of_clocks(recordings: Sequence[Recording]) -> None:
    """Say that recordings none of whose files tells its length are taken whole."""
    timeless = [recording.name for recording in recordings if is_timeless(recording)]
    if timeless:
        others = f" and {len(timeless) - 1} others" if len(timeless) > 1 else ""
        typer.echo(f"karmma: {timeless[0]}{others}: no file has a clock; taken whole, and for one second long", err=True)


def is_timeless(recording: Recording) -> bool:
    """Whether nothing of a recording tells its length; pictures, whose rate is known, do."""
    from ..media.duration import find_span

    files = [source for source in recording.sources.values() if isinstance(source, Path)]
    return recording.file is None and len(files) == len(recording.sources) and find_span(files) is None


def draw_predictions(recording: Recording, predictions: Any, modalities: Any, timeline: Path | None, overlay: Path | None) -> None:
    from ..deploy.drawing import draw_timeline, write_overlay

    title = recording.name if recording.path is None else recording.path.name
    if timeline is not None:
        draw_timeline(predictions, modalities, timeline / f"{recording.stem}.png", title)
    if overlay is not None and isinstance(recording.file, Path):
        write_overlay(recording.file, predictions, overlay / f"{recording.stem}.mp4")


def stream(
    checkpoint: Annotated[Path, typer.Argument(help="a checkpoint directory, or one that `karmma export` wrote")],
    sources: Annotated[list[str], typer.Argument(help="media files, or video=/dev/video0, video=rtsp://…, audio=alsa:default, "
                                                 "audio=pcm:-, imu=-, imu=tcp:9000, imu=FILE.csv, detections=FILE.csv, "
                                                 "skeleton=FILE.npz, skeleton=tcp:9002, hands=tcp:9003, depth=FILE.mkv, "
                                                 "depth=/dev/video2")],
    window: Annotated[float | None, typer.Option(help="length of windows, seconds; default: as training clips, at least 2")] = None,
    hop: Annotated[float, typer.Option(help="from one window to the next, seconds")] = 0.5,
    token_hop: Annotated[float | None, typer.Option(help="run each extractor only so often, seconds; default: every window")] = None,
    duration: Annotated[float | None, typer.Option(help="stop after so many seconds")] = None,
    speed: Annotated[float, typer.Option(help="pace of recorded sources")] = 1.0,
    monitor: Annotated[bool, typer.Option(help="judge sensors' health; without, whatever delivers data counts")] = True,
    use_degraded: Annotated[bool, typer.Option(help="use sensors that deliver poor data")] = False,
    fault: Annotated[list[str] | None, typer.Option(help="spoil a sensor, e.g. video=frozen:10:20")] = None,
    summary: Annotated[Path | None, typer.Option(help="write the summary here, too")] = None,
) -> None:
    """Recognise what live sensors see and hear: one JSON line per window on standard output, a summary at the end."""
    from ..deploy.faults import FaultySensor, parse_fault
    from ..deploy.runtime import load_any
    from ..deploy.sensors import begun_together, parse_source
    from ..deploy.session import StreamConfig, live_columns, pose_shapes
    from ..files import write_json

    recognition = load_any(checkpoint)
    faults = [parse_fault(text) for text in fault or []]
    others = live_columns(recognition)
    shapes, heard = pose_shapes(recognition), list[Any]()
    for text in sources:
        name = text.partition("=")[0]
        audio = recognition.modalities_by_name.get(name if name in recognition.modalities_by_name else "audio")
        heard += parse_source(text, getattr(audio, "sample_rate_hz", DEFAULT_RATE_HZ), shapes, others)
    sensors = [FaultySensor(sensor, faults) for sensor in begun_together(heard)]
    length = recognition.window_seconds if window is None else window
    config = StreamConfig(length, hop, monitor, use_degraded, token_hop_seconds=token_hop)
    running = recognition.stream(sensors, config, duration_seconds=duration, speed=speed)
    try:
        for event in running:
            print(json.dumps(event.row()), flush=True)
    except KeyboardInterrupt:
        pass
    typer.echo(json.dumps(running.summary.row()), err=True)
    if summary is not None:
        write_json(summary, running.summary.row())


def export(
    checkpoint: Annotated[Path, typer.Argument(help="a checkpoint directory")],
    out: Annotated[Path, typer.Option(help="directory for the ONNX graphs")],
    calibrate: Annotated[Path | None, typer.Option(help="root of a data set: int8 graphs, calibrated on its train split")] = None,
    dataset: Annotated[str | None, typer.Option(help="which data set that is; default: the one it was trained on")] = None,
    samples: Annotated[int, typer.Option(min=1, help="segments to calibrate on")] = 128,
    subsets: Annotated[str | None, typer.Option(help="only these subsets, e.g. rgb+audio,rgb; default: all")] = None,
    workers: Annotated[int, typer.Option(min=0, help="processes that trace; 0 is one per core, up to four")] = 0,
    settings: Settings = None,
) -> None:
    """A student as ONNX: one graph per subset of modalities and one with a presence vector; checked against torch."""
    from ..data.calibration import calibration_inputs
    from ..datasets import load_data_set
    from ..deploy.export import export_student
    from ..evaluation.tables import print_export
    from ..models.checkpoint import read_info
    from ..progress import Progress
    from ..workers import count_workers

    inputs = None
    if calibrate is not None:
        info = read_info(checkpoint)
        manifest = load_data_set(dataset or info.data_set, calibrate, settings or [])
        inputs = calibration_inputs(manifest.split("train"), info.modalities, samples)
    chosen = [tuple(subset.split("+")) for subset in subsets.split(",")] if subsets else None
    with Progress("export") as progress:
        tracers = workers or count_workers(0, MOST_TRACERS)
        measured = export_student(checkpoint, out, calibration=inputs, subsets=chosen, workers=tracers, on_done=progress.update)
    print_export(measured)


def serve(
    checkpoint: Annotated[Path, typer.Argument(help="a checkpoint directory, or one that `karmma export` wrote")],
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="port to listen on")] = 8000,
    examples: Annotated[Path | None, typer.Option(help="directory of recordings that the page offers")] = None,
    megabytes: Annotated[float, typer.Option(min=0.001, help="largest upload")] = 64.0,
    seconds: Annotated[float, typer.Option(min=0.1, help="longest recording")] = 600.0,
    waiting: Annotated[int, typer.Option(min=1, help="requests at once, waiting ones included; more get 503")] = 16,
) -> None:
    """An HTTP API and a web page around a student. API: /openapi.json; metrics: /metrics."""
    import uvicorn

    from ..deploy.runtime import load_any
    from ..deploy.service.app import make_app
    from ..deploy.service.uploads import ServiceLimits

    limits = ServiceLimits(megabytes=megabytes, seconds=seconds, waiting=waiting)
    uvicorn.run(make_app(load_any(checkpoint), limits, examples), host=host, port=port, log_level="warning")
