"""A model card beside a checkpoint: what it recognises from what, how well, and how to use it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from ..files import write_text
from ..modalities import FROM_VIDEO
from ..models.checkpoint import load_checkpoint
from .metrics import ACTION, headline_of
from .profile import count_gflops, count_parameters
from .tables import title_of


def write_card(directory: Path, method: str, measured: Mapping[str, Any], split: str, views: int) -> None:
    """Write `README.md` into a checkpoint's directory, in the layout that model hubs show.

    `measured` is the content of its evaluation.json: `subsets`, `samples`, and with several `views` the `single_view`.
    """
    model, info = load_checkpoint(directory)
    metrics = list(next(iter(measured["subsets"].values())))
    context = {
        "title": title_of(method), "directory": directory.name, "provenance": info.provenance, "modalities": model.modalities,
        "heads": " and ".join(f"{len(names)} {head}s" for head, names in info.labels.names.items()),
        "action": f"{ACTION}_top1" in metrics, "first_head": info.labels.heads[0], "labels": info.labels.names,
        "parameters": count_parameters(model), "gflops": count_gflops(model, info.specs, model.modalities),
        "split": split, "views": views, "samples": measured["samples"], "subsets": measured["subsets"],
        "single_view": measured.get("single_view"), "metrics": metrics, "headline": headline_of(metrics), "percent": percent,
        "from_video": any(name in FROM_VIDEO for name in model.modalities), "specs": info.specs,
        "settings": {name: ", ".join(f"{key} {value}" for key, value in some.items()) for name, some in info.modalities.items()},
    }  # fmt: skip
    template = files("karmma.evaluation").joinpath("card.md").read_text(encoding="utf-8")
    page = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True).from_string(template)
    write_text(directory / "README.md", page.render(context))


def percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
