"""What exported graphs answer and how long they take, beside torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..models.recognizer import RecognizerModel
from ..types import KarmmaError, subset_name
from .engines import find_engines, load_graph
from .runtime import ENCODER, FUSION, WHOLE

AGREEMENT_SAMPLES = 64
PARITY = 2e-3  # largest difference of a logit between torch and an fp32 graph that is let pass
Calibration = Mapping[str, NDArray[np.float32]]  # modality → (samples, *input_shape)


def measure(
    model: RecognizerModel, folder: Path, subsets: Sequence[tuple[str, ...]], samples: Mapping[str, Tensor]
) -> dict[str, Any]:
    """Largest difference of a logit to torch's per subset, by its own graph, the whole one and in parts; bytes; milliseconds.

    Raises KarmmaError if an fp32 graph does not give torch's logits.
    """
    engine, rows = find_engines("auto")[0], dict[str, Any]()
    whole, fusion = (load_graph(folder / f"{name}.onnx", engine, torch.get_num_threads(), "fp32") for name in (WHOLE, FUSION))
    encoders = {
        name: load_graph(folder / f"{ENCODER}{name}.onnx", engine, torch.get_num_threads(), "fp32") for name in model.modalities
    }
    tokens = [encoders[name]([samples[name][:1].numpy()])[0] for name in model.modalities]
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
            "of_parts": largest_difference(expected, fusion([*tokens, presence])),
            "milliseconds": milliseconds(partial(graph, arrays)),
            "torch_milliseconds": milliseconds(partial(torch_run, model, clips, present, subset)),
        }
        worst = max(rows[subset_name(subset)][key] for key in ("max_abs_logit_difference", "of_whole_graph", "of_parts"))
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
