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
    sls_pt: Annotated[int, typer.Option(min=0, max=5, help="pre-training: 0 none, 1 public images, 2 and videos, …")] = 2,
    sls_tl: Annotated[int, typer.Option(min=0, max=5, help="labels: … 3 starts and stops, 4 and boxes, …")] = 3,
    sls_td: Annotated[int, typer.Option(min=0, max=5, help="data: … 3 the training split, 4 and the validation split, …")] = 3,
) -> None:
    """The zip for EPIC-KITCHENS-100's challenge, after a check against the clips of the test split.

    The levels of supervision are the challenge's (github.com/epic-kitchens/sls); the server shows them beside the figures.
    """
    from ..datasets.annotations import read_column
    from ..evaluation.epic_metrics import read_scores, write_submission

    expected = read_column(annotations / "EPIC_100_test_timestamps.csv", "narration_id")
    write_submission(out, read_scores(scores), expected, {"sls_pt": sls_pt, "sls_tl": sls_tl, "sls_td": sls_td})
    typer.echo(f"wrote {out}")
