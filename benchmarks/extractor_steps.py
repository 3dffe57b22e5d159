"""How long a training step of each extractor and of a whole student takes, and what share of this machine's matrix product that is.

python benchmarks/extractor_steps.py [RECIPE ...] [--clips 32] [--repeats 20] [--name extractor_steps]

One thread, in the precision that training takes here. The floor is a square matrix product in the same precision in the same
run: all floating point operations (forward and backward) at that speed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from paper_size import matmul_gflops_per_second
from paper_size import measure as median_seconds
from recording import write_result
from torch.utils.flop_counter import FlopCounterMode

from karmma.config import find_recipe, load_recipe
from karmma.memory import keep_freed_memory
from karmma.modalities import make_modalities
from karmma.models.encoders import make_encoder
from karmma.models.recognizer import RecognizerModel
from karmma.progress import Progress
from karmma.training.fit import resolve_precision

CLASSES, CPU = 30, torch.device("cpu")


def step_of(model: torch.nn.Module, answer: Callable[[], list[torch.Tensor]], dtype: torch.dtype) -> Callable[[], None]:
    """Forward and backward of whatever answers."""

    def step() -> None:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            level = torch.stack([values.float().square().mean() for values in answer()]).sum()
        level.backward()
        model.zero_grad()

    return step


def figures_of(step: Callable[[], None], peak: float, repeats: int) -> dict[str, float]:
    with FlopCounterMode(display=False) as counter:
        step()
    gflops, seconds = counter.get_total_flops() / 1e9, median_seconds(step, repeats, CPU)
    share = gflops / seconds / peak
    return {"ms_per_step": round(1000 * seconds, 2), "gflops_per_step": round(gflops, 2), "share_of_matmul": round(share, 3)}


def measure(recipe_name: str, dtype: torch.dtype, peak: float, clips: int, repeats: int) -> list[dict[str, Any]]:
    """Figures of every extractor of a recipe's teacher and student, and of the student as a whole, with everything present."""
    recipe, rows = load_recipe(find_recipe(Path(recipe_name))), []
    modalities = make_modalities(recipe.modalities)
    data = {name: torch.rand(clips, *modality.spec.input_shape) for name, modality in modalities.items()}
    torch.manual_seed(0)
    for role, config in (("teacher", recipe.teacher.recognizer), ("student", recipe.student.recognizer)):
        for name, modality in modalities.items():
            encoder = make_encoder(modality.spec, config.encoders[name]).train()
            step = step_of(encoder, lambda encoder=encoder, name=name: [encoder(data[name])], dtype)  # type: ignore[misc]
            rows.append({"recipe": recipe_name, "role": role, "part": name, **figures_of(step, peak, repeats)})
    specs = {name: modality.spec for name, modality in modalities.items()}
    student = RecognizerModel(replace(recipe.student.recognizer, kernels=None), specs, {"action": CLASSES}).train()
    present = {name: torch.ones(clips, dtype=torch.bool) for name in specs}

    def answer() -> list[torch.Tensor]:
        fused, votes = student.answers(data, present, [present])
        return [logits["action"] for logits in (*fused, *votes.values())]

    whole = figures_of(step_of(student, answer, dtype), peak, repeats)
    return [*rows, {"recipe": recipe_name, "role": "student", "part": "whole", **whole}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipes", nargs="*", default=["utd_mhad", "kitchen"])
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--name", default="extractor_steps")
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    precision = resolve_precision("auto")
    dtype = torch.bfloat16 if precision == "bf16-mixed" else torch.float32
    peak = matmul_gflops_per_second(CPU, dtype)
    rows: list[dict[str, Any]] = []
    with Progress("steps") as progress:
        for done, recipe in enumerate(options.recipes):
            progress.update(done, len(options.recipes), recipe)
            rows += measure(recipe, dtype, peak, options.clips, options.repeats)
    write_result(options.name, {
        "threads": 1, "precision": precision, "clips_per_step": options.clips, "matmul_gflops_per_second": round(peak, 1),
        "rows": rows,
    })  # fmt: skip


if __name__ == "__main__":
    main()
