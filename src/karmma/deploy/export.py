"""`karmma export`: a student as ONNX graphs with the same answers, and int8 ones calibrated on data."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from ..files import write_json
from ..modalities import Modality, make_for_fixed_looks
from ..models.checkpoint import CheckpointInfo, load_checkpoint
from ..models.recognizer import RecognizerModel
from ..types import KarmmaError, describe_model, subset_name, subsets_of
from .parity import Calibration, agreement, measure
from .runtime import ENCODER, FORMAT, FORMAT_VERSION, FUSION, WHOLE
from .tracing import Tracer, encoded, trace, trace_parts, whole_graphs

WEIGHTS = "weights.bin"  # all graphs of a folder share their weights in this file
SHARED_BYTES = 4096  # smaller tensors stay in the graph
OnDone = Callable[[int, int, str], None]


def export_student(
    checkpoint: Path, out: Path, *, calibration: Calibration | None = None, subsets: Sequence[tuple[str, ...]] | None = None,
    workers: int = 1, on_done: OnDone | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Write graphs for every subset (or some), the one with a presence vector, and preprocessing; returns what was measured.

    With `calibration` int8 graphs are written, too. With several `workers` graphs are traced in so many processes (a script
    that asks for them needs `if __name__ == "__main__"`). Raises KarmmaError for a subset that is none of the student's, and if
    a graph's logits differ from torch's.
    """
    model, info = load_checkpoint(checkpoint)
    chosen = subsets_of(model.modalities) if subsets is None else [in_model_order(model, subset) for subset in subsets]
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").unlink(missing_ok=True)  # what is half written must not look whole
    folders = ("fp32",) if calibration is None else ("fp32", "int8")
    samples = probe_inputs(model, calibration)
    tracer = Tracer(model, chosen, samples)
    quantised_graphs = (len(tracer.parts) + 1) * (len(folders) - 1)  # the parts and the whole
    steps = Steps(len(tracer.parts) + quantised_graphs + len(model.modalities), on_done)
    graphs = whole_graphs(trace_parts(checkpoint, tracer, workers, steps.done), model.modalities, chosen)
    write_folder(out / "fp32", graphs)
    write_preprocessing(out / "prepare", make_for_fixed_looks(info.modalities), steps.done)
    if calibration is not None:
        from .quantise import quantise_graph

        quantised = {}
        for name, graph in graphs.items():
            quantised[name] = quantise_graph(graph, inputs_of(name, model, calibration))
            steps.done(f"int8 {name}")
        write_folder(out / "int8", quantised)
    measured = {folder: measure(model, out / folder, chosen, samples) for folder in folders}
    if calibration is not None:
        measured["int8"]["top1_agreement"] = agreement(model, out / "int8", chosen, calibration)
    tokens = {name: tuple(values.shape[1:]) for name, values in tracer.tokens.items()}
    write_config(out, info, [*map(subset_name, chosen), WHOLE], folders, tokens, tracer.one_at_a_time, measured)
    return measured


class Steps:
    """How far an export is: what was done last, and how much of all."""

    def __init__(self, total: int, on_done: OnDone | None) -> None:
        self.total, self.on_done, self.count = total, on_done, 0

    def done(self, name: str) -> None:
        self.count += 1
        if self.on_done:
            self.on_done(self.count, self.total, name)


def in_model_order(model: RecognizerModel, subset: Sequence[str]) -> tuple[str, ...]:
    """A subset as the student's graphs are named. Raises KarmmaError for what it does not have."""
    unknown = [name for name in subset if name not in model.modalities]
    if unknown or not subset:
        named = f"{unknown[0]!r} of subset " if unknown else ""
        raise KarmmaError(f"{named}{subset_name(subset)!r}: this student has {', '.join(model.modalities)}")
    return tuple(name for name in model.modalities if name in subset)


def probe_inputs(model: RecognizerModel, calibration: Calibration | None) -> dict[str, Tensor]:
    """Two clips per modality: of the calibration data, or noise."""
    generator = torch.Generator().manual_seed(0)
    if calibration is not None:
        return {name: torch.from_numpy(calibration[name][:2].copy()) for name in model.modalities}
    return {name: torch.rand(2, *model.specs[name].input_shape, generator=generator) for name in model.modalities}


def write_preprocessing(folder: Path, modalities: Mapping[str, Modality], on_done: Callable[[str], None]) -> None:
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
        on_done(f"prepare {name}")


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
