"""`karmma evaluate`: a checkpoint on a data set under the protocols of missing modalities."""

from __future__ import annotations

import dataclasses
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..config import EvaluationConfig
from ..data.clips import ClipStore
from ..data.missing import ObservationLevel, read_mask
from ..datasets import find_data_set
from ..evaluation.evaluate import SubsetLogits, evaluate, subset_logits
from ..modalities import make_modalities
from ..models.checkpoint import load_checkpoint
from ..progress import Progress
from ..training.fit import training_device
from ..types import KarmmaError

OBSERVATION_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
ProtocolName = Literal["all", "subsets", "sweep", "observation"]


@dataclass(frozen=True)
class Protocol:
    """What to measure: P1 and P2 (`all`, or one of them), or P3 for the modalities in `missing` or a published mask."""

    name: str = "all"
    missing: tuple[str, ...] = ()
    mask: Path | None = None

    def __post_init__(self) -> None:
        known = ProtocolName.__args__  # type: ignore[attr-defined]
        if self.name not in known:
            raise KarmmaError(f"unknown protocol {self.name!r}; known: {', '.join(known)}")
        if (self.name == "observation") != bool(self.missing or self.mask):
            raise KarmmaError("the protocol observation, and only it, needs --missing MODALITIES or --mask CSV")


def evaluate_checkpoint(
    checkpoint: Path, root: Path, dataset: str, split: str, cache: Path | None, settings: dict[str, Any] | None = None,
    protocol: Protocol | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Percent under a protocol. Raises KarmmaError if the checkpoint knows other classes than the data."""
    model, info = load_checkpoint(checkpoint)
    kind = find_data_set(dataset)
    manifest = kind.load(root, kind.settings(settings or {}, "settings"))
    manifest.labels.require_same(info.labels, f"checkpoint {checkpoint}")
    modalities = make_modalities(info.modalities, f"{checkpoint}/config.json: modalities")
    with tempfile.TemporaryDirectory() as temporary:
        store = ClipStore((cache or Path(temporary)) / split, manifest.split(split), modalities)
        with Progress(f"read.{split}") as progress:
            store.write(on_done=progress.update)
        with Progress("evaluate") as progress:
            logits = subset_logits(model, store, device=training_device(), on_done=progress.update)
        names = [store.segments[index].name for index in store.usable]
        return measure(logits, names, protocol or Protocol())


def measure(logits: SubsetLogits, samples: list[str], protocol: Protocol) -> dict[str, Any]:
    """Figures of one protocol from the logits of all subsets."""
    if protocol.name == "observation":
        return measure_observation(logits, samples, protocol)
    config = EvaluationConfig()
    result = dataclasses.asdict(evaluate(logits, config.sweep, config.sweep_draws))
    dropped = {"all": (), "subsets": ("sweep",), "sweep": ("subsets", "retention")}[protocol.name]
    return {key: value for key, value in result.items() if key not in dropped}


def measure_observation(logits: SubsetLogits, samples: list[str], protocol: Protocol) -> dict[str, Any]:
    """P3: by share of samples that lose the named modalities; or one row for a published mask."""
    if protocol.mask is not None:
        scenario = read_mask(protocol.mask, samples, logits.modalities)
        incomplete = (logits.available & ~scenario.keep).any(1)
        figures = {protocol.mask.stem: logits.accuracies(scenario)}
        return {"observation": figures, "samples": len(samples), "samples_incomplete": int(incomplete.sum())}
    shares = {f"{share:.2f}": logits.accuracies(ObservationLevel(protocol.missing, share)) for share in OBSERVATION_SHARES}
    return {"observation": shares, "missing": list(protocol.missing), "samples": len(samples)}
