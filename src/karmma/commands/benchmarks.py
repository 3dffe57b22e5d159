"""Verbs for published benchmarks: official figures and files for their servers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def metrics_epic(
    scores: Annotated[Path, typer.Argument(help=".npz with verb (N×97), noun (N×300) and narration_id (N)")],
    annotations: Annotated[Path, typer.Option(help="directory of EPIC-100's CSVs")],
    split: Annotated[str, typer.Option(help="which split the scores are for")] = "validation",
    json_path: Annotated[Path | None, typer.Option("--json", help="write the figures here")] = None,
) -> None:
    """EPIC-KITCHENS-100 action recognition: accuracy at 1 and 5, overall, tail classes, unseen participants."""
    from ..evaluation.epic_metrics import epic_metrics, read_scores, read_truth
    from ..files import write_json

    content = read_scores(scores)
    figures = epic_metrics(content, read_truth(annotations, content["narration_id"].tolist(), split))
    for name, value in figures.items():
        typer.echo(f"{name:32} {'–' if value is None else format(value, '.2f')}")
    if json_path is not None:
        write_json(json_path, figures)


def submit_epic(
    scores: Annotated[Path, typer.Argument(help=".npz with verb (N×97), noun (N×300) and narration_id (N)")],
    annotations: Annotated[Path, typer.Option(help="directory of EPIC-100's CSVs")],
    out: Annotated[Path, typer.Option(help="the zip to write")],
) -> None:
    """The zip for EPIC-KITCHENS-100's challenge, after a check against the clips of the test split."""
    from ..datasets.annotations import read_column
    from ..evaluation.epic_metrics import read_scores, write_submission

    write_submission(out, read_scores(scores), read_column(annotations / "EPIC_100_test_timestamps.csv", "narration_id"))
    typer.echo(f"wrote {out}")
