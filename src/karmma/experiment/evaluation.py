"""`karmma evaluate`: a checkpoint on a data set under the protocols of missing modalities."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..config import EvaluationConfig
from ..data.clips import ClipStore
from ..data.manifest import Segment
from ..data.missing import ObservationLevel, Scenario, read_mask
from ..datasets import find_data_set
from ..evaluation.adaptation import Midl, adapted_logits
from ..evaluation.evaluate import SubsetLogits, evaluate, several_views, subset_logits
from ..evaluation.metrics import accuracies, correctness, mean_of
from ..evaluation.windows import WINDOW_SECONDS, cut_windows, window_accuracies
from ..files import replacing
from ..modalities import Modality, make_modalities
from ..models.checkpoint import load_checkpoint
from ..models.recognizer import RecognizerModel
from ..progress import Progress
from ..training.fit import training_device
from ..types import KarmmaError

OBSERVATION_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
ProtocolName = Literal["all", "subsets", "sweep", "observation", "window"]
WINDOW_DRAWS = 5


@dataclass(frozen=True)
class Protocol:
    """What to measure: P1 and P2 (`all`, or one of them), or what happens where the modalities in `missing` fail:

    P3 (`observation`) for whole samples or by a published mask, P4 (`window`) for windows within long clips.
    """

    name: str = "all"
    missing: tuple[str, ...] = ()
    mask: Path | None = None
    adaptation: Midl | None = None  # P3 once more, for a network that goes on learning from the complete clips it meets

    def __post_init__(self) -> None:
        known = ProtocolName.__args__  # type: ignore[attr-defined]
        if self.name not in known:
            raise KarmmaError(f"unknown protocol {self.name!r}; known: {', '.join(known)}")
        if (self.name in ("observation", "window")) != bool(self.missing or self.mask):
            raise KarmmaError("the protocols observation and window, and only they, need --missing MODALITIES or --mask CSV")
        if self.name == "window" and self.mask:
            raise KarmmaError("--mask belongs to the protocol observation")
        if self.adaptation and self.name != "observation":
            raise KarmmaError("--adapt belongs to the protocol observation")


def evaluate_checkpoint(
    checkpoint: Path, root: Path, dataset: str | None, split: str, cache: Path | None, settings: dict[str, Any] | None = None,
    protocol: Protocol | None = None, views: int = 1,
) -> dict[str, Any]:  # fmt: skip
    """Percent under a protocol, by the mean probability of `views` looks (EvaluationConfig).

    Without a name `root` holds the data set that the checkpoint was trained on.
    Raises KarmmaError if the checkpoint knows other classes than the data, and for several looks at clips that are learnt from.
    """
    protocol = protocol or Protocol()
    if protocol.adaptation and views > 1:
        raise KarmmaError(f"--adapt looks at each clip once, as it comes; --views {views} looks again")
    opened = open_split(checkpoint, root, dataset, split, settings or {}, labelled=True)
    owners: list[int] = []
    if protocol.name == "window":
        segments, owners = cut_windows(opened.segments)
        opened = replace(opened, segments=segments, name=f"{split}-windows")
    with opened.stored(cache) as store:
        logits = opened.logits(store, views, "evaluate")
        if owners:
            return measure_windows(logits, torch.tensor(owners)[store.usable], protocol.missing)
        adapted = measure_adapted(opened.model, store, logits, protocol) if protocol.adaptation else {}
        return measure(logits, protocol) | adapted


@dataclass(frozen=True)
class OpenedSplit:
    """A checkpoint's network and modalities beside the segments of a split that has its classes."""

    name: str
    model: RecognizerModel
    modalities: dict[str, Modality]
    segments: Sequence[Segment]

    @contextmanager
    def stored(self, cache: Path | None) -> Iterator[ClipStore]:
        """Its clips, decoded into a directory of the cache or into one that is gone afterwards."""
        with tempfile.TemporaryDirectory() as temporary:
            store = ClipStore((cache or Path(temporary)) / self.name, self.segments, self.modalities)
            with Progress(f"read.{self.name}") as progress:
                store.write(on_done=progress.update)
            yield store

    def logits(self, store: ClipStore, views: int, stage: str, subsets: Sequence[tuple[str, ...]] | None = None) -> SubsetLogits:
        """The log of the mean probability of several looks, by subset of modalities."""
        see = partial(subset_logits, self.model, store, subsets=subsets, device=training_device())
        with Progress(stage) as progress:
            return several_views(see, views, progress.update)[1]


def open_split(
    checkpoint: Path, root: Path, dataset: str | None, split: str, settings: dict[str, Any], *, labelled: bool = False
) -> OpenedSplit:
    """Raises KarmmaError if the checkpoint knows other classes than the data, or for a split without labels that has to have them."""
    model, info = load_checkpoint(checkpoint)
    kind = find_data_set(dataset or info.data_set)
    manifest = kind.load(root, kind.settings(settings, "settings"))
    manifest.labels.require_same(info.labels, f"checkpoint {checkpoint}")
    modalities = make_modalities(info.modalities, f"{checkpoint}/config.json: modalities")
    return OpenedSplit(split, model, modalities, manifest.labelled_split(split) if labelled else manifest.split(split))


@dataclass(frozen=True)
class Scores:
    """What a checkpoint says of every clip of a split: logits by head `(clips, classes)`, clip by clip of `names`.

    Clips in `unread` have none of the wanted modalities, or none that can be read: all their scores are 0.
    """

    names: tuple[str, ...]
    logits: dict[str, NDArray[np.float32]]
    unread: tuple[str, ...]

    def save(self, path: Path) -> None:
        """An .npz with an array per head and `narration_id`, as EPIC-KITCHENS calls a clip's name; what `karmma metrics` takes."""
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, narration_id=np.array(self.names), **self.logits)


def require_npz(path: Path) -> None:
    """Raise KarmmaError for another kind of file, before there are scores to lose."""
    if path.suffix != ".npz":
        raise KarmmaError(f"{path}: scores are written as .npz")


def score_split(
    checkpoint: Path, root: Path, dataset: str | None, split: str, cache: Path | None, settings: dict[str, Any],
    only: tuple[str, ...] = (), views: int = 1,
) -> Scores:  # fmt: skip
    """Scores of every clip with everything that it has, or with what it has of `only`. Labels are not needed.

    Raises KarmmaError for a modality that the checkpoint does not have.
    """
    opened = open_split(checkpoint, root, dataset, split, settings)
    known = opened.model.modalities
    for name in only:
        if name not in known:
            raise KarmmaError(f"checkpoint {checkpoint} has no modality {name!r}; it has {', '.join(known)}")
    subset = tuple(name for name in known if name in only or not only)
    with opened.stored(cache) as store:
        rows = store.available[:, [store.names.index(name) for name in known]].any(1).nonzero().flatten()  # as subset_logits has them
        seen = opened.logits(store, views, "scores", [subset]).logits[subset]
    names = tuple(segment.name for segment in opened.segments)
    answered = torch.zeros(len(names), dtype=torch.bool)
    logits = {}
    for head, values in seen.items():
        good = ~values.isnan().any(1)
        placed = torch.zeros(len(names), values.shape[1])
        placed[rows[good]], answered[rows[good]] = values[good], True
        logits[head] = placed.numpy()
    return Scores(names, logits, tuple(name for name, there in zip(names, answered.tolist(), strict=True) if not there))


def measure(logits: SubsetLogits, protocol: Protocol) -> dict[str, Any]:
    """Figures of one protocol from the logits of all subsets."""
    if protocol.name == "observation":
        return measure_observation(logits, protocol)
    config = EvaluationConfig()
    result = dataclasses.asdict(evaluate(logits, config.sweep, config.sweep_draws))
    dropped = {"all": (), "subsets": ("sweep",), "sweep": ("subsets", "retention")}[protocol.name]
    return {key: value for key, value in result.items() if key not in dropped}


def measure_observation(logits: SubsetLogits, protocol: Protocol) -> dict[str, Any]:
    """P3: by share of samples that lose the named modalities; or one row for a published mask."""
    scenarios = observations(logits, protocol)
    figures: dict[str, Any] = {"observation": {name: logits.accuracies(scenario) for name, scenario in scenarios.items()}}
    figures |= {"samples": len(logits.names)}
    if protocol.mask is None:
        return figures | {"missing": list(protocol.missing)}
    (presence,) = (presence_under(scenario, logits) for scenario in scenarios.values())
    return figures | {"samples_incomplete": int((logits.available & ~presence).any(1).sum())}


def observations(logits: SubsetLogits, protocol: Protocol) -> dict[str, Scenario]:
    """What P3 measures, by the name of its row."""
    if protocol.mask is not None:
        return {protocol.mask.stem: read_mask(protocol.mask, logits.names, logits.modalities)}
    return {f"{share:.2f}": ObservationLevel(protocol.missing, share) for share in OBSERVATION_SHARES}


def presence_under(scenario: Scenario, logits: SubsetLogits) -> Tensor:
    """The draw that `SubsetLogits.accuracies` makes, too."""
    return scenario.presence(logits.available, logits.modalities, torch.Generator().manual_seed(0))


def stream_logits(
    model: RecognizerModel, store: ClipStore, presence: Tensor, settings: Midl, on_done: Callable[[int, int], None] | None = None
) -> dict[str, Tensor]:
    """Logits of all that a store has as a stream in one order, whatever `presence` `(samples, modalities)` leaves of it."""
    order = torch.randperm(len(presence), generator=torch.Generator().manual_seed(1)).tolist()
    return adapted_logits(model, store, presence, torch.from_numpy(store.usable), order, settings, on_done)


def measure_adapted(model: RecognizerModel, store: ClipStore, logits: SubsetLogits, protocol: Protocol) -> dict[str, Any]:
    """P3 for a network that goes on learning: the same samples lose the same, and come in one order for all rows."""
    assert protocol.adaptation is not None
    figures = {}
    with Progress("adapt") as progress:
        scenarios = observations(logits, protocol)
        for done, (name, scenario) in enumerate(scenarios.items()):
            presence = presence_under(scenario, logits)

            def tell(sample: int, samples: int, done: int = done) -> None:
                progress.update(done * samples + sample, len(scenarios) * samples)

            said = stream_logits(model, store, presence, protocol.adaptation, tell)
            figures[name] = accuracies(correctness(said, logits.labels), presence.any(1))
    return {"adapted": figures, "adaptation": dataclasses.asdict(protocol.adaptation)}


def measure_windows(logits: SubsetLogits, owners: Tensor, missing: tuple[str, ...]) -> dict[str, Any]:
    """P4: by the rate at which windows lose the named modalities, mean of several draws."""
    rows = {}
    for rate in OBSERVATION_SHARES:
        draws = [window_accuracies(logits, owners, missing, rate, seed) for seed in range(WINDOW_DRAWS)]
        rows[f"{rate:.2f}"] = {metric: mean_of(draw[metric] for draw in draws) for metric in draws[0]}
    return {
        "window": rows, "missing": list(missing), "samples": len(owners.unique()), "windows": len(owners),
        "window_seconds": WINDOW_SECONDS, "draws": WINDOW_DRAWS,
    }  # fmt: skip
