"""What it brings that freed memory is kept: seconds of fitting random kernels, and page faults, with and without.

python benchmarks/freed_memory.py

Kernels as in recipes/utd_mhad.yaml read made-up skeletons; each way has a process of its own, and the ways take turns.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time

import torch
from recording import write_result

from karmma.config import KernelsConfig
from karmma.memory import keep_freed_memory
from karmma.models.random_kernels import RandomKernels
from karmma.training.kernels import Sums
from karmma.types import ModalitySpec

SPEC, CLASSES, BATCHES, REPEATS = ModalitySpec("skeleton", (48, 20, 3), "frames joints xyz"), 27, 40, 5


def measure() -> dict[str, float]:
    """Seconds and page faults of the sums over some batches and of the rule they give."""
    torch.manual_seed(0)
    kernels = RandomKernels(SPEC, KernelsConfig(count=600, ridge=0.3), CLASSES)
    kernels.draw(torch.Generator().manual_seed(0))
    clips, wanted = torch.randn(32, *SPEC.input_shape), torch.randn(32, CLASSES)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
    sums = Sums(kernels.features, CLASSES)
    for _ in range(BATCHES):
        sums.add(kernels.responses(clips), wanted)
    sums.solve(0.3)
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "page_faults": resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before}


def measure_apart(way: str) -> dict[str, float]:
    """The same in a process of its own."""
    done = subprocess.run([sys.executable, __file__, way], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def main() -> None:
    if len(sys.argv) > 1:
        assert sys.argv[1] == "default" or keep_freed_memory()
        print(json.dumps(measure()))
        return
    runs: dict[str, list[dict[str, float]]] = {"default": [], "kept": []}
    for _ in range(REPEATS):
        for way, found in runs.items():
            found.append(measure_apart(way))
    figures = {
        way: {key: round(statistics.median(run[key] for run in found), 3) for key in found[0]} for way, found in runs.items()
    }
    write_result("freed_memory", {"batches": BATCHES, "median_of": REPEATS, **figures})


if __name__ == "__main__":
    main()
