"""Pictures of results, as data URIs for the report and PNG files beside it."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .tables import title_of

matplotlib.use("Agg")
STYLES: dict[str, dict[str, Any]] = {
    "teacher": {"color": "#6b7280", "linestyle": (0, (4, 3)), "marker": "None"},
    "baseline": {"color": "#94a3b8", "linestyle": "-", "marker": "s"},
    "baseline_dropout": {"color": "#d97706", "linestyle": "-", "marker": "^"},
    "karmma": {"color": "#1d4ed8", "linestyle": "-", "marker": "o", "linewidth": 2.4},
}
OTHER_COLOURS = ("#059669", "#be185d", "#7c3aed", "#0891b2", "#65a30d")


def style_of(method: str, index: int) -> dict[str, Any]:
    return STYLES.get(method, {"color": OTHER_COLOURS[index % len(OTHER_COLOURS)], "marker": "d"})


def new_figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=160, layout="constrained")
    figure.patch.set_facecolor("white")
    return figure


def tidy(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e5e7eb", linewidth=0.8)
    axes.set_axisbelow(True)


def plot_sweep(results: Mapping[str, Any], metric: str) -> Figure:
    """Accuracy against the probability that a modality is missing, in the manner of the paper's figure."""
    figure = new_figure(6.4, 4.0)
    axes = figure.subplots()
    for index, (name, method) in enumerate(results["methods"].items()):
        rates = [float(rate) for rate in method["sweep"]]
        means = np.array([entry[metric]["mean"] for entry in method["sweep"].values()], float)
        style = style_of(name, index)
        axes.plot([100 * rate for rate in rates], means, label=title_of(name), markersize=5, **style)
        deviations = [entry[metric]["std"] for entry in method["sweep"].values()]
        if None not in deviations:
            spread = np.array(deviations)
            axes.fill_between(
                [100 * rate for rate in rates], means - spread, means + spread, color=style["color"], alpha=0.15, linewidth=0
            )
    axes.set_xlabel("probability that a modality is missing, %")
    axes.set_ylabel(f"{metric.replace('_', ' ')}, %")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    tidy(axes)
    return figure


def plot_subsets(results: Mapping[str, Any], metric: str) -> Figure:
    """Bars per subset of modalities and method; at most 15 subsets, largest and smallest first."""
    names = list(results["methods"]["teacher"]["subsets"])
    if len(names) > 15:
        names = [
            name for name in names if name.count("+") in (0, len(results["modalities"]) - 1, len(results["modalities"]) - 2)
        ]
    methods = [name for name in results["methods"] if name != "teacher"]
    figure = new_figure(max(6.4, 0.75 * len(names) + 2), 3.6)
    axes = figure.subplots()
    width = 0.8 / len(methods)
    for index, method in enumerate(methods):
        entries = [results["methods"][method]["subsets"][name][metric] for name in names]
        places = np.arange(len(names)) + (index - (len(methods) - 1) / 2) * width
        errors = [entry["std"] or 0 for entry in entries]
        axes.bar(
            places,
            [entry["mean"] or 0 for entry in entries],
            width * 0.92,
            yerr=errors if any(errors) else None,
            color=style_of(method, index)["color"],
            label=title_of(method),
            ecolor="#374151",
        )
    axes.set_xticks(np.arange(len(names)), [name.replace("+", "\n+") for name in names], fontsize=8)
    axes.set_ylabel(f"{metric.replace('_', ' ')}, %")
    axes.legend(frameon=False, fontsize=8)
    tidy(axes)
    return figure


def plot_unimodal(results: Mapping[str, Any]) -> Figure:
    """What each sensor tells alone, verb against noun, beside always answering the most frequent class."""
    figure = new_figure(6.4, 3.2)
    axes = figure.subplots()
    heads = [head for head in ("verb", "noun", "action") if f"{head}_top1" in next(iter(results["unimodal"].values()))]
    groups = {**results["unimodal"], "most frequent": results["chance"]}
    for index, head in enumerate(heads):
        values = [group.get(f"{head}_top1") or 0.0 for group in groups.values()]
        places = np.arange(len(groups)) + (index - (len(heads) - 1) / 2) * 0.26
        bars = axes.bar(places, values, 0.24, color=("#1d4ed8", "#d97706", "#6b7280")[index], label=head)
        axes.bar_label(bars, fmt="%.0f", fontsize=7, padding=1)
    axes.set_xticks(np.arange(len(groups)), list(groups))
    axes.set_ylabel("top-1, %")
    axes.legend(frameon=False, fontsize=8)
    tidy(axes)
    return figure


def plot_confusion(counts: NDArray[np.int64], names: Sequence[str], title: str) -> Figure:
    """Rows are the truth (share of each class), columns the answers."""
    shown = [index for index in range(len(names)) if counts[index].sum() + counts[:, index].sum() > 0]
    shares = counts[np.ix_(shown, shown)] / np.maximum(counts[shown].sum(1, keepdims=True), 1)
    figure = new_figure(0.30 * len(shown) + 2.2, 0.27 * len(shown) + 1.6)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, column in zip(*np.nonzero(shares >= 0.05), strict=True):
        axes.text(
            column,
            row,
            f"{100 * shares[row, column]:.0f}",
            ha="center",
            va="center",
            fontsize=6,
            color="white" if shares[row, column] > 0.5 else "#111827",
        )
    labels = [names[index] for index in shown]
    axes.set_xticks(np.arange(len(shown)), labels, rotation=60, ha="right", fontsize=7)
    axes.set_yticks(np.arange(len(shown)), labels, fontsize=7)
    axes.set_xlabel("answer")
    axes.set_ylabel("truth")
    axes.set_title(title, fontsize=9)
    return figure


def plot_spectrogram(picture: NDArray[Any]) -> Figure:
    """A log-mel picture `(bands, frames)`, low bands at the bottom."""
    figure = Figure(figsize=(3.2, 1.2), dpi=110)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(np.asarray(picture, np.float32), origin="lower", aspect="auto", cmap="magma")
    axes.axis("off")
    return figure


def png_of(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def save_png(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png_of(figure))


def data_uri(figure: Figure) -> str:
    return image_uri(png_of(figure), "png")


def image_uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64," + base64.b64encode(content).decode()
