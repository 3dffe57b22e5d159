"""Cost of a recognizer per subset: parameters, GFLOPs (matrix products and convolutions, 2 per multiply-add), memory, time."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from ..config import Absent, RecognizerConfig
from ..models.recognizer import RecognizerModel
from ..types import ModalitySpec

Specs = Mapping[str, ModalitySpec]
SILENT = "99"  # above all levels at which torch's profiler writes to the terminal, twice for each model


def count_parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@torch.no_grad()
def count_gflops(model: RecognizerModel, specs: Specs, subset: Sequence[str]) -> float:
    """GFLOPs of one clip that has only `subset`; extractors of absent modalities do not run.

    Works on a model on the meta device, too, where it costs no time.
    """
    device = next(model.parameters()).device
    data = {name: torch.zeros(1, *specs[name].input_shape, device=device) for name in subset}
    present = {name: torch.ones(1, dtype=torch.bool) for name in subset}
    with FlopCounterMode(display=False) as counter:
        model.eval()(data, present)
    return counter.get_total_flops() / 1e9


def count_recipe_gflops(
    config: RecognizerConfig, specs: Specs, label_sizes: Mapping[str, int], subset: Sequence[str]
) -> float:
    """GFLOPs of a recognizer that is never built in memory."""
    with torch.device("meta"):
        model = RecognizerModel(config, specs, label_sizes)
    return count_gflops(model, specs, subset)


@dataclass(frozen=True)
class Cost:
    """What one clip with some modalities costs on a model of just these (as the paper counts)."""

    parameters: int
    gflops: float
    gflops_with_absent_tokens: float  # the one checkpoint for all subsets: learned tokens of what is absent are fused, too
    weights_megabytes: float
    peak_megabytes: float | None = None  # weights and activations together, fp32, batch 1
    latency_ms: float | None = None
    clips_per_second: float | None = None


@torch.no_grad()
def measure_cost(
    config: RecognizerConfig, specs: Specs, label_sizes: Mapping[str, int], subset: Sequence[str],
    device: torch.device, *, repeats: int = 3, batch_size: int = 1,
) -> Cost:  # fmt: skip
    """The cost of a subset; `repeats` 0 counts only and runs nothing."""
    own = {name: specs[name] for name in subset}
    absent: Absent = "summed" if config.absent == "summed" else "skip"  # nothing of what is not there either way
    alone = replace(config, encoders={name: config.encoders[name] for name in subset}, absent=absent)
    with torch.device("meta"):
        parameters = count_parameters(RecognizerModel(alone, own, label_sizes))
    cost = Cost(
        parameters, count_recipe_gflops(alone, own, label_sizes, subset),
        count_recipe_gflops(config, specs, label_sizes, subset), parameters * 4 / 1e6,
    )  # fmt: skip
    if repeats == 0:
        return cost
    model = RecognizerModel(alone, own, label_sizes).to(device).eval()
    clip = {name: torch.zeros(1, *spec.input_shape, device=device) for name, spec in own.items()}
    there = {name: torch.ones(1, dtype=torch.bool, device=device) for name in own}
    activations = peak_bytes(model, clip, there)
    latency = time_forward(model, clip, there, repeats)
    many = {name: values.expand(batch_size, *values.shape[1:]).contiguous() for name, values in clip.items()}
    all_there = {name: flag.expand(batch_size).contiguous() for name, flag in there.items()}
    batch_seconds = latency if batch_size == 1 else time_forward(model, many, all_there, repeats)
    return replace(
        cost, peak_megabytes=cost.weights_megabytes + activations / 1e6, latency_ms=1000 * latency,
        clips_per_second=batch_size / batch_seconds,
    )  # fmt: skip


def time_forward(
    model: RecognizerModel, data: Mapping[str, torch.Tensor], present: Mapping[str, torch.Tensor], repeats: int
) -> float:
    """Median seconds of a forward pass after one to warm up."""
    seconds = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        model(data, present)
        if next(iter(data.values())).is_cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


def peak_bytes(model: RecognizerModel, data: Mapping[str, torch.Tensor], present: Mapping[str, torch.Tensor]) -> int:
    """Most bytes that a forward pass holds beside weights and inputs, by the allocator's own count."""
    if next(iter(data.values())).is_cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        model(data, present)
        return torch.cuda.max_memory_allocated() - before
    os.environ.setdefault("KINETO_LOG_LEVEL", SILENT)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        model(data, present)
    events = [event for event in record.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak
