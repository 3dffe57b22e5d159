"""`karmma export`: a student as ONNX graphs with the same answers, and int8 ones calibrated on data."""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import compose, numpy_helper
from torch import Tensor, nn

from ..files import write_json
from ..modalities import Modality, make_modalities
from ..models.checkpoint import CheckpointInfo, load_checkpoint
from ..models.graphs import EncoderGraph, FusionGraph, SubsetFusionGraph
from ..models.recognizer import RecognizerModel
from ..types import describe_model, subset_name, subsets_of
from .parity import Calibration, agreement, measure
from .runtime import ENCODER, FORMAT, FORMAT_VERSION, FUSION, WHOLE

WEIGHTS = "weights.bin"  # all graphs of a folder share their weights in this file
SHARED_BYTES = 4096  # smaller tensors stay in the graph
OnDone = Callable[[int, int, str], None]


def export_student(
    checkpoint: Path, out: Path, *, calibration: Calibration | None = None, subsets: Sequence[tuple[str, ...]] | None = None,
    on_done: OnDone | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Write graphs for every subset (or some), the one with a presence vector, and preprocessing; returns what was measured.

    With `calibration` int8 graphs are written, too. Raises KarmmaError if a graph's logits differ from torch's.
    """
    model, info = load_checkpoint(checkpoint)
    chosen = subsets_of(model.modalities) if subsets is None else list(subsets)
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").unlink(missing_ok=True)  # what is half written must not look whole
    folders = ("fp32",) if calibration is None else ("fp32", "int8")
    samples = probe_inputs(model, calibration)
    one_at_a_time = any(needs_single_clips(info.recognizer.encoders[name].kind) for name in model.modalities)
    jobs = graph_jobs(model, chosen, samples)
    parts: dict[str, onnx.ModelProto] = {}
    for name, (graph, arguments, inputs) in jobs.items():
        outputs = ["tokens"] if name.startswith(ENCODER) else [f"{head}_logits" for head in info.labels.heads]
        parts[name] = to_onnx(graph, arguments, inputs, outputs, one_at_a_time)
        if on_done:
            on_done(len(parts), len(jobs) + len(model.modalities), name)
    graphs = whole_graphs(parts, model.modalities, chosen)
    write_folder(out / "fp32", graphs)
    write_preprocessing(out / "prepare", make_modalities(info.modalities))
    if calibration is not None:
        from .quantise import quantise_graph

        write_folder(out / "int8", {
            name: quantise_graph(graph, inputs_of(name, model, calibration)) for name, graph in graphs.items()
        })  # fmt: skip
    measured = {folder: measure(model, out / folder, chosen, samples) for folder in folders}
    if calibration is not None:
        measured["int8"]["top1_agreement"] = agreement(model, out / "int8", chosen, calibration)
    tokens = {name: tuple(values.shape[1:]) for name, values in encoded(model, samples).items()}
    write_config(out, info, [*map(subset_name, chosen), WHOLE], folders, tokens, one_at_a_time, measured)
    if on_done:
        on_done(len(jobs) + len(model.modalities), len(jobs) + len(model.modalities), "")
    return measured


def graph_jobs(
    model: RecognizerModel, subsets: Sequence[tuple[str, ...]], samples: Mapping[str, Tensor]
) -> dict[str, tuple[nn.Module, tuple[Tensor, ...], list[str]]]:
    """What is traced: each extractor, and fusion for every subset and for a presence vector, with arguments and inputs' names."""
    presence, tokens = torch.ones(2, len(model.modalities)), encoded(model, samples)
    jobs: dict[str, tuple[nn.Module, tuple[Tensor, ...], list[str]]] = {
        f"{ENCODER}{name}": (EncoderGraph(model, name), (samples[name],), [name]) for name in model.modalities
    }
    jobs[FUSION] = FusionGraph(model), (*tokens.values(), presence), [*model.modalities, "presence"]
    return jobs | {
        subset_name(subset): (SubsetFusionGraph(model, subset), tuple(tokens[name] for name in subset), list(subset))
        for subset in subsets
    }


def whole_graphs(
    parts: Mapping[str, onnx.ModelProto], modalities: Sequence[str], subsets: Sequence[tuple[str, ...]]
) -> dict[str, onnx.ModelProto]:
    """Every graph to write: fusion of each subset behind its extractors, the same with presence, and extractors and fusion apart.

    An extractor is traced once and put before each fusion that it belongs to, which is most of the time that tracing takes.
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


@torch.no_grad()
def encoded(model: RecognizerModel, clips: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Extractor tokens by modality, in the order of the model's."""
    return {name: model.extract(name, clips[name]) for name in model.modalities}


def needs_single_clips(kind: str) -> bool:
    """Extractors whose graphs are exported for one clip at a time: their windows depend on the batch in ways that do not trace."""
    return kind in ("video_swin", "spectrogram_swin", "hugging_face")


def probe_inputs(model: RecognizerModel, calibration: Calibration | None) -> dict[str, Tensor]:
    """Two clips per modality: of the calibration data, or noise."""
    generator = torch.Generator().manual_seed(0)
    if calibration is not None:
        return {name: torch.from_numpy(calibration[name][:2].copy()) for name in model.modalities}
    return {name: torch.rand(2, *model.specs[name].input_shape, generator=generator) for name in model.modalities}


def to_onnx(
    graph: nn.Module, arguments: tuple[Tensor, ...], inputs: list[str], outputs: list[str], one_at_a_time: bool
) -> onnx.ModelProto:
    """An ONNX graph with named inputs and outputs; the batch is free unless clips go one at a time."""
    if one_at_a_time:
        arguments = tuple(argument[:1] for argument in arguments)
    return trace(graph, arguments, inputs, outputs, None if one_at_a_time else torch.export.Dim("batch", min=1, max=1024))


def trace(
    graph: nn.Module, arguments: tuple[Tensor, ...], names: list[str], outputs: list[str], batch: Any
) -> onnx.ModelProto:
    """The exporter's chatter is kept down; its errors are not."""
    shapes = None if batch is None else ((({0: batch},) * len(arguments)),)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            graph.eval(), arguments, dynamo=True, verbose=False, input_names=names, output_names=outputs, dynamic_shapes=shapes,
            optimize=True,
        )  # fmt: skip
    assert program is not None
    return program.model_proto


def write_preprocessing(folder: Path, modalities: Mapping[str, Modality]) -> None:
    """One graph per modality from the stored form of a clip to the model's input, so that nothing has to be written twice."""

    class Prepare(nn.Module):
        def __init__(self, modality: Modality) -> None:
            super().__init__()
            self.modality = modality

        def forward(self, stored: Tensor) -> Tensor:
            return self.modality.transform(stored, None)

    folder.mkdir(parents=True, exist_ok=True)
    for name, modality in modalities.items():
        stored = torch.from_numpy(modality.stored_zeros())[None]
        onnx.save(trace(Prepare(modality), (stored,), ["stored"], ["input"], None), str(folder / f"{name}.onnx"))


def write_folder(folder: Path, graphs: Mapping[str, onnx.ModelProto]) -> None:
    """Save graphs with one file of weights between them: a tensor that several use is there once."""
    folder.mkdir(parents=True, exist_ok=True)
    places: dict[str, tuple[int, int]] = {}
    with (folder / WEIGHTS).open("wb") as weights:
        for name, original in graphs.items():
            graph = onnx.ModelProto()
            graph.CopyFrom(original)
            for tensor in graph.graph.initializer:
                content = numpy_helper.to_array(tensor).tobytes()
                if len(content) < SHARED_BYTES:
                    continue
                digest = hashlib.sha256(content).hexdigest()
                if digest not in places:
                    weights.write(b"\0" * (-weights.tell() % 64))
                    places[digest] = weights.tell(), len(content)
                    weights.write(content)
                refer(tensor, *places[digest])
            onnx.save(graph, str(folder / f"{name}.onnx"))


def refer(tensor: onnx.TensorProto, offset: int, length: int) -> None:
    """Make an initializer point into the file of weights."""
    tensor.ClearField("raw_data")
    for kind in ("float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
        tensor.ClearField(kind)
    del tensor.external_data[:]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", WEIGHTS), ("offset", str(offset)), ("length", str(length))):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


def inputs_of(name: str, model: RecognizerModel, calibration: Calibration) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Calibration samples for one graph, one at a time; with every subset in turn where presence is an input."""
    count = min(len(values) for values in calibration.values())
    subsets, modalities = subsets_of(model.modalities), model.modalities
    for index in range(count):
        clips = {m: calibration[m][index : index + 1] for m in modalities}
        if name not in (WHOLE, FUSION):
            yield {m: clips[m] for m in name.removeprefix(ENCODER).split("+")}
            continue
        subset = subsets[index % len(subsets)]
        presence = np.array([[m in subset for m in modalities]], np.float32)
        if name == FUSION:
            tokens = encoded(model, {m: torch.from_numpy(clip) for m, clip in clips.items()})
            clips = {m: values.numpy() for m, values in tokens.items()}
        yield {**clips, "presence": presence}


def write_config(
    out: Path, info: CheckpointInfo, graphs: Sequence[str], precisions: Sequence[str],
    tokens: Mapping[str, tuple[int, ...]], one_at_a_time: bool, measured: Mapping[str, Any],
) -> None:  # fmt: skip
    """`config.json`, written last, makes the directory valid."""
    write_json(out / "config.json", {
        "format": FORMAT, "version": FORMAT_VERSION,
        **describe_model(info.specs, info.labels), "modalities": info.modalities,
        "graphs": list(graphs), "precisions": list(precisions),
        "tokens": {name: list(shape) for name, shape in tokens.items()}, "batches": "one" if one_at_a_time else "any",
        "measured": measured, "provenance": info.provenance,
    })  # fmt: skip
