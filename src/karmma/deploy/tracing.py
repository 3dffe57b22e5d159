"""Graphs from a recognizer: each extractor and each subset's fusion is traced once, in several processes, and put together."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import compose
from torch import Tensor, nn

from ..models.checkpoint import load_checkpoint
from ..models.graphs import EncoderGraph, FusionGraph, SubsetFusionGraph
from ..models.recognizer import RecognizerModel
from ..types import subset_name
from ..workers import use_one_thread, worker_pool
from .runtime import ENCODER, FUSION, WHOLE

Subsets = Sequence[tuple[str, ...]]
_worker: Tracer | None = None


@dataclass(frozen=True)
class Part:
    """A module with arguments to trace it with, and the names of its inputs and outputs."""

    module: nn.Module
    arguments: tuple[Tensor, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Tracer:
    """The parts of a recognizer's graphs by name; `samples` are two clips per modality."""

    def __init__(self, model: RecognizerModel, subsets: Subsets, samples: Mapping[str, Tensor]) -> None:
        self.subsets, self.samples, self.tokens = subsets, samples, encoded(model, samples)
        tokens, heads = self.tokens, tuple(f"{head}_logits" for head in model.heads.heads)
        presence = torch.ones(2, len(model.modalities))
        self.one_at_a_time = takes_single_clips(model)
        self.parts = {
            f"{ENCODER}{name}": Part(EncoderGraph(model, name), (samples[name],), (name,), ("tokens",)) for name in model.modalities
        }
        self.parts[FUSION] = Part(FusionGraph(model), (*tokens.values(), presence), (*model.modalities, "presence"), heads)
        for subset in subsets:
            fusion = SubsetFusionGraph(model, subset)
            self.parts[subset_name(subset)] = Part(fusion, tuple(tokens[name] for name in subset), subset, heads)

    def trace(self, name: str) -> onnx.ModelProto:
        """The graph of a part; its batch is free unless clips go one at a time."""
        part = self.parts[name]
        arguments = tuple(argument[:1] for argument in part.arguments) if self.one_at_a_time else part.arguments
        batch = None if self.one_at_a_time else torch.export.Dim("batch", min=1, max=1024)
        return trace(part.module, arguments, list(part.inputs), list(part.outputs), batch)


@torch.no_grad()
def encoded(model: RecognizerModel, clips: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Extractor tokens by modality, in the order of the model's."""
    return {name: model.extract(name, clips[name]) for name in model.modalities}


def takes_single_clips(model: RecognizerModel) -> bool:
    """Whether graphs are for one clip at a time: windows of some extractors depend on the batch in ways that do not trace."""
    kinds = {model.config.encoders[name].kind for name in model.modalities}
    return bool(kinds & {"video_swin", "spectrogram_swin", "hugging_face"})


def trace_parts(
    checkpoint: Path, tracer: Tracer, workers: int, on_done: Callable[[str], None]
) -> dict[str, onnx.ModelProto]:
    """The graphs of all parts of a tracer; with several `workers` each makes its own tracer from the checkpoint."""
    graphs: dict[str, onnx.ModelProto] = {}
    for name, graph in traced(checkpoint, tracer, min(workers, len(tracer.parts))):
        graphs[name] = graph
        on_done(name)
    return graphs


def traced(checkpoint: Path, tracer: Tracer, workers: int) -> Iterator[tuple[str, onnx.ModelProto]]:
    if workers <= 1:
        yield from ((name, tracer.trace(name)) for name in tracer.parts)
        return
    arrays = {name: values.numpy() for name, values in tracer.samples.items()}
    with worker_pool(workers, begin_tracing, checkpoint, tracer.subsets, arrays) as pool:
        for name, content in zip(tracer.parts, pool.map(trace_in_worker, tracer.parts), strict=True):
            yield name, onnx.load_model_from_string(content)


def begin_tracing(checkpoint: Path, subsets: Subsets, samples: Mapping[str, Any]) -> None:
    """What a process that traces does first."""
    global _worker
    use_one_thread()
    model, _ = load_checkpoint(checkpoint)
    _worker = Tracer(model, subsets, {name: torch.from_numpy(values) for name, values in samples.items()})


def trace_in_worker(name: str) -> bytes:
    assert _worker is not None
    return _worker.trace(name).SerializeToString()


def trace(
    module: nn.Module, arguments: tuple[Tensor, ...], inputs: list[str], outputs: list[str], batch: Any
) -> onnx.ModelProto:
    """An ONNX graph with named inputs and outputs. The exporter's chatter is kept down; its errors are not."""
    shapes = None if batch is None else ((({0: batch},) * len(arguments)),)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(), arguments, dynamo=True, verbose=False, input_names=inputs, output_names=outputs, dynamic_shapes=shapes,
            optimize=True,
        )  # fmt: skip
    assert program is not None
    return program.model_proto


def whole_graphs(
    parts: Mapping[str, onnx.ModelProto], modalities: Sequence[str], subsets: Subsets
) -> dict[str, onnx.ModelProto]:
    """Every graph to write: fusion of each subset behind its extractors, the same with presence, and extractors and fusion apart.

    An extractor is traced once and put before each fusion that it belongs to.
    """
    encoders = {name: parts[f"{ENCODER}{name}"] for name in modalities}
    graphs = {
        subset_name(subset): behind_encoders(parts[subset_name(subset)], {name: encoders[name] for name in subset})
        for subset in subsets
    }
    graphs[WHOLE] = behind_encoders(parts[FUSION], encoders)
    return graphs | {f"{ENCODER}{name}": graph for name, graph in encoders.items()} | {FUSION: parts[FUSION]}


def behind_encoders(fusion: onnx.ModelProto, encoders: Mapping[str, onnx.ModelProto]) -> onnx.ModelProto:
    """One graph from clips to logits; `fusion` has an input named as each of the encoders."""
    whole = compose.add_prefix(fusion, "fusion/", rename_inputs=False, rename_outputs=False)
    for name, encoder in reversed(list(encoders.items())):  # each stands before those that are there
        prefixed = compose.add_prefix(encoder, f"{name}/")
        whole = compose.merge_models(prefixed, whole, io_map=[(f"{name}/tokens", name)])
        rename_input(whole, f"{name}/{name}", name)
    return whole


def rename_input(model: onnx.ModelProto, old: str, new: str) -> None:
    for value in model.graph.input:
        if value.name == old:
            value.name = new
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name == old:
                node.input[place] = new
