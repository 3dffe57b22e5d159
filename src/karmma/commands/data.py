"""Verbs around data sets: making, checking and preparing them, features, how fast they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..types import KarmmaError
from .options import Overrides, Root, Settings


def simulate(
    directory: Annotated[Path, typer.Argument(help="where to write the set")],
    overrides: Overrides = None,
    seed: Annotated[int, typer.Option(min=0, help="other seeds are other kitchens")] = 0,
    workers: Annotated[int, typer.Option(min=0, help="processes; 0 is one per core")] = 0,
) -> None:
    """Write a simulated kitchen into DIRECTORY. Knobs are given as key=value, e.g. clutter=6 participants.train=3."""
    from ..datasets import KitchenConfig
    from ..datasets import simulate as write_kitchen
    from ..progress import Progress
    from ..trees import apply_overrides, build

    config = build(KitchenConfig, apply_overrides({"seed": seed}, overrides), "knobs")
    with Progress("simulate") as progress:
        write_kitchen(directory, config, workers=workers, on_done=progress.update)


def check(
    root: Root,
    settings: Settings = None,
    dataset: Annotated[str, typer.Option(help="which data set it is")] = "folder",
    workers: Annotated[int, typer.Option(min=0, help="processes; 0 is one per core")] = 0,
    json_path: Annotated[Path | None, typer.Option("--json", help="write everything here")] = None,
    csv_path: Annotated[Path | None, typer.Option("--csv", help="write one row per file here")] = None,
) -> None:
    """Look at every file of a data set. Exit code 0: nothing wrong, 1: warnings, 3: something cannot be used."""
    from ..datasets import load_data_set
    from ..evaluation.tables import print_check
    from ..files import write_json
    from ..preparation.check import check_manifest
    from ..progress import Progress

    with Progress("check") as progress:
        result = check_manifest(load_data_set(dataset, root, settings or []), workers, progress.update)
    print_check(result)
    if json_path is not None:
        write_json(json_path, result.as_json())
    if csv_path is not None:
        result.write_csv(csv_path)
    raise typer.Exit(3 if result.errors else 1 if result.warnings else 0)


def prepare(
    root: Root,
    out: Annotated[str, typer.Option(help="where to write shards: a directory or any fsspec address, e.g. s3://bucket/set")],
    settings: Settings = None,
    dataset: Annotated[str, typer.Option(help="which data set it is")] = "folder",
    config: Annotated[list[str] | None, typer.Option("--set", help="what a prepared set holds, e.g. short_side=128")] = None,
    workers: Annotated[int, typer.Option(min=0, help="processes; 0 is one per core")] = 0,
    engine: Annotated[str, typer.Option(help="local (processes of this machine) or ray (a cluster)")] = "local",
    max_failures: Annotated[int | None, typer.Option(min=0, help="stop after so many failed readings")] = None,
) -> None:
    """Cut a data set into labelled segments, re-encoded, in WebDataset shards with a Parquet index. Resumable.

    Exit code 0: everything is there, 3: some readings failed and are named in failed.csv.
    """
    from ..datasets import load_data_set
    from ..preparation.prepare import ENGINES, describe_failures
    from ..preparation.prepare import prepare as prepare_set
    from ..preparation.segments import PrepareConfig
    from ..progress import Progress
    from ..trees import apply_overrides, build

    if engine not in ENGINES:
        raise KarmmaError(f"unknown engine {engine!r}; known: {', '.join(ENGINES)}")
    chosen = build(PrepareConfig, apply_overrides({}, config), "--set")
    manifest = load_data_set(dataset, root, settings or [])
    with Progress("prepare") as progress:
        prepared = prepare_set(
            manifest, out, chosen, workers=workers, engine=engine, max_failures=max_failures, on_done=progress.update
        )
    typer.echo(describe_failures(prepared))
    raise typer.Exit(3 if prepared.failures else 0)


def features(
    source: Annotated[Path, typer.Argument(help="a checkpoint directory, or a recipe whose teacher names published weights")],
    root: Root,
    out: Annotated[Path, typer.Option(help="directory for the shards; an unfinished one goes on")],
    settings: Settings = None,
    dataset: Annotated[str, typer.Option(help="which data set it is; `prepared` for shards")] = "prepared",
    only: Annotated[str | None, typer.Option(help="only these modalities, e.g. rgb+audio")] = None,
    views: Annotated[int, typer.Option(min=1, help="augmented views of every segment; the first is the fixed one")] = 1,
    batch_size: Annotated[int, typer.Option(min=1, help="segments at once")] = 16,
    workers: Annotated[int, typer.Option(min=0, help="decoding processes; 0 decodes in this one")] = 0,
) -> None:
    """Tokens of extractors for every segment of a data set, in shards of half precision, with their seconds. Resumable."""
    from ..datasets import load_data_set
    from ..files import alone_in
    from ..preparation.features import load_extractors, write_features
    from ..progress import Progress

    extractors = load_extractors(source)
    extractors = extractors.only(only.split("+")) if only else extractors
    manifest = load_data_set(dataset, root, settings or [])
    with alone_in(out), Progress("features") as progress:
        counts = write_features(
            manifest, extractors, out, views=views, batch_size=batch_size, workers=workers, on_done=progress.update
        )
    for split, having in counts.items():
        typer.echo(f"{split}: " + ", ".join(f"{count} with {name}" for name, count in having.items()))


def bench_data(
    recipe: Annotated[Path, typer.Argument(help="a recipe or the name of a shipped one: its data set and modalities")],
    overrides: Overrides = None,
    split: Annotated[str, typer.Option(help="which split")] = "train",
    count: Annotated[int, typer.Option(min=1, help="random segments to read")] = 64,
    json_path: Annotated[Path | None, typer.Option("--json", help="write the figures here")] = None,
) -> None:
    """Samples per second of each stage of loading, beside what the decoder alone needs. Give data.root=DIR."""
    from ..config import load_recipe
    from ..datasets import find_data_set
    from ..evaluation.tables import print_rates
    from ..files import write_json
    from ..modalities import make_modalities
    from ..preparation.bench import bench_loading
    from ..progress import Progress

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
