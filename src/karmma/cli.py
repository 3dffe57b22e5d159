"""The command line: verbs to functions, no logic. Errors a user can mend are one line and exit code 2."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .types import KarmmaError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
metrics_app = typer.Typer(no_args_is_help=True, help="Official figures of a benchmark from scores.")
submit_app = typer.Typer(no_args_is_help=True, help="Files for a benchmark's server.")
convert_app = typer.Typer(no_args_is_help=True, help="Published detections into this project's box files.")
bench_app = typer.Typer(no_args_is_help=True, help="How fast parts are on this machine.")
app.add_typer(bench_app, name="bench")
app.add_typer(convert_app, name="convert")
app.add_typer(metrics_app, name="metrics")
app.add_typer(submit_app, name="submit")
EXTRAS = {
    "train": ("torch", "lightning", "tensorboard"), "export": ("onnx", "onnxscript", "nncf"),
    "serve": ("fastapi", "uvicorn", "prometheus_client"), "data": ("pyarrow", "fsspec"),
}  # fmt: skip
Root = Annotated[Path, typer.Argument(help="directory of the data set")]
Settings = Annotated[list[str] | None, typer.Argument(help="settings of the data set as key=value", metavar="[KEY=VALUE]...")]
Overrides = Annotated[list[str] | None, typer.Argument(help="overrides as key.path=value", metavar="[KEY=VALUE]...")]


@app.command()
def run(
    recipe: Annotated[Path, typer.Argument(help="a recipe, e.g. recipes/demo.yaml")],
    out: Annotated[Path, typer.Option(help="directory for everything the run makes; an unfinished run goes on there")],
    overrides: Overrides = None,
    only: Annotated[
        str | None, typer.Option(help="only these methods and what they build on, e.g. karmma,baseline; or all")
    ] = None,
) -> None:
    """Run every stage of RECIPE that is not yet done in OUT: data, pre-training, teacher, students, evaluation, report."""
    from . import processes
    from .config import load_recipe
    from .evaluation.tables import print_results
    from .experiment.run import run as run_recipe

    loaded = load_recipe(recipe, overrides)
    results = run_recipe(loaded.only(only.split(",") if only else loaded.default_methods), out)
    if processes.is_first():
        print_results(results, out)


@app.command()
def simulate(
    directory: Annotated[Path, typer.Argument(help="where to write the set")],
    overrides: Overrides = None,
    seed: Annotated[int, typer.Option(help="other seeds are other kitchens")] = 0,
    workers: Annotated[int, typer.Option(help="processes; 0 is one per core")] = 0,
) -> None:
    """Write a simulated kitchen into DIRECTORY. Knobs are given as key=value, e.g. clutter=6 participants.train=3."""
    from .config import apply_override, build
    from .datasets import KitchenConfig
    from .datasets import simulate as write_kitchen
    from .progress import Progress

    tree: dict[str, object] = {"seed": seed}
    for override in overrides or []:
        apply_override(tree, override)
    with Progress("simulate") as progress:
        write_kitchen(directory, build(KitchenConfig, tree, "knobs"), workers=workers, on_done=progress.update)


Sensors = {"boxes": "CSV of boxes for the modality detections, or a directory with one per recording",
           "imu": "CSV of an IMU, or a directory with one per recording"}  # fmt: skip


@app.command()
def predict(
    checkpoint: Annotated[Path, typer.Argument(help="a checkpoint directory, or one that `karmma export` wrote")],
    paths: Annotated[list[Path], typer.Argument(help="media files or directories of them")],
    boxes: Annotated[Path | None, typer.Option(help=Sensors["boxes"])] = None,
    imu: Annotated[Path | None, typer.Option(help=Sensors["imu"])] = None,
    start: Annotated[float | None, typer.Option(help="start of one segment, seconds")] = None,
    stop: Annotated[float | None, typer.Option(help="stop of one segment, seconds")] = None,
    window: Annotated[float, typer.Option(help="without start and stop: length of windows, seconds")] = 2.0,
    hop: Annotated[float | None, typer.Option(help="from one window to the next, seconds; default: no overlap")] = None,
    only: Annotated[str | None, typer.Option(help="use only these modalities, e.g. rgb+audio")] = None,
    top: Annotated[int, typer.Option(help="classes to show, at most 5")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object per line")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV with a header")] = False,
    timeline: Annotated[Path | None, typer.Option(help="directory for a plot over time of each recording")] = None,
    overlay: Annotated[Path | None, typer.Option(help="directory for each recording with the answers written on it")] = None,
) -> None:
    """Recognise actions in recordings from whatever modalities they have, window by window.

    Exit code 3: some recordings could not be read; each is named, the others are answered. A sensor that cannot be read is
    named once, and the recording is answered without it.
    """
    from .deploy.answers import AnswerLines
    from .deploy.recordings import find_recordings, recognise
    from .deploy.runtime import load_any

    sources = {name: path for name, path in {"detections": boxes, "imu": imu}.items() if path is not None}
    recognition, names = load_any(checkpoint), only.split("+") if only else None
    recordings, failed = find_recordings(paths, sources), 0
    lines = AnswerLines("json" if as_json else "csv" if as_csv else "text", min(top, 5), len(recordings) > 1)
    for recording in recordings:
        predictions = []
        try:
            for prediction in recognise(recognition, recording, (start, stop), window, hop, names):
                predictions.append(prediction)
                for line in lines.unreadable(str(recording.file), prediction):
                    typer.echo(line, err=True)
                for line in lines.of(str(recording.file), prediction):
                    typer.echo(line)
        except KarmmaError as error:
            if len(recordings) == 1:
                raise
            failed += 1
            typer.echo(f"karmma: {error}", err=True)
            continue
        draw_predictions(recording.file, predictions, recognition.modalities, timeline, overlay)
    raise typer.Exit(3 if failed else 0)


def draw_predictions(file: Path, predictions: Any, modalities: Any, timeline: Path | None, overlay: Path | None) -> None:
    from .deploy.drawing import draw_timeline, write_overlay

    if timeline is not None:
        draw_timeline(predictions, modalities, timeline / f"{file.stem}.png", file.name)
    if overlay is not None:
        write_overlay(file, predictions, overlay / f"{file.stem}.mp4")


@app.command()
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="a checkpoint directory")],
    root: Annotated[Path, typer.Argument(help="directory of the data set")],
    dataset: Annotated[str, typer.Option(help="which data set it is")] = "kitchen",
    split: Annotated[str, typer.Option(help="which split")] = "test",
    cache: Annotated[Path | None, typer.Option(help="directory for decoded clips; default: a temporary one")] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="write the figures here")] = None,
    protocol: Annotated[str, typer.Option(help="subsets (P1), sweep (P2), all (both), observation (P3), window (P4)")] = "all",
    missing: Annotated[str | None, typer.Option(help="P3, P4: what fails, e.g. audio or rgb+flow")] = None,
    mask: Annotated[Path | None, typer.Option(help="P3: a published mask CSV in place of --missing")] = None,
    views: Annotated[int, typer.Option(min=1, help="looks at each clip whose probabilities are averaged: fixed, then augmented")] = 1,
    overrides: Annotated[list[str] | None, typer.Argument(help="settings of the data set as key=value")] = None,
) -> None:
    """Test CHECKPOINT on a data set with modalities missing."""
    from .config import apply_override
    from .evaluation.tables import print_evaluation
    from .experiment.evaluation import Protocol, evaluate_checkpoint

    settings: dict[str, object] = {}
    for override in overrides or []:
        apply_override(settings, override)
    chosen = Protocol(protocol, tuple(missing.split("+")) if missing else (), mask)
    result = evaluate_checkpoint(checkpoint, root, dataset, split, cache, settings, chosen, views)
    print_evaluation(result)
    if json_path is not None:
        json_path.write_text(json.dumps(result, indent=1))


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="directories of `karmma run`; several: folds that tested different samples")],
    against: Annotated[str, typer.Option(help="the method that the others are compared with")] = "baseline_dropout",
    metric: Annotated[str | None, typer.Option(help="e.g. verb_top1; default: actions, else the first head")] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="write the figures here, also by subset and seed")] = None,
    plot: Annotated[Path | None, typer.Option(help="draw the intervals into this PNG")] = None,
) -> None:
    """Which methods of RUNS are better than another by more than chance: paired, by the number of sensors present."""
    from .evaluation.plots import plot_differences, save_png
    from .evaluation.tables import print_comparison
    from .experiment.comparison import compare_runs
    from .experiment.provenance import provenance
    from .files import write_json

    result = compare_runs(runs, against, metric)
    print_comparison(result)
    if json_path is not None:
        write_json(json_path, {**result, **provenance()})
    if plot is not None:
        save_png(plot_differences(result), plot)


@app.command()
def stream(
    checkpoint: Annotated[Path, typer.Argument(help="a checkpoint directory, or one that `karmma export` wrote")],
    sources: Annotated[list[str], typer.Argument(help="media files, or video=/dev/video0, video=rtsp://…, audio=alsa:default, "
                                                 "audio=pcm:-, imu=-, imu=tcp:9000, imu=FILE.csv, detections=FILE.csv")],
    window: Annotated[float, typer.Option(help="length of windows, seconds")] = 2.0,
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
    from .deploy.faults import FaultySensor, parse_fault
    from .deploy.runtime import load_any
    from .deploy.sensors import parse_source
    from .deploy.session import StreamConfig
    from .files import write_json

    recognition = load_any(checkpoint)
    rate_hz = getattr(recognition.modalities_by_name.get("audio"), "sample_rate_hz", 16000)
    faults = [parse_fault(text) for text in fault or []]
    sensors = [FaultySensor(sensor, faults) for text in sources for sensor in parse_source(text, rate_hz)]
    config = StreamConfig(window, hop, monitor, use_degraded, token_hop_seconds=token_hop)
    running = recognition.stream(sensors, config, duration_seconds=duration, speed=speed)
    try:
        for event in running:
            print(json.dumps(event.row()), flush=True)
    except KeyboardInterrupt:
        pass
    typer.echo(json.dumps(running.summary.row()), err=True)
    if summary is not None:
        write_json(summary, running.summary.row())


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Argument(help="a checkpoint directory")],
    out: Annotated[Path, typer.Option(help="directory for the ONNX graphs")],
    calibrate: Annotated[Path | None, typer.Option(help="root of a data set: int8 graphs, calibrated on its train split")] = None,
    dataset: Annotated[str, typer.Option(help="which data set that is")] = "kitchen",
    samples: Annotated[int, typer.Option(help="segments to calibrate on")] = 128,
    subsets: Annotated[str | None, typer.Option(help="only these subsets, e.g. rgb+audio,rgb; default: all")] = None,
    settings: Settings = None,
) -> None:
    """A student as ONNX: one graph per subset of modalities and one with a presence vector; checked against torch."""
    from .data.calibration import calibration_inputs
    from .datasets import load_data_set
    from .deploy.export import export_student
    from .evaluation.tables import print_export
    from .models.checkpoint import read_info
    from .progress import Progress

    inputs = None
    if calibrate is not None:
        manifest = load_data_set(dataset, calibrate, settings or [])
        inputs = calibration_inputs(manifest.split("train"), read_info(checkpoint).modalities, samples)
    chosen = [tuple(subset.split("+")) for subset in subsets.split(",")] if subsets else None
    with Progress("export") as progress:
        measured = export_student(checkpoint, out, calibration=inputs, subsets=chosen, on_done=progress.update)
    print_export(measured)


@app.command()
def serve(
    checkpoint: Annotated[Path, typer.Argument(help="a checkpoint directory, or one that `karmma export` wrote")],
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="port to listen on")] = 8000,
    examples: Annotated[Path | None, typer.Option(help="directory of recordings that the page offers")] = None,
    megabytes: Annotated[float, typer.Option(help="largest upload")] = 64.0,
    seconds: Annotated[float, typer.Option(help="longest recording")] = 600.0,
    waiting: Annotated[int, typer.Option(help="requests at once, waiting ones included; more get 503")] = 16,
) -> None:
    """An HTTP API and a web page around a student. API: /openapi.json; metrics: /metrics."""
    import uvicorn

    from .deploy.runtime import load_any
    from .deploy.service.app import make_app
    from .deploy.service.uploads import ServiceLimits

    limits = ServiceLimits(megabytes=megabytes, seconds=seconds, waiting=waiting)
    uvicorn.run(make_app(load_any(checkpoint), limits, examples), host=host, port=port, log_level="warning")


@app.command()
def check(
    root: Root,
    settings: Settings = None,
    dataset: Annotated[str, typer.Option(help="which data set it is")] = "folder",
    workers: Annotated[int, typer.Option(help="processes; 0 is one per core")] = 0,
    json_path: Annotated[Path | None, typer.Option("--json", help="write everything here")] = None,
    csv_path: Annotated[Path | None, typer.Option("--csv", help="write one row per file here")] = None,
) -> None:
    """Look at every file of a data set. Exit code 0: nothing wrong, 1: warnings, 3: something cannot be used."""
    from .datasets import load_data_set
    from .evaluation.tables import print_check
    from .files import write_json
    from .preparation.check import check_manifest
    from .progress import Progress

    with Progress("check") as progress:
        result = check_manifest(load_data_set(dataset, root, settings or []), workers, progress.update)
    print_check(result)
    if json_path is not None:
        write_json(json_path, result.as_json())
    if csv_path is not None:
        result.write_csv(csv_path)
    raise typer.Exit(3 if result.errors else 1 if result.warnings else 0)


@app.command()
def prepare(
    root: Root,
    out: Annotated[str, typer.Option(help="where to write shards: a directory or any fsspec address, e.g. s3://bucket/set")],
    settings: Settings = None,
    dataset: Annotated[str, typer.Option(help="which data set it is")] = "folder",
    config: Annotated[list[str] | None, typer.Option("--set", help="what a prepared set holds, e.g. short_side=128")] = None,
    workers: Annotated[int, typer.Option(help="processes; 0 is one per core")] = 0,
    engine: Annotated[str, typer.Option(help="local (processes of this machine) or ray (a cluster)")] = "local",
    max_failures: Annotated[int | None, typer.Option(help="stop after so many failed readings")] = None,
) -> None:
    """Cut a data set into labelled segments, re-encoded, in WebDataset shards with a Parquet index. Resumable.

    Exit code 0: everything is there, 3: some readings failed and are named in failed.csv.
    """
    from .config import apply_override, build
    from .datasets import load_data_set
    from .preparation.prepare import ENGINES, describe_failures
    from .preparation.prepare import prepare as prepare_set
    from .preparation.segments import PrepareConfig
    from .progress import Progress

    if engine not in ENGINES:
        raise KarmmaError(f"unknown engine {engine!r}; known: {', '.join(ENGINES)}")
    tree: dict[str, object] = {}
    for override in config or []:
        apply_override(tree, override)
    chosen = build(PrepareConfig, tree, "--set")
    manifest = load_data_set(dataset, root, settings or [])
    with Progress("prepare") as progress:
        prepared = prepare_set(
            manifest, out, chosen, workers=workers, engine=engine, max_failures=max_failures, on_done=progress.update
        )
    typer.echo(describe_failures(prepared))
    raise typer.Exit(3 if prepared.failures else 0)


@app.command()
def profile(
    target: Annotated[Path, typer.Argument(help="a recipe or a checkpoint directory")],
    overrides: Overrides = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="write the figures here")] = None,
    plots: Annotated[Path | None, typer.Option(help="write bar plots of GFLOPs and memory into this directory")] = None,
    repeats: Annotated[int, typer.Option(help="forward passes timed per subset; 0 only counts and runs nothing")] = 3,
    batch: Annotated[int, typer.Option(help="batch size for the throughput")] = 1,
) -> None:
    """Parameters, GFLOPs, memory, latency and throughput for every subset of modalities."""
    from .evaluation.plots import plot_costs, save_png
    from .evaluation.tables import print_costs
    from .experiment.profiling import describe_costs, find_recognizers, profile_costs
    from .files import write_json
    from .progress import Progress

    with Progress("profile") as progress:
        costs = profile_costs(find_recognizers(target, overrides), repeats, batch, progress.update)
    print_costs(costs)
    if json_path is not None:
        write_json(json_path, describe_costs(costs, repeats, batch))
    if plots is not None:
        save_png(plot_costs(costs, "gflops", "GFLOPs per clip"), plots / "gflops.png")
        if repeats:
            save_png(plot_costs(costs, "peak_megabytes", "peak memory, MB"), plots / "memory.png")


@metrics_app.command("epic")
def metrics_epic(
    scores: Annotated[Path, typer.Argument(help=".npz with verb (N×97), noun (N×300) and narration_id (N)")],
    annotations: Annotated[Path, typer.Option(help="directory of EPIC-100's CSVs")],
    split: Annotated[str, typer.Option(help="which split the scores are for")] = "validation",
    json_path: Annotated[Path | None, typer.Option("--json", help="write the figures here")] = None,
) -> None:
    """EPIC-KITCHENS-100 action recognition: accuracy at 1 and 5, overall, tail classes, unseen participants."""
    from .evaluation.epic_metrics import epic_metrics, read_scores, read_truth
    from .files import write_json

    content = read_scores(scores)
    figures = epic_metrics(content, read_truth(annotations, content["narration_id"].tolist(), split))
    for name, value in figures.items():
        typer.echo(f"{name:32} {'–' if value is None else format(value, '.2f')}")
    if json_path is not None:
        write_json(json_path, figures)


@submit_app.command("epic")
def submit_epic(
    scores: Annotated[Path, typer.Argument(help=".npz with verb (N×97), noun (N×300) and narration_id (N)")],
    annotations: Annotated[Path, typer.Option(help="directory of EPIC-100's CSVs")],
    out: Annotated[Path, typer.Option(help="the zip to write")],
) -> None:
    """The zip for EPIC-KITCHENS-100's challenge, after a check against the clips of the test split."""
    from .datasets.annotations import read_column
    from .evaluation.epic_metrics import read_scores, write_submission

    write_submission(out, read_scores(scores), read_column(annotations / "EPIC_100_test_timestamps.csv", "narration_id"))
    typer.echo(f"wrote {out}")


@app.command()
def features(
    source: Annotated[Path, typer.Argument(help="a checkpoint directory, or a recipe whose teacher names published weights")],
    root: Root,
    out: Annotated[Path, typer.Option(help="directory for the shards; an unfinished one goes on")],
    settings: Settings = None,
    dataset: Annotated[str, typer.Option(help="which data set it is; `prepared` for shards")] = "prepared",
    only: Annotated[str | None, typer.Option(help="only these modalities, e.g. rgb+audio")] = None,
    views: Annotated[int, typer.Option(help="augmented views of every segment; the first is the fixed one")] = 1,
    batch_size: Annotated[int, typer.Option(help="segments at once")] = 16,
    workers: Annotated[int, typer.Option(help="decoding processes; 0 decodes in this one")] = 0,
) -> None:
    """Tokens of extractors for every segment of a data set, in shards of half precision, with their seconds. Resumable."""
    from .datasets import load_data_set
    from .preparation.features import load_extractors, write_features
    from .progress import Progress

    extractors = load_extractors(source)
    extractors = extractors.only(only.split("+")) if only else extractors
    manifest = load_data_set(dataset, root, settings or [])
    with Progress("features") as progress:
        counts = write_features(
            manifest, extractors, out, views=views, batch_size=batch_size, workers=workers, on_done=progress.update
        )
    for split, having in counts.items():
        typer.echo(f"{split}: " + ", ".join(f"{count} with {name}" for name, count in having.items()))


@bench_app.command("data")
def bench_data(
    recipe: Annotated[Path, typer.Argument(help="a recipe: its data set and modalities")],
    overrides: Overrides = None,
    split: Annotated[str, typer.Option(help="which split")] = "train",
    count: Annotated[int, typer.Option(help="random segments to read")] = 64,
    json_path: Annotated[Path | None, typer.Option("--json", help="write the figures here")] = None,
) -> None:
    """Samples per second of each stage of loading, beside what the decoder alone needs. Give data.root=DIR."""
    from .config import load_recipe
    from .datasets import find_data_set
    from .evaluation.tables import print_rates
    from .files import write_json
    from .modalities import make_modalities
    from .preparation.bench import bench_loading
    from .progress import Progress

    loaded = load_recipe(recipe, overrides)
    if loaded.data.root is None:
        raise KarmmaError(f"{recipe}: names no data.root; give data.root=DIR")
    kind = find_data_set(loaded.data.dataset)
    manifest = kind.load(Path(loaded.data.root), kind.settings(loaded.data.settings, "data.settings"))
    with Progress("bench") as progress:
        times = bench_loading(
            manifest.split(split), make_modalities(loaded.modalities), count=count, on_done=progress.update
        )
    print_rates(times.rates(), times.seconds)
    if json_path is not None:
        write_json(json_path, {"samples_per_second": times.rates(), "seconds": times.seconds, "samples": times.samples})


@convert_app.command("ssv2-boxes")
def convert_ssv2(
    files: Annotated[list[Path], typer.Argument(help="Something-Else's JSON files of boxes")],
    videos: Annotated[Path, typer.Option(help="directory of the .webm files")],
    out: Annotated[Path, typer.Option(help="directory for one CSV per video; ROOT/boxes is where the data set looks")],
) -> None:
    """Boxes of Something-Something V2."""
    from .datasets.boxes import convert_ssv2_boxes
    from .progress import Progress

    with Progress("convert") as progress:
        counts = convert_ssv2_boxes(files, videos, out, progress.update)
    typer.echo(f"{counts['written']} box files; {counts['without_video']} videos are not there")


@convert_app.command("epic-boxes")
def convert_epic(
    files: Annotated[list[Path], typer.Argument(help="hand-objects/<participant>/<video>.pkl")],
    annotations: Annotated[Path, typer.Option(help="directory with EPIC_100_video_info.csv")],
    out: Annotated[Path, typer.Option(help="directory for one CSV per video; ROOT/boxes is where the data set looks")],
) -> None:
    """Hand and object boxes of EPIC-KITCHENS-100. The pickles are read as plain lists; anything else in them is refused."""
    from .datasets.boxes import convert_epic_boxes
    from .datasets.epic import read_rates

    rates = read_rates(annotations / "EPIC_100_video_info.csv")
    for path in files:
        if path.stem not in rates:
            raise KarmmaError(f"{path}: {annotations / 'EPIC_100_video_info.csv'} has no video {path.stem!r}")
        typer.echo(f"{path.stem}: {convert_epic_boxes(path, out / f'{path.stem}.csv', rates[path.stem])} boxes")


def main() -> None:
    """Entry point."""
    try:
        app()
    except KarmmaError as error:
        print(f"karmma: {error}", file=sys.stderr)
        sys.exit(2)
    except ModuleNotFoundError as error:
        extra = next((extra for extra, names in EXTRAS.items() if error.name and error.name.split(".")[0] in names), None)
        if extra is None:
            raise
        print(f"karmma: this needs {error.name}: pip install 'karmma[{extra}]'", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
