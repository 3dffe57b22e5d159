"""Exported graphs of students that put something of their own in the place of absent modalities, or let random kernels vote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import karmma
from karmma.config import KernelsConfig
from karmma.deploy.export import export_student
from karmma.deploy.recognition import Arrays
from karmma.deploy.runtime import ExportedRecognizer
from karmma.models.checkpoint import load_checkpoint
from karmma.models.random_kernels import RandomKernels
from karmma.models.weights import save_weights
from karmma.types import subsets_of

from .conftest import ENGINES, SETTINGS, inputs_for, save_student


def check_engines(exported: Path, inputs: Arrays, present: dict[str, np.ndarray], expected: Arrays, tolerance: float) -> None:
    """Every engine gives the expected logits, in one go and from tokens."""
    for engine in ENGINES:
        runtime = ExportedRecognizer.load(exported, engine=engine)
        tokens = {name: runtime.encode(name, values) for name, values in inputs.items()}
        for found in (runtime.run(inputs, present), runtime.fuse(tokens, present)):
            for head, values in expected.items():
                np.testing.assert_allclose(found[head], values, atol=tolerance)


@pytest.mark.parametrize("absent", ["zeros", "summed"])
def test_whatever_stands_for_absent_modalities_no_graph_looks_at_them(tmp_path: Path, absent: str) -> None:
    settings = {"audio": SETTINGS["audio"], "imu": SETTINGS["imu"]}
    path = save_student(tmp_path / "student", settings, absent=absent, own_votes=absent != "zeros")
    student = karmma.load(path)
    export_student(path, tmp_path / "exported")
    subsets = subsets_of(("audio", "imu"))
    inputs = inputs_for(student, len(subsets))
    present = {name: np.array([name in subset for subset in subsets]) for name in student.modalities}
    expected = student.run(inputs, present)
    for name, values in inputs.items():
        values[~present[name]] = np.nan
    check_engines(tmp_path / "exported", inputs, present, expected, 1e-4)


@pytest.mark.parametrize(
    ("own_votes", "absent", "rounded"),
    [(False, "skip", False), (True, "tokens", True), (True, "one_token", False), (True, "rebuilt", False), (False, "shared", False)],
)
def test_random_kernels_vote_in_every_graph(tmp_path: Path, own_votes: bool, absent: str, rounded: bool) -> None:
    settings = {"audio": SETTINGS["audio"], "imu": SETTINGS["imu"]}
    # so many kernels are not folded away
    path = save_student(tmp_path / "voting", settings, kernels=KernelsConfig(count=120), own_votes=own_votes, absent=absent)
    voting, _ = load_checkpoint(path)
    generator = torch.Generator().manual_seed(0)
    for kernels in voting.kernels.values():
        assert isinstance(kernels, RandomKernels)
        kernels.draw(generator)
        kernels.weight.normal_(std=0.02, generator=generator)
    save_weights(voting, path / "model.safetensors")
    student = karmma.load(path)
    export_student(path, tmp_path / "exported", calibration=inputs_for(student, 6) if rounded else None)
    subsets = subsets_of(("audio", "imu"))
    inputs = inputs_for(student, len(subsets))
    present = {name: np.array([name in subset for subset in subsets]) for name in student.modalities}
    expected = student.run(inputs, present)
    check_engines(tmp_path / "exported", inputs, present, expected, 1e-3)
    if rounded:
        near = ExportedRecognizer.load(tmp_path / "exported", precision="int8").run(inputs, present)
        assert all(np.abs(near[head] - values).max() < 0.25 * np.ptp(values) for head, values in expected.items())
    voting.kernels.clear()
    silent = voting({name: torch.from_numpy(values) for name, values in inputs.items()}, {
        name: torch.from_numpy(flags) for name, flags in present.items()
    })  # fmt: skip
    assert all((silent[head] - torch.from_numpy(values)).abs().max() > 0.1 for head, values in expected.items())
