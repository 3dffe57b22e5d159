"""`karmma export`: a student as ONNX graphs with the same answers, and int8 ones calibrated on data."""

from __future__ import annotations

import hashlib
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from ..files import write_json
from ..modalities import Modality, make_modalities
from ..models.checkpoint import CheckpointInfo, load_checkpoint
from ..models.graphs import PresenceGraph, SubsetGraph
from ..models.recognizer import RecognizerModel
from ..types import KarmmaError, subset_name, subsets_of
from .engines import find_engines, load_graph
from .runtime import FORMAT, FORMAT_VERSION, WHOLE

WEIGHTS = "weights.bin"  # all graphs of a folder share their weights in this file
SHARED_BYTES = 4096  # smaller tensors stay in the graph
AGREEMENT_SAMPLES = 64
PARITY = 2e-3  # largest difference of a logit between torch and an fp32 graph that is let pass
Calibration = Mapping[str, NDArray[np.float32]]  # modality → (samples, *input_shape)
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
    steps = len(chosen) + 1 + len(model.modalities)
    graphs: dict[str, onnx.ModelProto] = {}
    one_at_a_time = any(needs_single_clips(info.recognizer.encoders[name].kind) for name in model.modalities)
    for done, subset in enumerate(chosen, 1):
        arguments = tuple(samples[name] for name in subset)
        graphs[subset_name(subset)] = to_onnx(SubsetGraph(model, subset), arguments, list(subset), info, one_at_a_time)
        if on_done:
            on_done(done, steps, subset_name(subset))
    presence = torch.ones(2, len(model.modalities))
    names = [*model.modalities, "presence"]
    graphs[WHOLE] = to_onnx(PresenceGraph(model), (*samples.values(), presence), names, info, one_at_a_time)
    write_folder(out / "fp32", graphs)
    write_preprocessing(out / "prepare", make_modalities(info.modalities))
    if calibration is not None:
        from .quantise import quantise_graph

        write_folder(out / "int8", {
            name: quantise_graph(graph, inputs_of(name, model.modalities, calibration)) for name, graph in graphs.items()
        })  # fmt: skip
    measured = {folder: measure(model, out / folder, chosen, samples) for folder in folders}
    if calibration is not None:
        measured["int8"]["top1_agreement"] = agreement(model, out / "int8", chosen, calibration)
    write_config(out, info, [*map(subset_name, chosen), WHOLE], folders, one_at_a_time, measured)
    if on_done:
        on_done(steps, steps, "")
    return measured


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
    graph: nn.Module, arguments: tuple[Tensor, ...], names: list[str], info: CheckpointInfo, one_at_a_time: bool
) -> onnx.ModelProto:
    """An ONNX graph with named inputs and one output per label set; the batch is free unless clips go one at a time."""
    heads = [f"{head}_logits" for head in info.labels.heads]
    if one_at_a_time:
        arguments = tuple(argument[:1] for argument in arguments)
    return trace(graph, arguments, names, heads, None if one_at_a_time else torch.export.Dim("batch", min=1, max=1024))


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


def inputs_of(name: str, modalities: Sequence[str], calibration: Calibration) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Calibration samples for one graph, one at a time; for the whole graph with every subset in turn."""
    count = min(len(values) for values in calibration.values())
    subsets = subsets_of(tuple(modalities))
    for index in range(count):
        if name == WHOLE:
            subset = subsets[index % len(subsets)]
            presence = np.array([[m in subset for m in modalities]], np.float32)
            yield {**{m: calibration[m][index : index + 1] for m in modalities}, "presence": presence}
        else:
            yield {m: calibration[m][index : index + 1] for m in name.split("+")}


def measure(
    model: RecognizerModel, folder: Path, subsets: Sequence[tuple[str, ...]], samples: Mapping[str, Tensor]
) -> dict[str, Any]:
    """Largest difference of a logit to torch's per subset, by its own graph and by the whole one; bytes; milliseconds.

    Raises KarmmaError if an fp32 graph does not give torch's logits.
    """
    engine, rows = find_engines("auto")[0], dict[str, Any]()
    whole = load_graph(folder / f"{WHOLE}.onnx", engine, torch.get_num_threads(), "fp32")
    for subset in subsets:
        clips = {name: samples[name][:1] for name in model.modalities}
        present = {name: torch.tensor([name in subset]) for name in model.modalities}
        with torch.no_grad():
            expected = [values.numpy() for values in model({n: clips[n] for n in subset}, present).values()]
        graph = load_graph(folder / f"{subset_name(subset)}.onnx", engine, torch.get_num_threads(), "fp32")
        arrays = [clips[name].numpy() for name in subset]
        difference = largest_difference(expected, graph(arrays))
        presence = np.array([[name in subset for name in model.modalities]], np.float32)
        everything = [*(clips[name].numpy() for name in model.modalities), presence]
        rows[subset_name(subset)] = {
            "max_abs_logit_difference": difference, "of_whole_graph": largest_difference(expected, whole(everything)),
            "milliseconds": milliseconds(partial(graph, arrays)),
            "torch_milliseconds": milliseconds(partial(torch_run, model, clips, present, subset)),
        }
        worst = max(difference, rows[subset_name(subset)]["of_whole_graph"])
        if folder.name == "fp32" and worst > PARITY:
            raise KarmmaError(f"export of {subset_name(subset)}: logits differ from torch's by {worst:.2g}, more than {PARITY}")
    size = sum(path.stat().st_size for path in folder.iterdir())
    return {"engine": engine, "threads": torch.get_num_threads(), "bytes": size, "subsets": rows}


def agreement(
    model: RecognizerModel, folder: Path, subsets: Sequence[tuple[str, ...]], calibration: Calibration
) -> dict[str, float]:
    """By subset, the share of calibration samples whose best classes are those of torch: a kernel that is wrong shows here."""
    engine, shares = find_engines("auto")[0], dict[str, float]()
    count = min(min(len(values) for values in calibration.values()), AGREEMENT_SAMPLES)
    for subset in subsets:
        graph = load_graph(folder / f"{subset_name(subset)}.onnx", engine, torch.get_num_threads(), "fp32")
        same = []
        for index in range(count):
            arrays = [calibration[name][index : index + 1] for name in subset]
            present = {name: torch.tensor([name in subset]) for name in model.modalities}
            with torch.no_grad():
                expected = model({n: torch.from_numpy(a) for n, a in zip(subset, arrays, strict=True)}, present)
            pairs = zip(expected.values(), graph(arrays), strict=True)
            same.append(all(int(one.argmax()) == int(other.argmax()) for one, other in pairs))
        shares[subset_name(subset)] = round(float(np.mean(same)), 3)
    return shares


def torch_run(
    model: RecognizerModel, clips: Mapping[str, Tensor], present: Mapping[str, Tensor], subset: Sequence[str]
) -> None:
    with torch.inference_mode():
        model({name: clips[name] for name in subset}, present)


def largest_difference(expected: Sequence[NDArray[Any]], found: Sequence[NDArray[Any]]) -> float:
    return max(float(np.abs(one - other).max()) for one, other in zip(expected, found, strict=True))


def milliseconds(work: Callable[[], object], seconds: float = 0.4) -> float:
    """Median time of a call after one to warm up."""
    work()
    times, started = list[float](), time.perf_counter()
    while len(times) < 3 or time.perf_counter() - started < seconds:
        before = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - before))
    return round(float(np.median(times)), 3)


def write_config(
    out: Path, info: CheckpointInfo, graphs: Sequence[str], precisions: Sequence[str], one_at_a_time: bool,
    measured: Mapping[str, Any],
) -> None:  # fmt: skip
    """`config.json`, written last, makes the directory valid."""
    write_json(out / "config.json", {
        "format": FORMAT, "version": FORMAT_VERSION,
        "specs": {name: {"input_shape": list(spec.input_shape), "layout": spec.layout} for name, spec in info.specs.items()},
        "labels": {head: list(names) for head, names in info.labels.names.items()},
        "modalities": info.modalities, "colour_order": "RGB", "graphs": list(graphs), "precisions": list(precisions),
        "batches": "one" if one_at_a_time else "any", "measured": measured, "provenance": info.provenance,
    })  # fmt: skip
