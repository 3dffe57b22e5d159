"""Exported students without torch: the same `predict` and `stream`, on OpenVINO or ONNX Runtime."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import read_json
from ..modalities import Modality, make_for_fixed_looks
from ..types import KarmmaError, LabelSpace, ModalitySpec, read_description, subset_name
from .engines import PRECISIONS, Array, Graph, find_engines, load_fastest
from .recognition import Arrays, Recognition

FORMAT, FORMAT_VERSION = "karmma-export", 2
WHOLE = "model"  # the graph whose inputs are all modalities and a presence vector
FUSION = "fusion"  # the graph whose inputs are all modalities' extractor tokens and a presence vector
ENCODER = "encoder-"  # graphs from one modality's input to its tokens


@dataclass(frozen=True)
class ExportInfo:
    """`config.json` of an exported student: what it recognises, from what, and which graphs there are."""

    labels: LabelSpace
    specs: dict[str, ModalitySpec]
    modalities: dict[str, dict[str, Any]]
    graphs: tuple[str, ...]  # subsets that have a graph of their own, and WHOLE
    precisions: tuple[str, ...]
    tokens: dict[str, tuple[int, int]]  # by modality, how many extractor tokens of what width
    batches: str  # "any", or "one" where graphs take a single clip at a time
    measured: dict[str, Any]
    provenance: dict[str, Any]


def read_export(directory: Path) -> ExportInfo:
    """Raises KarmmaError if the directory holds no exported student."""
    path = directory / "config.json"
    if not path.is_file():
        raise KarmmaError(f"{directory} is no exported student: no config.json in it")
    content = read_json(path)
    try:
        if content.get("format") != FORMAT or content.get("version") != FORMAT_VERSION:
            raise KarmmaError(f"{path}: not a {FORMAT} of version {FORMAT_VERSION}")
        specs, labels = read_description(content)
        graphs, precisions = tuple(content["graphs"]), tuple(content["precisions"])
        tokens = {name: (int(count), int(width)) for name, (count, width) in content["tokens"].items()}
        return ExportInfo(
            labels, specs, content["modalities"], graphs, precisions, tokens, content["batches"], content["measured"],
            content["provenance"],
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise KarmmaError(f"{path}: not a complete {FORMAT}: {error!r}") from error


@dataclass
class ExportedRecognizer(Recognition):
    """An exported student. Graphs are loaded when a subset is first met; absent modalities cost nothing.

    With several engines each graph is tried in all of them when it is loaded, and the fastest keeps it.
    `precision` bf16 runs the fp32 graphs in bf16 (OpenVINO, on CPUs that have it). One thread at a time uses it.
    """

    directory: Path
    info: ExportInfo
    modalities_by_name: dict[str, Modality]
    engines: tuple[str, ...]
    precision: str
    threads: int
    loaded: dict[str, Graph] = field(default_factory=dict)
    chosen: dict[str, str] = field(default_factory=dict)  # which engine runs which graph
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.labels, self.specs, self.provenance = self.info.labels, self.info.specs, self.info.provenance

    @staticmethod
    def load(
        path: str | Path, *, engine: str = "auto", precision: str = "fp32", threads: int | None = None
    ) -> ExportedRecognizer:
        """Load what `karmma export` wrote. Raises KarmmaError for another directory, engine or precision."""
        directory = Path(path)
        info = read_export(directory)
        if precision not in PRECISIONS or (precision != "bf16" and precision not in info.precisions):
            raise KarmmaError(f"{directory}: no precision {precision!r}; there is: {', '.join((*info.precisions, 'bf16'))}")
        modalities = make_for_fixed_looks(info.modalities, f"{path}/config.json: modalities")
        threads = threads or int(os.environ.get("OMP_NUM_THREADS", 0)) or os.cpu_count() or 1
        return ExportedRecognizer(directory, info, modalities, find_engines(engine, precision), precision, threads)

    def graph(self, name: str, inputs: Sequence[Array]) -> Graph:
        """A graph, loaded once; `inputs` are an example to time it with.

        By name: a subset, WHOLE, FUSION, ENCODER and a modality, `prepare-` and a modality.
        """
        if name not in self.loaded:
            prepares = name.startswith("prepare-")
            folder = "prepare" if prepares else "fp32" if self.precision == "bf16" else self.precision
            file = self.directory / folder / f"{name.removeprefix('prepare-')}.onnx"
            engines, precision = (self.engines[:1], "fp32") if prepares else (self.engines, self.precision)
            self.loaded[name], self.chosen[name] = load_fastest(file, engines, self.threads, precision, inputs)
        return self.loaded[name]

    def prepare(self, modality: str, stored: NDArray[Any]) -> NDArray[np.float32]:
        with self.lock:
            inputs = [stored[None]]
            return np.asarray(self.graph(f"prepare-{modality}", inputs)(inputs)[0][0], np.float32)

    def encode(self, modality: str, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        with self.lock:
            graph = self.graph(f"{ENCODER}{modality}", [inputs[:1]])
            return np.asarray(self.in_batches(graph, [inputs])[0], np.float32)

    def fuse(self, tokens: Arrays, present: Mapping[str, NDArray[np.bool_]]) -> Arrays:
        flags = np.stack([present[name] for name in self.modalities], 1).astype(np.float32)
        nothing = {name: np.zeros((len(flags), *shape), np.float32) for name, shape in self.info.tokens.items()}
        arrays = [*(tokens.get(name, nothing[name]) for name in self.modalities), flags]
        with self.lock:
            outputs = self.in_batches(self.graph(FUSION, [array[:1] for array in arrays]), arrays)
        return {head: np.asarray(values, np.float32) for head, values in zip(self.labels.heads, outputs, strict=True)}

    def in_batches(self, graph: Graph, arrays: Sequence[Array]) -> list[Array]:
        """A graph's outputs for a batch, which some graphs take one sample at a time."""
        if self.info.batches == "any" or len(arrays[0]) == 1:
            return graph(arrays)
        pieces = [graph([array[index : index + 1] for array in arrays]) for index in range(len(arrays[0]))]
        return [np.concatenate(values) for values in zip(*pieces, strict=True)]

    def run(self, inputs: Arrays, present: Mapping[str, NDArray[np.bool_]]) -> Arrays:
        """Samples with the same modalities go through their graph together."""
        flags = np.stack([present[name] for name in self.modalities], 1)
        logits: Arrays = {}
        for pattern in np.unique(flags, axis=0):
            rows = np.flatnonzero((flags == pattern).all(1))
            subset = tuple(name for name, there in zip(self.modalities, pattern, strict=True) if there)
            with self.lock:
                outputs = self.run_subset(subset, {name: inputs[name][rows] for name in subset}, len(rows))
            for head, values in zip(self.labels.heads, outputs, strict=True):
                logits.setdefault(head, np.zeros((len(flags), values.shape[1]), np.float32))[rows] = values
        return logits

    def run_subset(self, subset: tuple[str, ...], inputs: Arrays, count: int) -> list[NDArray[Any]]:
        """Logits per label set of samples that all have the same modalities."""
        if not subset:
            raise KarmmaError("a sample has no modality at all; at least one is needed")
        name = subset_name(subset)
        arrays = [inputs[modality] for modality in subset]
        if name not in self.info.graphs:
            name = WHOLE
            arrays = [
                inputs.get(modality, np.zeros((count, *self.specs[modality].input_shape), np.float32))
                for modality in self.modalities
            ]
            arrays.append(np.tile(np.array([m in subset for m in self.modalities], np.float32), (count, 1)))
        return self.in_batches(self.graph(name, [array[:1] for array in arrays]), arrays)


def load_any(path: str | Path) -> Recognition:
    """A checkpoint (with torch) or an exported student (without). Raises KarmmaError for anything else."""
    config = Path(path) / "config.json"
    if config.is_file() and read_json(config).get("format") == FORMAT:
        return ExportedRecognizer.load(path)
    from .predict import Recognizer

    return Recognizer.load(path)
