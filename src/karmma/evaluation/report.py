"""The report of a run: report.html (one self-contained page), CSV tables and plots beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from math import isinf
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..data.clips import ClipStore
from ..data.manifest import Manifest
from ..files import write_csv, write_text
from ..modalities import DrawnAsJoints
from ..types import subset_name, subsets_of
from .evaluate import SubsetLogits
from .metrics import confusion
from .plots import (
    data_uri,
    image_uri,
    plot_confusion,
    plot_differences,
    plot_joints,
    plot_spectrogram,
    plot_subsets,
    plot_sweep,
    plot_unimodal,
    plot_watched,
    save_png,
)  # fmt: skip
from .tables import as_share, headline_metric, subsets_of_results, title_of, with_deviation, with_interval

STUDENT = "karmma"


def write_report(directory: Path, results: Mapping[str, Any], store: ClipStore, manifest: Manifest) -> None:
    """Write `tables/*.csv`, `plots/*.png` and `report.html` into a run's directory."""
    metric = headline_metric(results)
    write_tables(directory / "tables", results)
    figures = {"subsets": plot_subsets(results, metric)}
    if results["settings"]["evaluation"]["sweep"]:
        figures["sweep"] = plot_sweep(results, metric)
    if results["unimodal"]:
        figures["unimodal"] = plot_unimodal(results)
    if results["differences"] is not None:
        figures["differences"] = plot_differences(results["differences"])
    if any("watched" in method for method in results["methods"].values()):
        figures["watched"] = plot_watched(results, metric)
    for name, figure in figures.items():
        save_png(figure, directory / "plots" / f"{name}.png")
    shown = STUDENT if STUDENT in results["methods"] else list(results["methods"])[-1]
    logits = SubsetLogits.load(directory / f"seed{results['seeds'][0]}" / shown / "logits.safetensors")
    context = {
        "results": results,
        "metric": metric,
        "metrics": list(next(iter(subsets_of_results(results).values()))),
        "subsets": list(subsets_of_results(results)),
        "costs": {title_of(name): results["methods"][name]["gflops_by_subset"] for name in cost_columns(results, shown)},
        "title_of": title_of,
        "with_deviation": with_deviation,
        "as_share": as_share,
        "with_interval": with_interval,
        "plots": {name: data_uri(figure) for name, figure in figures.items()},
        "headline": headline(results, metric),
        "confusions": confusions(results, metric, shown, logits, manifest),
        "examples": examples(results, store, logits, manifest),
        "shown": title_of(shown),
        "failures": store.failures(),
    }
    template = files("karmma.evaluation").joinpath("report.html").read_text()
    page = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(template).render(context)
    write_text(directory / "report.html", page)


def cost_columns(results: Mapping[str, Any], shown: str) -> list[str]:
    """The teacher, where there is one, and the student that is shown."""
    return [name for name in results["methods"] if name in ("teacher", shown)]


def headline(results: Mapping[str, Any], metric: str) -> list[dict[str, Any]]:
    """The mean over subsets and what is kept, per method, for the cards on top."""
    return [
        {
            "title": title_of(name),
            "name": name,
            "mean": with_deviation(method["mean_over_subsets"][metric]),
            "retention": as_share(method["retention"][metric]),
            "size": f"{method['parameters'] / 1e6:.2f} M parameters, {method['gflops']:.2f} GFLOPs",
        }
        for name, method in results["methods"].items()
    ]


def write_tables(directory: Path, results: Mapping[str, Any]) -> None:
    """`subsets.csv`, `sweep.csv`, `unimodal.csv`: long tables, one figure a row."""
    directory.mkdir(parents=True, exist_ok=True)
    for protocol in ("subsets", "sweep"):
        rows = [
            [method, key, metric, summary["mean"], summary["std"], summary["n"]]
            for method, entry in results["methods"].items()
            for key, metrics in entry[protocol].items()
            for metric, summary in metrics.items()
        ]
        write_csv(directory / f"{protocol}.csv", ["method", protocol.removesuffix("s"), "metric", "mean", "std", "n"], rows)
    rows = [[name, metric, value] for name, metrics in results["unimodal"].items() for metric, value in metrics.items()]
    write_csv(directory / "unimodal.csv", ["modality", "metric", "percent"], rows)


def confusions(
    results: Mapping[str, Any], metric: str, method: str, logits: SubsetLogits, manifest: Manifest
) -> list[dict[str, str]]:
    """Confusion of every head for the subset on which the student is worst."""
    values = results["methods"][method]["subsets"]
    worst = min(
        values, key=lambda subset: values[subset][metric]["mean"] if values[subset][metric]["mean"] is not None else 101
    )
    heads = logits.logits[tuple(worst.split("+"))]
    pictures = []
    for head, names in manifest.labels.names.items():
        some = ~heads[head].isnan().any(1)
        counts = confusion(heads[head][some], logits.labels[head][some]).numpy()
        pictures.append({"head": head, "image": data_uri(plot_confusion(counts, names, f"{head}, only {worst}"))})
    return pictures


def shown_subsets(modalities: Sequence[str]) -> list[tuple[str, ...]]:
    """Everything, each modality missing, each alone."""
    sizes = {len(modalities), len(modalities) - 1, 1}
    return [subset for subset in subsets_of(modalities) if len(subset) in sizes]


def examples(results: Mapping[str, Any], store: ClipStore, logits: SubsetLogits, manifest: Manifest) -> list[dict[str, Any]]:
    """A few clips, evenly spread over the split, with what the student answers for each subset."""
    count = min(results["settings"]["evaluation"]["examples"], len(store.usable))
    chosen = np.linspace(0, len(store.usable) - 1, count + 2).round().astype(int)[1:-1]
    return [example(int(row), store, logits, manifest) for row in chosen]


def example(row: int, store: ClipStore, logits: SubsetLogits, manifest: Manifest) -> dict[str, Any]:
    index = int(store.usable[row])
    segment, names = store.segments[index], manifest.labels.names
    answers = []
    for subset in shown_subsets(logits.modalities):
        found = {
            head: int(values[row].argmax())
            for head, values in logits.logits[subset].items()
            if not values[row].isnan().any()
        }
        if found:
            answers.append({
                "subset": subset_name(subset),
                "answer": " ".join(names[head][best] for head, best in found.items()),
                "right": all(best == segment.labels[head] for head, best in found.items()),
            })  # fmt: skip
    return {
        "name": segment.name,
        "truth": " ".join(names[head][label] for head, label in segment.labels.items()),
        "seconds": f"{segment.start_seconds:.2f}–{'end' if isinf(segment.stop_seconds) else f'{segment.stop_seconds:.2f} s'}",
        "strip": filmstrip(store, index),
        "spectrogram": data_uri(plot_spectrogram(store.arrays["audio"][index])) if has(store, "audio", index) else None,
        "joints": {name: data_uri(figure) for name, figure in joints(store, index).items()},
        "answers": answers,
    }


def has(store: ClipStore, name: str, index: int) -> bool:
    return name in store.arrays and bool(store.available[index, store.names.index(name)])


def filmstrip(store: ClipStore, index: int) -> str | None:
    """Six frames side by side as a JPEG data URI: rgb, else depth."""
    name = next((name for name in ("rgb", "depth") if has(store, name, index)), None)
    if name is None:
        return None
    frames = store.arrays[name][index] if name == "rgb" else depth_levels(store, index)
    strip = np.concatenate(list(frames[np.linspace(0, len(frames) - 1, 6).round().astype(int)]), 1)
    if name == "depth":
        strip = cv2.applyColorMap(strip, cv2.COLORMAP_BONE)[..., ::-1]
    big = cv2.resize(strip, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    return image_uri(cv2.imencode(".jpg", big[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes(), "jpeg")


def joints(store: ClipStore, index: int) -> dict[str, Figure]:
    """Of a clip's skeletons and hands, by modality, six poses next to each other."""
    drawn = {}
    for name, modality in store.modalities.items():
        if isinstance(modality, DrawnAsJoints) and has(store, name, index):
            poses = modality.drawn_joints(store.batch([index], None, [name]).data[name][0].numpy())
            drawn[name] = plot_joints(poses[np.linspace(0, len(poses) - 1, 6).round().astype(int)], modality.bones)
    return drawn


def depth_levels(store: ClipStore, index: int) -> NDArray[np.uint8]:
    """The fixed look at a clip's depth as grey pictures `(frames, height, width)`; what is stored may hold several directions."""
    look = store.batch([index], None, ["depth"]).data["depth"][0, ..., 0]
    return np.asarray((look / look.max().clamp(min=1e-6) * 255).byte().numpy(), np.uint8)
