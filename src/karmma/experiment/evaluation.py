"""`karmma evaluate`: a checkpoint on a data set under the protocols of missing modalities."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ..config import EvaluationConfig
from ..data.clips import ClipStore
from ..data.manifest import Segment
from ..data.missing import ObservationLevel, read_mask
from ..datasets import find_data_set
from ..evaluation.evaluate import SubsetLogits, evaluate, several_views, subset_logits
from ..evaluation.metrics import mean_of
from ..evaluation.windows import WINDOW_SECONDS, cut_windows, window_accuracies
from ..modalities import make_modalities
from ..models.checkpoint import load_checkpoint
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

    def __post_init__(self) -> None:
        known = ProtocolName.__args__  # type: ignore[attr-defined]
        if self.name not in known:
            raise KarmmaError(f"unknown protocol {self.name!r}; known: {', '.join(known)}")
        if (self.name in ("observation", "window")) != bool(self.missing or self.mask):
            raise KarmmaError("the protocols observation and window, and only they, need --missing MODALITIES or --mask CSV")
        if self.name == "window" and self.mask:
            raise KarmmaError("--mask belongs to the protocol observation")


def evaluate_checkpoint(
    checkpoint: Path, root: Path, dataset: str | None, split: str, cache: Path | None, settings: dict[str, Any] | None = None,
    protocol: Protocol | None = None, views: int = 1,
) -> dict[str, Any]:  # fmt: skip
    """Percent under a protocol, by the mean probability of `views` looks (EvaluationConfig).

    Without a name `root` holds the data set that the checkpoint was trained on.
    Raises KarmmaError if the checkpoint knows other classes than the data.
    """
    model, info = load_checkpoint(checkpoint)
    kind = find_data_set(dataset or info.data_set)
    manifest = kind.load(root, kind.settings(settings or {}, "settings"))
    manifest.labels.require_same(info.labels, f"checkpoint {checkpoint}")
    modalities = make_modalities(info.modalities, f"{checkpoint}/config.json: modalities")
    protocol = protocol or Protocol()
    segments: Sequence[Segment] = manifest.split(split)
    owners: list[int] = []
    if protocol.name == "window":
        segments, owners = cut_windows(segments)
    with tempfile.TemporaryDirectory() as temporary:
        directory = (cache or Path(temporary)) / (f"{split}-windows" if owners else split)
        store = ClipStore(directory, segments, modalities)
        with Progress(f"read.{split}") as progress:
            store.write(on_done=progress.update)
        with Progress("evaluate") as progress:
            see = partial(subset_logits, model, store, device=training_device())
            _, logits = several_views(see, views, progress.update)
        if owners:
            return measure_windows(logits, torch.tensor(owners)[store.usable], protocol.missing)
        return measure(logits, protocol)


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
    if protocol.mask is not None:
        scenario = read_mask(protocol.mask, logits.names, logits.modalities)
        incomplete = (logits.available & ~scenario.keep).any(1)
        figures = {protocol.mask.stem: logits.accuracies(scenario)}
        return {"observation": figures, "samples": len(logits.names), "samples_incomplete": int(incomplete.sum())}
    shares = {f"{share:.2f}": logits.accuracies(ObservationLevel(protocol.missing, share)) for share in OBSERVATION_SHARES}
    return {"observation": shares, "missing": list(protocol.missing), "samples": len(logits.names)}


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
