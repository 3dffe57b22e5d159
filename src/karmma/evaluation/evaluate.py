"""Protocols: every subset (P1) and random dropout (P2) of one checkpoint.

Extractors run once per clip and modality; only fusion and heads run for each subset. Any scenario is then a look-up of
the logits that belong to what each sample has left, so P1 and P2 agree by construction of the data, not of the sampler.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..augmentation import Augmentation
from ..data.clips import ClipStore
from ..data.loading import mix_seed
from ..data.missing import IndependentDropout, Scenario, Subset, split_presence
from ..files import replacing
from ..models.recognizer import RecognizerModel
from ..types import subset_name, subsets_of
from .metrics import accuracies, correctness, headline_of, mean_of, retention

WHOSE = ("names", "participants")
LOGITS, FIXED_LOGITS = "logits.safetensors", "logits-single-view.safetensors"  # of a tested method, beside its checkpoint
Accuracies = dict[str, float | None]
Encode = Callable[[str, Tensor], Tensor]


@dataclass(frozen=True)
class SubsetLogits:
    """Logits of every sample under every subset of its modalities.

    `logits[subset][head]` `(samples, classes)`; a subset's row of a sample that lacks part of it is that of what it has.
    `names` and `participants` say whose they are; files of older runs do not, and then both are empty.
    """

    modalities: tuple[str, ...]
    available: Tensor
    labels: Mapping[str, Tensor]
    logits: Mapping[tuple[str, ...], Mapping[str, Tensor]]
    names: tuple[str, ...] = ()
    participants: tuple[str, ...] = ()

    def save(self, path: Path) -> None:
        """Write all logits, labels, availability and whose they are as safetensors."""
        tensors = {
            f"logits/{subset_name(s)}/{head}": v.contiguous()
            for s, heads in self.logits.items()
            for head, v in heads.items()
        }
        tensors |= {f"labels/{head}": values.contiguous() for head, values in self.labels.items()}
        metadata = {"modalities": subset_name(self.modalities), "heads": "+".join(self.labels)}
        metadata |= {key: json.dumps(getattr(self, key)) for key in WHOSE}
        with replacing(path) as temporary:
            save_file({**tensors, "available": self.available.contiguous()}, str(temporary), metadata)

    @staticmethod
    def load(path: Path) -> SubsetLogits:
        with safe_open(str(path), "pt") as file:
            modalities = tuple(file.metadata()["modalities"].split("+"))
            heads = file.metadata()["heads"].split("+")
            whose = {key: tuple(json.loads(file.metadata().get(key, "[]"))) for key in WHOSE}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        logits = {s: {head: tensors[f"logits/{subset_name(s)}/{head}"] for head in heads} for s in subsets_of(modalities)}
        labels = {head: tensors[f"labels/{head}"] for head in heads}
        return SubsetLogits(modalities, tensors["available"], labels, logits, **whose)

    @cached_property
    def correct(self) -> dict[tuple[str, ...], dict[str, Tensor]]:
        return {subset: correctness(values, self.labels) for subset, values in self.logits.items()}

    def under(self, presence: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Correctness per metric under a presence `(samples, modalities)`, and which samples have anything left."""
        some = presence.any(1)
        keys = {subset: torch.tensor([name in subset for name in self.modalities]) for subset in self.logits}
        first = next(iter(self.correct.values()))
        result = {metric: torch.zeros(len(presence), dtype=torch.bool) for metric in first}
        for subset, key in keys.items():
            rows = (presence == key).all(1)
            for metric in result:
                result[metric][rows] = self.correct[subset][metric][rows]
        return result, some

    def logits_under(self, presence: Tensor) -> dict[str, Tensor]:
        """Logits per head under a presence `(samples, modalities)`; NaN where nothing is left."""
        first = next(iter(self.logits.values()))
        result = {head: torch.full_like(values, torch.nan) for head, values in first.items()}
        for subset, heads in self.logits.items():
            rows = (presence == torch.tensor([name in subset for name in self.modalities])).all(1)
            for head, values in heads.items():
                result[head][rows] = values[rows]
        return result

    def accuracies(self, scenario: Scenario, seed: int = 0) -> Accuracies:
        """Percent per metric under one draw of a scenario, over the samples that have anything left."""
        generator = torch.Generator().manual_seed(seed)
        correct, some = self.under(scenario.presence(self.available, self.modalities, generator))
        return accuracies(correct, some)


@torch.no_grad()
def subset_logits(
    model: RecognizerModel, store: ClipStore, *, subsets: Sequence[tuple[str, ...]] | None = None, view: int = 0,
    batch_size: int = 64, device: torch.device | str = "cpu", on_done: Callable[[int, int], None] | None = None,
) -> SubsetLogits:  # fmt: skip
    """Run a recognizer over a stored split under some or every subset of its modalities; `view` 0 is the fixed look at a clip."""
    model = model.to(device).eval()
    columns = [store.names.index(name) for name in model.modalities]
    available = store.available[:, columns]
    rows = available.any(1).nonzero().flatten()
    subsets = subsets_of(model.modalities) if subsets is None else subsets
    pieces: dict[tuple[str, ...], list[dict[str, Tensor]]] = {subset: [] for subset in subsets}
    for first in range(0, len(rows), batch_size):
        index = rows[first : first + batch_size]
        batch = store.batch(index.numpy(), look(len(index), view, first), model.modalities).to(device)
        having = available[index].to(device)
        features = {
            name: model.extract(name, batch.data[name][having[:, column]])
            for column, name in enumerate(model.modalities)
            if having[:, column].any()
        }
        for subset in subsets:
            pieces[subset].append(fuse_subset(model, features, having, subset))
        if on_done:
            on_done(first + len(index), len(rows))
    nothing = {head: torch.empty(0, size) for head, size in head_sizes(model).items()}  # where no segment has any of them
    logits = {
        subset: {head: torch.cat([none, *(piece[head] for piece in parts)]) for head, none in nothing.items()}
        for subset, parts in pieces.items()
    }
    labels = {head: values[rows] for head, values in store.labels.items()}
    return SubsetLogits(model.modalities, available[rows], labels, logits, *whose(store, rows))


@torch.no_grad()
def specialist_logits(
    models: Mapping[tuple[str, ...], RecognizerModel], modalities: tuple[str, ...], store: ClipStore, *,
    view: int = 0, batch_size: int = 64, device: torch.device | str = "cpu", on_done: Callable[[int, int], None] | None = None,
) -> SubsetLogits:  # fmt: skip
    """Logits of every subset that has a model of its own; a sample that lacks part of it goes to the model of the rest."""
    available = store.available[:, [store.names.index(name) for name in modalities]]
    rows = available.any(1).nonzero().flatten()
    available = available[rows]
    logits: dict[tuple[str, ...], dict[str, Tensor]] = {}
    known = [subset for subset in subsets_of(modalities) if subset in models]
    for number, subset in enumerate(reversed(known)):
        columns = [modalities.index(name) for name in subset]
        whole = available[:, columns].all(1)
        model = models[subset].to(device).eval()
        logits[subset] = {head: torch.full((len(rows), size), torch.nan) for head, size in head_sizes(model).items()}
        for index in whole.nonzero().flatten().split(batch_size):
            batch = store.batch(rows[index].numpy(), look(len(index), view, int(index[0])), subset).to(device)
            present = {name: torch.ones(len(index), dtype=torch.bool, device=device) for name in subset}
            for head, values in model({name: batch.data[name] for name in subset}, present).items():
                logits[subset][head][index] = values.float().cpu()
        for index in (~whole & available[:, columns].any(1)).nonzero().flatten().tolist():
            rest = tuple(name for name, column in zip(subset, columns, strict=True) if available[index, column])
            for head in logits[subset]:
                logits[subset][head][index] = logits[rest][head][index]
        if on_done:
            on_done(number + 1, len(models))
    labels = {head: values[rows] for head, values in store.labels.items()}
    return SubsetLogits(modalities, available, labels, {subset: logits[subset] for subset in known}, *whose(store, rows))


def whose(store: ClipStore, rows: Tensor) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names and participants of some segments of a store."""
    segments = [store.segments[row] for row in rows.tolist()]
    return tuple(segment.name for segment in segments), tuple(segment.participant for segment in segments)


def look(count: int, view: int, first: int) -> Augmentation | None:
    """How `count` clips from row `first` on are seen in a view: 0 is the fixed look, others follow from their number alone."""
    return None if view == 0 else Augmentation.draw(count, mix_seed(view, first), mirror=0.0)


def several_views(
    see: Callable[..., SubsetLogits], views: int, on_done: Callable[[int, int], None]
) -> tuple[SubsetLogits, SubsetLogits]:
    """`see(view=…, on_done=…)` for each of so many views: logits of the fixed look alone, and of all of them together."""

    def tell(view: int) -> Callable[[int, int], None]:
        return lambda done, total: on_done(view * total + done, views * total)

    each = [see(view=view, on_done=tell(view)) for view in range(views)]
    return each[0], average_views(each)


def average_views(views: Sequence[SubsetLogits]) -> SubsetLogits:
    """The log of the mean probability of several looks at the same samples; a single look is returned as it is."""
    if len(views) == 1:
        return views[0]
    logits = {subset: average_logits([view.logits[subset] for view in views]) for subset in views[0].logits}
    return replace(views[0], logits=logits)


def late_fusion(specialists: SubsetLogits) -> SubsetLogits:
    """For every subset the log of the mean probability of its single-sensor models (those a sample has)."""
    logits = {
        subset: average_logits([specialists.logits[(name,)] for name in subset])
        for subset in subsets_of(specialists.modalities)
    }
    return replace(specialists, logits=logits)


def average_logits(logits: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The log of the mean probability per head; NaN rows do not count."""
    return {head: torch.stack([values[head].softmax(-1) for values in logits]).nanmean(0).log() for head in logits[0]}


def fuse_subset(
    model: RecognizerModel, features: Mapping[str, Tensor], having: Tensor, subset: Sequence[str]
) -> dict[str, Tensor]:
    """Logits of a batch that keeps only `subset`; samples left with nothing get NaN."""
    keep = Subset(tuple(subset)).presence(having.cpu(), model.modalities, torch.Generator()).to(having.device)
    some = keep.any(1)
    present = split_presence(keep[some], model.modalities)
    left = {}
    for column, name in enumerate(model.modalities):
        if name in features and keep[:, column].any():
            left[name] = features[name][keep[having[:, column], column]]
    if not some.any():
        return {head: torch.full((len(having), size), torch.nan) for head, size in head_sizes(model).items()}
    fused = model.fuse(left, present)
    result = {}
    for head, values in fused.items():
        result[head] = torch.full((len(having), values.shape[1]), torch.nan)
        result[head][some.cpu()] = values.float().cpu()
    return result


def head_sizes(model: RecognizerModel) -> dict[str, int]:
    return {head: linear.out_features for head, linear in model.heads.heads.items()}  # type: ignore[misc]


@dataclass(frozen=True)
class Evaluation:
    """Protocols P1 and P2 of one checkpoint: percent by subset name, and by dropout rate."""

    subsets: dict[str, Accuracies]
    sweep: dict[str, Accuracies]
    retention: dict[str, float | None]
    samples: int


def headline_figures(logits: SubsetLogits) -> dict[str, float]:
    """Percent of the metric to show first: with everything that a sample has, and in the mean over subsets."""
    subsets = {subset: logits.accuracies(Subset(subset)) for subset in logits.logits}
    metric = headline_of(list(subsets[logits.modalities]))
    figures = {
        metric: subsets[logits.modalities][metric],
        f"{metric}_mean_over_subsets": mean_of(values[metric] for values in subsets.values()),
    }
    return {name: value for name, value in figures.items() if value is not None}


def evaluate(logits: SubsetLogits, rates: Sequence[float], draws: int) -> Evaluation:
    """P1 and P2 from the logits of all subsets."""
    subsets = {subset: logits.accuracies(Subset(subset)) for subset in logits.logits}
    sweep = {}
    for rate in rates:
        rows = [logits.accuracies(IndependentDropout(rate), seed) for seed in range(draws)]
        sweep[f"{rate:.1f}"] = {metric: mean_of(row[metric] for row in rows) for metric in rows[0]}
    metrics = next(iter(subsets.values()))
    kept = {metric: retention({s: values[metric] for s, values in subsets.items()}, logits.modalities) for metric in metrics}
    return Evaluation({subset_name(s): values for s, values in subsets.items()}, sweep, kept, len(logits.available))
