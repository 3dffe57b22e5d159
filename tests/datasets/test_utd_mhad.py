"""UTD-MHAD: layout, splits and folds, partial and broken trials; the real files where they lie beside the checkout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
from safetensors.torch import load_file

from karmma.config import Recipe, load_recipe
from karmma.data.clips import ClipStore
from karmma.datasets.utd_mhad import ACTIONS, UtdMhadConfig, load_utd_mhad
from karmma.experiment.run import run
from karmma.media.inertial import MATLAB_UNITS, doubt_units, read_matlab_inertial
from karmma.media.series import read_series
from karmma.modalities import make_modalities
from karmma.modalities.base import sample_seconds
from karmma.modalities.imu import Imu
from karmma.models.checkpoint import load_checkpoint
from karmma.trees import build
from karmma.types import KarmmaError

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "utd_mhad"
RECIPE = Path(__file__).resolve().parents[2] / "recipes" / "utd_mhad.yaml"
SETTINGS: dict[str, dict[str, Any]] = {
    "imu": {"seconds": 0.64, "span": "segment", "force_scale_mps2": 9.80665, "turn_scale_radps": 4.363323},
    "skeleton": {"frames": 12},
    "depth": {"frames": 4, "size": 16, "content": "person", "turn_degrees": 20.0},
}


def write_trial(root: Path, action: int, subject: int, repetition: int, parts: str = "isd") -> None:
    """A trial in the published layout: a person of 60 × 20 pixels whose skeleton and sensor follow the action's number."""
    random = np.random.default_rng([action, subject, repetition])
    name, frames = f"a{action}_s{subject}_t{repetition}", 20 + subject
    beat = np.sin(np.linspace(0, action, frames))
    for folder in ("Inertial", "Skeleton", "Depth"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    if "i" in parts:
        inertial = np.repeat(beat, 3)[:, None] + random.normal(0, 0.1, (3 * frames, 6))
        scipy.io.savemat(root / "Inertial" / f"{name}_inertial.mat", {"d_iner": inertial})
    if "s" in parts:
        skeleton = random.normal(0, 0.1, (20, 3, frames)) + beat
        skeleton[1, 1] += 1
        scipy.io.savemat(root / "Skeleton" / f"{name}_skeleton.mat", {"d_skel": skeleton})
    if "d" in parts:
        depth = np.zeros((120, 160, frames), np.uint16)
        depth[30:90, 70:90] = 2800
        for frame in range(frames):
            depth[40:50, 60:100, frame] = 2500 - int(200 * beat[frame])
        scipy.io.savemat(root / "Depth" / f"{name}_depth.mat", {"d_depth": depth}, do_compression=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for subject in (1, 2, 3):
        for action in (1, 5):
            write_trial(tmp_path, action, subject, 1)
    return tmp_path


def test_the_official_split_goes_by_subject(root: Path) -> None:
    manifest = load_utd_mhad(root, UtdMhadConfig())
    assert manifest.labels.names == {"action": ACTIONS} and len(ACTIONS) == 27
    assert [segment.name for segment in manifest.split("train")] == ["a1_s1_t1", "a1_s3_t1", "a5_s1_t1", "a5_s3_t1"]
    assert {segment.participant for segment in manifest.split("test")} == {"s2"}
    first = manifest.split("train")[0]
    assert first.labels == {"action": 0} and first.stop_seconds == pytest.approx(3 * 21 / 50)


def test_a_fold_holds_one_training_subject_out(root: Path) -> None:
    manifest = load_utd_mhad(root, UtdMhadConfig(fold=3))
    assert {segment.participant for segment in manifest.split("train")} == {"s1"}
    assert {segment.participant for segment in manifest.split("validation")} == {"s3"}
    assert {segment.participant for segment in manifest.split("test")} == {"s2"}
    with pytest.raises(KarmmaError, match="fold 2 is none of the training subjects"):
        build(UtdMhadConfig, {"fold": 2}, "x")
    with pytest.raises(KarmmaError, match="subject 1 is in train_subjects and in test_subjects"):
        build(UtdMhadConfig, {"test_subjects": [1]}, "x")


def test_a_trial_is_kept_with_whatever_it_has(root: Path, tmp_path: Path) -> None:
    write_trial(root, 7, 1, 1, "s")
    write_trial(root, 8, 1, 1, "id")
    segments = {segment.name: segment for segment in load_utd_mhad(root, UtdMhadConfig()).split("train")}
    assert set(segments["a7_s1_t1"].sources) == {"skeleton"} and set(segments["a8_s1_t1"].sources) == {"imu", "depth"}
    store = ClipStore(tmp_path / "clips", list(segments.values()), make_modalities(SETTINGS))
    store.write(workers=1)
    has = dict(zip(segments, store.available.tolist(), strict=True))
    assert has["a7_s1_t1"] == [False, True, False] and has["a8_s1_t1"] == [True, False, True] and not store.failures()


def test_broken_files_are_named_counted_and_taken_as_absent(root: Path, tmp_path: Path) -> None:
    whole = (root / "Depth" / "a1_s1_t1_depth.mat").read_bytes()
    (root / "Depth" / "a1_s1_t1_depth.mat").write_bytes(whole[: len(whole) // 2])
    (root / "Skeleton" / "a1_s1_t1_skeleton.mat").write_text("The skeleton joint order")
    scipy.io.savemat(root / "Inertial" / "a1_s3_t1_inertial.mat", {"d_iner": np.full((50, 6), np.nan)})
    scipy.io.savemat(root / "Skeleton" / "a1_s3_t1_skeleton.mat", {"d_skel": np.zeros((19, 3, 30))})
    scipy.io.savemat(root / "Depth" / "a1_s3_t1_depth.mat", {"d_else": np.zeros((4, 4, 4))})
    (root / "Inertial" / "a5_s1_t1_inertial.mat").write_bytes(b"")
    segments = load_utd_mhad(root, UtdMhadConfig()).split("train")
    store = ClipStore(tmp_path / "clips", segments, make_modalities(SETTINGS))
    store.write(workers=1)
    rows = {(name, modality): words for name, modality, words in store.failures()}
    assert set(rows) == {
        ("a1_s1_t1", "depth"), ("a1_s1_t1", "skeleton"), ("a1_s3_t1", "imu"), ("a1_s3_t1", "skeleton"),
        ("a1_s3_t1", "depth"), ("a5_s1_t1", "imu"),
    }  # fmt: skip
    for (name, modality), words in rows.items():
        assert f"{name}_{'inertial' if modality == 'imu' else modality}.mat" in words
    assert "not finite" in rows["a1_s3_t1", "imu"] and "expected (20, 3)" in rows["a1_s3_t1", "skeleton"]
    assert "no array 'd_depth'; found: d_else" in rows["a1_s3_t1", "depth"]
    assert store.available.tolist() == [[True, False, False], [False, False, False], [False, True, True], [True, True, True]]


@pytest.mark.parametrize("name", ["a28_s1_t1_depth.mat", "a1_depth.mat", "a1_s1_t1_skeleton.mat"])
def test_a_file_with_an_impossible_name_is_an_error(root: Path, name: str) -> None:
    (root / "Depth" / name).touch()
    with pytest.raises(KarmmaError, match=rf"{name}: expected a name like a1_s1_t1_depth.mat"):
        load_utd_mhad(root, UtdMhadConfig())


def test_hidden_files_are_no_trials(root: Path) -> None:
    before = load_utd_mhad(root, UtdMhadConfig())
    (root / "Depth" / "._a1_s1_t1_depth.mat").write_bytes(b"\x00\x05\x16\x07")
    assert load_utd_mhad(root, UtdMhadConfig()) == before


def test_a_directory_without_trials_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(KarmmaError, match="no trials"):
        load_utd_mhad(tmp_path, UtdMhadConfig())


def tiny_recipe(root: Path) -> dict[str, Any]:
    recognizer = {
        "encoders": {
            "imu": {"kind": "motion", "width": 8}, "skeleton": {"kind": "skeleton", "width": 8},
            "depth": {"kind": "views", "width": 8},
        },
        "dim": 16, "ffn_dim": 16, "head_dim": 16, "heads": 2,
    }  # fmt: skip
    training = {"epochs": 2, "batch_size": 2, "precision": "32-true", "mirror": 0.0}
    return {
        "name": "tiny-utd",
        "data": {"dataset": "utd_mhad", "root": str(root), "settings": {"fold": 3}, "workers": 1},
        "modalities": SETTINGS,
        "teacher": {"recognizer": recognizer, "pretraining": training, "training": training, "pretraining_split": "train"},
        "student": {"recognizer": {**recognizer, "own_votes": True, "kernels": {"count": 8, "passes": 1}}, "training": training},
        "methods": {
            "specialists": {"specialists": True, "absent": "skip", "epochs": 1, "kernels": False},
            "late_fusion": {"late_fusion_of": "specialists"},
            "early_fusion": {"absent": "zeros", "average": "all"},
            "karmma": {
                "subsets": "uniform", "extractors_from": "specialists", "own_weight": 1.0,
                "distillation": {"alpha": 0.5, "teachers": ["specialists", "teacher"]},
            },
        },
        "evaluation": {"split": "validation", "sweep_draws": 1, "examples": 1},
    }  # fmt: skip


def test_every_kind_of_arm_runs_end_to_end(root: Path, tmp_path: Path) -> None:
    (root / "Depth" / "a1_s3_t1_depth.mat").unlink()
    results = run(build(Recipe, tiny_recipe(root), "tiny"), tmp_path / "out")
    assert list(results["methods"]) == ["teacher", "specialists", "late_fusion", "early_fusion", "karmma"]
    for method in results["methods"].values():
        assert set(method["subsets"]) == {
            "imu+skeleton+depth", "imu+skeleton", "imu+depth", "skeleton+depth", "imu", "skeleton", "depth",
        }  # fmt: skip
        assert set(method["subsets"]["depth"]) == {"action_top1", "action_top5"}
    methods = results["methods"]
    assert methods["specialists"]["parameters"] > methods["late_fusion"]["parameters"] > methods["karmma"]["parameters"] / 2
    assert methods["late_fusion"]["gflops_by_subset"]["imu"] == methods["specialists"]["gflops_by_subset"]["imu"]
    assert results["available"]["validation"] == {"imu": 2, "skeleton": 2, "depth": 1}
    assert (tmp_path / "out" / "report.html").exists()
    checkpoint = json.loads((tmp_path / "out" / "seed0" / "specialists" / "imu+depth" / "config.json").read_text())
    assert list(checkpoint["specs"]) == ["imu", "depth"]
    arms = {name: load_checkpoint(tmp_path / "out" / "seed0" / name)[0] for name in ("early_fusion", "karmma")}
    assert {name: bool(model.kernels) for name, model in arms.items()} == {"early_fusion": False, "karmma": True}
    assert {name: bool(model.own_heads) for name, model in arms.items()} == {"early_fusion": False, "karmma": True}
    student, _ = load_checkpoint(tmp_path / "out" / "seed0" / "karmma")
    fitted = load_file(tmp_path / "out" / "seed0" / "kernels" / "imu.safetensors")
    assert torch.equal(student.state_dict()["kernels.imu.weight"], fitted["weight"]) and fitted["weight"].any()


def test_only_runs_a_method_and_what_it_builds_on(root: Path, tmp_path: Path) -> None:
    recipe = build(Recipe, tiny_recipe(root), "tiny")
    assert list(recipe.only(["karmma"]).methods) == ["specialists", "karmma"] and recipe.only(["karmma"]).train_teacher
    assert recipe.only(["all"]) == recipe.only([]) == recipe
    early = recipe.only(["early_fusion"])
    assert list(early.methods) == ["early_fusion"] and not early.train_teacher and recipe.only(["teacher"]).train_teacher
    results = run(early, tmp_path / "early")
    assert list(results["methods"]) == ["early_fusion"] and results["unimodal"] == {}
    assert not (tmp_path / "early" / "seed0" / "teacher").exists() and not (tmp_path / "early" / "tokens").exists()
    with pytest.raises(KarmmaError, match="unknown method 'karma'; the recipe has: all, teacher, specialists"):
        recipe.only(["karma"])
    tree = tiny_recipe(root)
    tree["methods"] = {"late": {"late_fusion_of": "nobody"}}
    with pytest.raises(KarmmaError, match=r"methods.late.late_fusion_of: 'nobody' is not a method with specialists above it"):
        build(Recipe, tree, "tiny")
    tree = tiny_recipe(root)
    tree["methods"]["specialists"]["tested"] = False
    with pytest.raises(KarmmaError, match=r"methods.late_fusion.late_fusion_of: 'specialists' is not tested"):
        build(Recipe, tree, "tiny")


@pytest.mark.skipif(not REAL.is_dir(), reason="UTD-MHAD does not lie beside this checkout")
def test_the_real_set_reads_whole(tmp_path: Path) -> None:
    manifest = load_utd_mhad(REAL, UtdMhadConfig(fold=7))
    assert len(manifest.split("train")) == 323 and len(manifest.split("validation")) == 108
    assert manifest.provenance["files"] == {"imu": 431, "skeleton": 431, "depth": 431}
    segments = [manifest.split("validation")[index] for index in (0, 50, 107)]
    store = ClipStore(tmp_path / "clips", segments, make_modalities(SETTINGS))
    store.write(workers=1)
    assert bool(store.available.all()) and not store.failures()
    batch = store.batch(store.usable, None)
    for name, values in batch.data.items():
        assert values.isfinite().all() and float(values.std()) > 0.05, name
    hips = batch.data["skeleton"][:, :, 3]
    assert float(hips.abs().max()) < 1.0


@pytest.mark.skipif(not REAL.is_dir(), reason="UTD-MHAD does not lie beside this checkout")
def test_real_imus_are_in_the_units_of_all_others() -> None:
    files = sorted((REAL / "Inertial").glob("*.mat"))
    measured = [read_matlab_inertial(path).values for path in files]
    assert len(files) == 431 and not any(doubt_units(values) for values in measured)
    assert all("in g" in doubt_units(values / MATLAB_UNITS) for values in measured)


@pytest.mark.skipif(not REAL.is_dir(), reason="UTD-MHAD does not lie beside this checkout")
def test_models_see_of_real_imus_what_they_saw_before_these_had_units() -> None:
    """Multiples of 1 g and 250 degrees/s."""
    imu = make_modalities(load_recipe(RECIPE, ["data.root=x"]).modalities)["imu"]
    assert isinstance(imu, Imu)
    moments = np.array(sample_seconds(0.0, 2.0, 2 * imu.samples))
    for path in sorted((REAL / "Inertial").glob("*.mat"))[::43]:
        stored = imu.read(path, 0.0, 2.0)
        assert stored is not None
        before = imu.cut(torch.from_numpy(read_series(path, "d_iner").at(moments, 0.0, 2.0))[None], None)
        before = before / torch.tensor([1.0] * 3 + [250.0] * 3)
        assert torch.allclose(imu.transform(torch.from_numpy(stored)[None], None), before, atol=2e-6)
