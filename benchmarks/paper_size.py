"""Paper size on this machine: forward passes, a training step, distillation with the online and with the cached teacher.

python benchmarks/paper_size.py [--batch 1] [--repeats 3] [--precision fp32,bf16] [--compile]

Everything in one run: the peak of a large matrix product in the same precision first, then recipes/karmma_epic100.yaml's
teacher and student on random clips with all three modalities. A GPU is used when there is one.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from recording import write_result
from torch import Tensor

from karmma.config import load_recipe
from karmma.datasets import find_data_set
from karmma.evaluation.profile import count_recipe_gflops
from karmma.modalities import make_modalities
from karmma.models.recognizer import RecognizerModel
from karmma.training.fit import training_device
from karmma.training.losses import cross_entropy, distillation
from karmma.training.teachers import frozen, token_logits
from karmma.types import Batch

RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "karmma_epic100.yaml"
UNWEIGHTED = [f"{part}.recognizer.encoders.{name}.weights=null" for part in ("teacher", "student") for name in ("rgb", "flow")]


def measure(work: Callable[[], Any], repeats: int, device: torch.device) -> float:
    """Median seconds after one run to warm up."""
    seconds = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


def matmul_gflops_per_second(device: torch.device, dtype: torch.dtype) -> float:
    """What a product of large square matrices reaches."""
    edge = 8192 if device.type == "cuda" else 3072
    one, other = (torch.randn(edge, edge, device=device, dtype=dtype) for _ in range(2))
    return 2 * edge**3 / measure(lambda: one @ other, 5, device) / 1e9


class Bench:
    """Teacher, student and one random batch."""

    def __init__(self, batch: int, precision: str, compile_extractors: bool) -> None:
        recipe = load_recipe(RECIPE, [*UNWEIGHTED, "teacher.recognizer.encoders.audio.weights=null"])
        specs = {name: modality.spec for name, modality in make_modalities(recipe.modalities).items()}
        sizes = dict(find_data_set("epic").label_sizes or {})
        self.device, self.precision = training_device(), precision
        torch.manual_seed(0)
        self.teacher = frozen(RecognizerModel(recipe.teacher.recognizer, specs, sizes).to(self.device))
        self.student = RecognizerModel(recipe.student.recognizer, specs, sizes).to(self.device)
        if compile_extractors:
            for model in (self.teacher, self.student):
                for name in model.modalities:
                    model.encoder(name).compile()
        self.optimizer = torch.optim.AdamW(self.student.parameters(), lr=1e-4, fused=True)
        clips = {name: torch.randn(batch, *spec.input_shape, device=self.device) for name, spec in specs.items()}
        present = {name: torch.ones(batch, dtype=torch.bool, device=self.device) for name in specs}
        labels = {head: torch.zeros(batch, dtype=torch.long, device=self.device) for head in sizes}
        self.batch, self.size = Batch(clips, present, labels), batch
        shape = {name: (batch, self.teacher.encoder(name).tokens, self.teacher.encoder(name).width) for name in specs}
        self.tokens = {name: torch.randn(shape[name], device=self.device) for name in specs}
        self.gflops = {
            role: count_recipe_gflops(model.config, specs, sizes, tuple(specs))
            for role, model in (("teacher", self.teacher), ("student", self.student))
        }

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    @torch.no_grad()
    def forward(self, model: RecognizerModel) -> dict[str, Tensor]:
        model.eval()
        with self.autocast():
            return model(self.batch.data, self.batch.present)

    @torch.no_grad()
    def from_tokens(self) -> dict[str, Tensor]:
        with self.autocast():
            return token_logits(self.teacher, self.tokens, self.batch.present)

    def step(self, teach: Callable[[], dict[str, Tensor]] | None) -> None:
        """One training step of the student."""
        self.student.train()
        target = teach() if teach is not None else None
        with self.autocast():
            logits = self.student(self.batch.data, self.batch.present)
            loss = cross_entropy(logits, self.batch.labels)
            if target is not None:
                loss = 0.5 * loss + 0.5 * distillation(logits, target, 2.0)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def run(self, repeats: int) -> dict[str, Any]:
        peak = matmul_gflops_per_second(self.device, torch.bfloat16 if self.precision == "bf16" else torch.float32)
        work: dict[str, tuple[Callable[[], Any], float]] = {
            "teacher forward": (lambda: self.forward(self.teacher), self.gflops["teacher"]),
            "student forward": (lambda: self.forward(self.student), self.gflops["student"]),
            "student training step": (lambda: self.step(None), 3 * self.gflops["student"]),
            "KD step, online teacher": (
                lambda: self.step(lambda: self.forward(self.teacher)), 3 * self.gflops["student"] + self.gflops["teacher"],
            ),
            "KD step, cached teacher": (lambda: self.step(self.from_tokens), 3 * self.gflops["student"]),
        }  # fmt: skip
        rows: dict[str, dict[str, Any]] = {}
        for name, (call, gflops) in work.items():
            if self.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            seconds = measure(call, repeats, self.device)
            rows[name] = {
                "seconds": seconds, "clips_per_second": self.size / seconds,
                "share_of_matmul_peak": gflops * self.size / seconds / peak,
                "peak_megabytes": torch.cuda.max_memory_allocated() / 1e6 if self.device.type == "cuda" else None,
            }  # fmt: skip
            print(f"{self.precision:5} {name:26} {seconds:8.3f} s", flush=True)
        ratio = rows["KD step, cached teacher"]["seconds"] / rows["KD step, online teacher"]["seconds"]
        return {"matmul_gflops_per_second": peak, "cached_over_online": ratio, "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--precision", default="fp32,bf16")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--name", default="paper_size", help="of the file in results/")
    options = parser.parse_args()
    device = training_device()
    figures = {
        precision: Bench(options.batch, precision, options.compile).run(options.repeats)
        for precision in options.precision.split(",")
    }
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    write_result(options.name, {"device": where, "batch": options.batch, "compile": options.compile, "precisions": figures})


if __name__ == "__main__":
    main()
