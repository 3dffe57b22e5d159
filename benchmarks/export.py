"""Exported students beside eager torch: milliseconds per subset, share of the matmul peak, accuracy lost, one thread.

python benchmarks/export.py NAME CHECKPOINT CLIPS DATASET ROOT SPLIT [SETTING=VALUE ...]
python benchmarks/export.py paper
python benchmarks/export.py folds RUNS UTD_ROOT

The first form takes a trained student, the decoded clips of a run (RUN/clips/<split>) and its data set; int8 is calibrated on
RUN/clips/train. The second builds the paper's EPIC-100 student with random weights: speed alone. The
third measures what precisions lose on the left-out subjects of the runs that folds_utd.py has made, no speed. Every engine runs the
same ONNX files; ways are measured in turn, the median of five rounds.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from recording import RESULTS, write_result

from karmma.config import load_recipe
from karmma.data.clips import ClipStore
from karmma.datasets import load_data_set
from karmma.deploy.engines import load_graph
from karmma.deploy.export import export_student, write_folder
from karmma.deploy.predict import Recognizer
from karmma.deploy.quantise import quantise_graph
from karmma.deploy.recognition import Recognition
from karmma.deploy.runtime import ExportedRecognizer
from karmma.deploy.tracing import behind_encoders, trace
from karmma.evaluation.profile import count_gflops
from karmma.modalities import make_modalities
from karmma.models.graphs import EncoderGraph, SubsetFusionGraph
from karmma.models.recognizer import RecognizerModel
from karmma.types import KarmmaError, subset_name, subsets_of

WAYS = (("openvino", "fp32"), ("openvino", "bf16"), ("openvino", "int8"), ("onnxruntime", "fp32"), ("onnxruntime", "int8"))
ROUNDS = 5
Arrays = dict[str, NDArray[np.float32]]


def milliseconds(work: Callable[[], object], least_seconds: float) -> float:
    """Mean time of calls that fill `least_seconds`."""
    started, calls = time.perf_counter(), 0
    while calls == 0 or time.perf_counter() - started < least_seconds:
        work()
        calls += 1
    return 1000 * (time.perf_counter() - started) / calls


def in_turn(ways: Mapping[str, Callable[[], object]], least_seconds: float = 0.15, rounds: int = ROUNDS) -> dict[str, float]:
    """Median milliseconds of each way; all are warmed up, then measured in turn."""
    for work in ways.values():
        work()
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, work in ways.items():
            times[name].append(milliseconds(work, least_seconds))
    return {name: statistics.median(values) for name, values in times.items()}


def matmul_peak_gflops() -> dict[str, float]:
    """Billions of operations per second of a large matrix product, one thread."""
    size, peaks = 2048, {}
    for name, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        one, other = torch.rand(size, size).to(kind), torch.rand(size, size).to(kind)
        peaks[name] = 2 * size**3 / (min(milliseconds(partial(torch.matmul, one, other), 0.5) for _ in range(3)) * 1e6)
    whole = torch.randint(-127, 127, (size, size), dtype=torch.int8)
    peaks["int8"] = 2 * size**3 / (min(milliseconds(lambda: torch._int_mm(whole, whole), 0.5) for _ in range(3)) * 1e6)
    return {name: round(value, 1) for name, value in peaks.items()}


def described(times: Mapping[str, float], gflops: float, peaks: Mapping[str, float]) -> dict[str, Any]:
    """Milliseconds, share of eager's time, share of the peak of the same precision."""
    rows = {}
    for name, value in times.items():
        precision = name.rpartition(" ")[2] if " " in name else "fp32"
        rows[name] = {
            "ms": round(value, 3), "over_eager": round(value / times["torch"], 3),
            "of_matmul_peak": round(gflops / value * 1000 / peaks[precision], 3),
        }  # fmt: skip
    return rows


def measure_speed(student: Recognizer, directory: Path, peaks: Mapping[str, float]) -> dict[str, Any]:
    """Per subset, every engine and precision beside eager torch; batch 1."""
    runtimes = {
        f"{engine} {precision}": ExportedRecognizer.load(directory, engine=engine, precision=precision, threads=1)
        for engine, precision in WAYS
    }
    rows = {}
    for subset in subsets_of(student.modalities):
        random = np.random.default_rng(0)
        clips = {name: random.normal(size=(1, *student.specs[name].input_shape)).astype(np.float32) for name in subset}
        present = {name: torch.tensor([name in subset]) for name in student.modalities}
        tensors = {name: torch.from_numpy(value) for name, value in clips.items()}
        ways: dict[str, Callable[[], object]] = {"torch": partial(eager, student.model, tensors, present)}
        ways |= {name: partial(runtime.run_subset, subset, clips, 1) for name, runtime in runtimes.items()}
        rows[subset_name(subset)] = described(in_turn(ways), count_gflops(student.model, student.specs, subset), peaks)
    return rows


@torch.inference_mode()
def eager(model: RecognizerModel, clips: Mapping[str, torch.Tensor], present: Mapping[str, torch.Tensor]) -> None:
    model(clips, present)


def inputs_of(store: ClipStore, rows: Sequence[int]) -> tuple[Arrays, dict[str, NDArray[np.bool_]], dict[str, NDArray[np.int64]]]:
    batch = store.batch(np.asarray(rows), None)
    return (
        {name: value.float().numpy() for name, value in batch.data.items()},
        {name: flags.numpy() for name, flags in batch.present.items()},
        {head: labels.numpy() for head, labels in batch.labels.items()},
    )


def accuracy(recognition: Recognition, store: ClipStore) -> dict[str, float]:
    """Top-1 of the action (all label sets right) under every subset, percent."""
    inputs, present, labels = inputs_of(store, store.usable.tolist())
    result = {}
    for subset in subsets_of(recognition.modalities):
        shown = {name: flags & (name in subset) for name, flags in present.items()}
        some = np.logical_or.reduce(list(shown.values()))
        right = some.copy()
        for first in range(0, len(some), 32):
            rows = np.flatnonzero(some[first : first + 32]) + first
            logits = recognition.run({n: a[rows] for n, a in inputs.items()}, {n: f[rows] for n, f in shown.items()})
            right[rows] = np.logical_and.reduce([logits[head].argmax(1) == truth[rows] for head, truth in labels.items()])
        result[subset_name(subset)] = 100 * float(right[some].mean())
    return result


def measure_trained(name: str, checkpoint: Path, clips: Path, data: tuple[str, Path, str], overrides: list[str]) -> dict[str, Any]:
    """Export, size, parity, speed, and what each precision loses on a split."""
    student, store, calibration = load_student(checkpoint, clips, data, overrides)
    peaks = matmul_peak_gflops()
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / name
        started = time.perf_counter()
        parity = export_student(checkpoint, out, calibration=calibration)
        seconds = time.perf_counter() - started
        speed = measure_speed(student, out, peaks)
        losses = measure_losses(student, out, store)
    return {
        "student": name, "split": data[2], "clips": len(store.usable), "threads": 1, "export_seconds": round(seconds, 1),
        "matmul_peak_gflops": peaks,
        "bytes": {precision: row["bytes"] for precision, row in parity.items()},
        "max_abs_logit_difference_fp32": max(
            max(row["max_abs_logit_difference"], row["of_whole_graph"]) for row in parity["fp32"]["subsets"].values()
        ),
        **losses, "speed": speed,
    }  # fmt: skip


def load_student(
    checkpoint: Path, clips: Path, data: tuple[str, Path, str], overrides: list[str]
) -> tuple[Recognizer, ClipStore, Arrays]:
    """The student, the stored clips of the split, and inputs of 128 training segments to calibrate with."""
    dataset, root, split = data
    student, manifest = Recognizer.load(checkpoint), load_data_set(dataset, root, overrides)
    modalities = make_modalities(student.info.modalities)
    training = ClipStore(clips.parent / "train", manifest.split("train"), modalities)
    complete = np.flatnonzero(training.available.all(1).numpy())
    chosen = np.random.default_rng(0).permutation(complete)[:128]
    return student, ClipStore(clips, manifest.split(split), modalities), inputs_of(training, chosen.tolist())[0]


def measure_losses(student: Recognizer, exported: Path, store: ClipStore) -> dict[str, Any]:
    """Top-1 by subset in every precision, and the points that are lost in the mean over subsets."""
    found = {"torch fp32": accuracy(student, store)}
    for precision in ("fp32", "bf16", "int8"):
        found[precision] = accuracy(ExportedRecognizer.load(exported, precision=precision, threads=1), store)
    means = {way: round(statistics.mean(values.values()), 2) for way, values in found.items()}
    return {
        "mean_subset_top1": means, "lost_points": {way: round(means["torch fp32"] - mean, 2) for way, mean in means.items()},
        "top1_by_subset": {way: {subset: round(v, 2) for subset, v in values.items()} for way, values in found.items()},
    }


def measure_folds(runs: Path, root: Path) -> dict[str, Any]:
    """What each precision loses on the subject that each fold leaves out; no timing."""
    rows = {}
    for run in sorted(runs.glob("fold*")):
        checkpoint, settings = run / "seed0" / "karmma", [f"fold={run.name.removeprefix('fold')}"]
        data = ("utd_mhad", root, "validation")
        student, store, calibration = load_student(checkpoint, run / "clips" / "validation", data, settings)
        with tempfile.TemporaryDirectory() as directory:
            export_student(checkpoint, Path(directory), calibration=calibration)
            rows[run.name] = {"clips": len(store.usable), **measure_losses(student, Path(directory), store)}
        print(run.name, rows[run.name]["lost_points"], flush=True)
    clips = sum(row["clips"] for row in rows.values())
    lost = {
        way: round(sum(row["clips"] * row["lost_points"][way] for row in rows.values()) / clips, 2)
        for way in next(iter(rows.values()))["lost_points"]
    }
    return {"clips": clips, "lost_points": lost, "folds": rows}


def measure_paper() -> dict[str, Any]:
    """The EPIC-100 student of the paper's size: one modality in all precisions, three in those without calibration."""
    recipe = load_recipe(RESULTS.parents[1] / "recipes" / "karmma_epic100.yaml")
    specs = {name: modality.spec for name, modality in make_modalities(recipe.modalities).items()}
    torch.manual_seed(0)
    model = RecognizerModel(recipe.student.recognizer, specs, {"verb": 97, "noun": 300}).eval()
    peaks, rows = matmul_peak_gflops(), {}
    for subset in (("rgb",), ("audio",), tuple(specs)):
        generator = torch.Generator().manual_seed(0)
        clips = {name: torch.rand(1, *specs[name].input_shape, generator=generator) for name in subset}
        present = {name: torch.tensor([name in clips]) for name in model.modalities}
        exported = exported_subset(model, clips)
        arrays, precisions = [clip.numpy() for clip in clips.values()], ["fp32"]
        with tempfile.TemporaryDirectory() as directory:
            write_folder(Path(directory) / "fp32", {"graph": exported})
            if len(subset) == 1:
                write_folder(Path(directory) / "int8", {"graph": quantise_graph(exported, [dict(zip(subset, arrays, strict=True))])})
                precisions.append("int8")
            ways: dict[str, Callable[[], object]] = {"torch": partial(eager, model, clips, present)}
            for engine, precision in WAYS:
                folder = "fp32" if precision == "bf16" else precision
                if folder in precisions:
                    try:
                        loaded = load_graph(Path(directory) / folder / "graph.onnx", engine, 1, precision)
                    except KarmmaError as error:
                        print(error, flush=True)
                        continue
                    ways[f"{engine} {precision}"] = partial(loaded, arrays)
            times = in_turn(ways, 0.0, 3)
        rows[subset_name(subset)] = described(times, count_gflops(model, specs, subset), peaks)
        print(subset, rows[subset_name(subset)], flush=True)
    return {"student": "recipes/karmma_epic100.yaml, random weights", "threads": 1, "matmul_peak_gflops": peaks, "speed": rows}


@torch.no_grad()
def exported_subset(model: RecognizerModel, clips: Mapping[str, torch.Tensor]) -> onnx.ModelProto:
    """The graph of the subset that there are clips of, one clip at a time."""
    tokens = {name: model.extract(name, clip) for name, clip in clips.items()}
    encoders = {name: trace(EncoderGraph(model, name), (clip,), [name], ["tokens"], None) for name, clip in clips.items()}
    fusion = SubsetFusionGraph(model, tuple(clips))
    heads = [f"{head}_logits" for head in model.heads.heads]
    return behind_encoders(trace(fusion, tuple(tokens.values()), list(tokens), heads, None), encoders)


def main() -> None:
    torch.set_num_threads(1)
    if sys.argv[1] == "paper":
        write_result("export_paper", measure_paper())
        return
    if sys.argv[1] == "folds":
        write_result("export_utd_folds", measure_folds(Path(sys.argv[2]), Path(sys.argv[3])))
        return
    name, checkpoint, clips, dataset, root, split, *overrides = sys.argv[1:]
    write_result(f"export_{name}", measure_trained(name, Path(checkpoint), Path(clips), (dataset, Path(root), split), overrides))


if __name__ == "__main__":
    main()
