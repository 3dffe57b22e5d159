"""The main job end to end on a tiny kitchen: stages, resume, results, report, command line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from karmma.cli import main
from karmma.config import DataConfig, DistillationConfig, MethodConfig, Recipe, load_recipe
from karmma.data.loading import EpochLoader, TrainingBatch
from karmma.datasets.kitchen.manifest import load_kitchen
from karmma.evaluation.evaluate import SubsetLogits
from karmma.experiment.run import run
from karmma.experiment.stages import StageBook
from karmma.files import alone_in
from karmma.models.checkpoint import read_info
from karmma.trees import build
from karmma.types import KarmmaError

ENCODERS = {
    "rgb": {"kind": "frames", "width": 8}, "audio": {"kind": "spectrogram", "width": 8}, "imu": {"kind": "sequence", "width": 8},
}  # fmt: skip
RECOGNIZER = {"encoders": ENCODERS, "dim": 16, "ffn_dim": 16, "head_dim": 16, "heads": 2}
TRAINING = {"epochs": 3, "batch_size": 4, "precision": "32-true"}


def tiny_recipe(root: Path) -> dict[str, Any]:
    return {
        "name": "tiny",
        "seeds": [0, 1],
        "data": {"dataset": "kitchen", "root": str(root), "workers": 1},
        "modalities": {"rgb": {"frames": 2, "height": 24, "width": 32}, "audio": {"seconds": 1.0, "bands": 24}, "imu": {}},
        "teacher": {"recognizer": RECOGNIZER, "pretraining": TRAINING, "training": TRAINING, "token_views": 2},
        "student": {"recognizer": RECOGNIZER, "training": TRAINING, "pretraining": TRAINING},
        "methods": {
            "baseline": {"absent": "skip"},
            "baseline_dropout": {"dropout": 0.3},
            "karmma": {"dropout": 0.3, "distillation": {"alpha": 0.5}},
        },
        "evaluation": {"sweep_draws": 2, "examples": 1},
    }


def run_cli(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "karmma.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


Refused = Callable[..., str]


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refused:
    """What the command says of arguments that it ends at with exit code 2; in this process, where all is loaded."""

    def call(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["karmma", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        return capsys.readouterr().err

    return call


@pytest.fixture(scope="module")
def recipe_path(kitchen_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny_recipe(kitchen_root), sort_keys=False))
    return path


@pytest.fixture(scope="module")
def finished(recipe_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, made through the real entry point."""
    out = tmp_path_factory.mktemp("run") / "out"
    done = run_cli("run", recipe_path, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "KARMMA student" in done.stdout and "mean over subsets" in done.stdout
    return out


def test_results_follow_the_documented_schema(finished: Path) -> None:
    results = json.loads((finished / "results.json").read_text())
    assert set(results["methods"]) == {"teacher", "baseline", "baseline_dropout", "karmma"}
    for method in results["methods"].values():
        assert set(method["subsets"]) == {"rgb+audio+imu", "rgb+audio", "rgb+imu", "audio+imu", "rgb", "audio", "imu"}
        assert list(method["sweep"]) == [f"0.{i}" for i in range(10)]
        for row in (*method["subsets"].values(), *method["sweep"].values()):
            assert set(row) == {f"{head}_top{k}" for head in ("verb", "noun", "action") for k in (1, 5)}
            for summary in row.values():
                assert set(summary) == {"mean", "std", "n"} and summary["n"] == 2 and 0 <= summary["mean"] <= 100
        assert method["parameters"] > 0 and method["gflops"] > 0
    assert results["differences"]["against"] == "baseline_dropout"
    assert set(results["differences"]["differences"]) == {"teacher", "baseline", "karmma"}
    assert results["seeds"] == [0, 1] and results["versions"]["torch"] and "git_commit" in results
    assert {"read.train", "pretrain.teacher.rgb", "pretrain.student.imu", "tokens.train", "seed1.karmma"} <= set(
        results["seconds"]
    )
    assert set(results["unimodal"]) == {"rgb", "audio", "imu"}


def test_the_report_is_one_self_contained_page(finished: Path) -> None:
    page = (finished / "report.html").read_text()
    assert "KARMMA student" in page and "data:image/png;base64," in page and "data:image/jpeg;base64," in page
    assert "http://" not in page and "https://" not in page and "<script src" not in page
    assert (finished / "tables" / "subsets.csv").read_text().count("\n") == 1 + 4 * 7 * 6
    assert "What is more than chance" in page and "− Baseline w/ δ" in page
    assert (finished / "plots" / "sweep.png").read_bytes()[:4] == b"\x89PNG"


def test_every_checkpoint_has_a_card_with_its_own_figures(finished: Path) -> None:
    for name in ("teacher", "baseline", "baseline_dropout", "karmma"):
        card = (finished / "seed1" / name / "README.md").read_text()
        head, figures = card.split("---", 2)[1], json.loads((finished / "seed1" / name / "evaluation.json").read_text())
        assert yaml.safe_load(head)["tags"][-3:] == ["rgb", "audio", "imu"]
        for subset, values in figures["subsets"].items():
            cells = " | ".join(f"{value:.1f}" for value in values.values())
            assert f"| {subset.replace('+', ' + ')} | {cells} |" in card
        assert f"({figures['samples']} clips)" in card and "seed 1" in card and f'karmma.load("{name}")' in card
        assert "\n\n\n" not in card and "{" not in card.replace('{"', "").split("## Limits")[1]


def test_checkpoints_know_how_long_training_clips_are(finished: Path, kitchen_root: Path) -> None:
    lengths = [segment.stop_seconds - segment.start_seconds for segment in load_kitchen(kitchen_root).split("train")]
    info = read_info(finished / "seed0" / "karmma")
    assert info.provenance["clip_seconds"] == pytest.approx(np.median(lengths), abs=0.006)


def test_a_finished_run_does_nothing_again(finished: Path, recipe_path: Path) -> None:
    stages = {path: path.stat().st_mtime_ns for path in (finished / "stages").iterdir()}
    again = run(load_recipe(recipe_path), finished)
    assert {path: path.stat().st_mtime_ns for path in (finished / "stages").iterdir()} == stages
    assert again["methods"] == json.loads((finished / "results.json").read_text())["methods"]


def test_other_settings_in_the_same_directory_are_refused(finished: Path, recipe_path: Path) -> None:
    with pytest.raises(KarmmaError, match=r"stage seed0.karmma was run with student.training.lr = 0.001, now 0.5"):
        run(load_recipe(recipe_path, ["student.training.lr=0.5"]), finished)


def comparable(directory: Path) -> dict[str, Any]:
    results = json.loads((directory / "results.json").read_text())
    return {name: value for name, value in results.items() if name not in ("seconds", "git_commit")}


def test_a_run_killed_again_and_again_ends_in_the_same_results(finished: Path, recipe_path: Path, tmp_path: Path) -> None:
    out, kills = tmp_path / "out", 0
    while True:
        command = [sys.executable, "-m", "karmma.cli", "run", str(recipe_path), "--out", str(out)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 5.0 + 1.3 * kills
        while process.poll() is None and time.monotonic() < deadline and kills < 6:
            time.sleep(0.05)
        if process.poll() is None and kills < 6:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        if process.wait() == 0:
            break
    assert kills >= 1
    assert comparable(out) == comparable(finished)


def test_a_run_stopped_between_epochs_resumes_inside_the_stage(
    kitchen_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state of an unfinished stage is used: weights after the resume equal those of an uninterrupted stage."""
    from karmma.training import fit as fit_module

    beforehand = {"dropout": 0.3, "own_weight": 0.5, "distillation": {"alpha": 0.5, "teacher_input": "cached"}}
    tree = {**tiny_recipe(kitchen_root), "seeds": [0], "methods": {"baseline_dropout": {"dropout": 0.3}, "karmma": beforehand}}
    tree["student"] = {**tree["student"], "recognizer": {**RECOGNIZER, "own_votes": True}}
    recipe: Recipe = build(Recipe, {**tree, "trainings_at_once": 1}, "tiny")  # in this process, where it can be stopped
    whole = run(recipe, tmp_path / "whole")
    original, calls = fit_module.ResumeState.on_train_epoch_end, {"count": 0}

    def stop_after_some(self: Any, trainer: Any, module: Any) -> None:
        original(self, trainer, module)
        calls["count"] += 1
        if calls["count"] % 4 == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(fit_module.ResumeState, "on_train_epoch_end", stop_after_some)
    interrupted = 0
    while True:
        try:
            parts = run(recipe, tmp_path / "parts")
            break
        except BaseException as error:
            if not isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            interrupted += 1
    assert interrupted >= 3
    assert parts["methods"] == whole["methods"]


def test_stage_markers_appear_only_after_success(tmp_path: Path) -> None:
    book = StageBook(tmp_path)
    with pytest.raises(ValueError, match="broken"), book.stage("a", {"x": 1}):
        raise ValueError("broken")
    assert not book.is_done("a", {"x": 1})
    book.run("a", {"x": 1}, lambda _: None)
    assert book.is_done("a", {"x": 1}) and "a" in book.seconds()


def test_fields_newer_than_a_marker_are_taken_to_have_had_their_default(tmp_path: Path) -> None:
    method = MethodConfig(0.3, distillation=DistillationConfig(0.7))
    book = StageBook(tmp_path)
    book.run("a", {"method": method, "data": DataConfig()}, lambda _: None)
    marker = json.loads(book.marker("a").read_text())
    assert marker["settings"]["method"]["distillation"]["alpha"] == 0.7
    del marker["settings"]["method"]["distillation"]["alpha_scale"], marker["settings"]["method"]["mixup"]
    book.marker("a").write_text(json.dumps(marker))
    assert book.is_done("a", {"method": method, "data": DataConfig()})
    for changed, key in (
        (replace(method, distillation=DistillationConfig(0.7, alpha_scale="absence")), "distillation.alpha_scale = None"),
        (replace(method, mixup=0.5), "mixup = None"),
        (replace(method, distillation=DistillationConfig()), "distillation.alpha = 0.7"),
        (replace(method, distillation=None), "method.distillation"),
    ):
        with pytest.raises(KarmmaError, match=key):
            book.is_done("a", {"method": changed, "data": DataConfig()})
    book.run("off", {"method": MethodConfig()}, lambda _: None)
    with pytest.raises(KarmmaError, match="distillation"):  # all of it at its defaults, and yet not what was done
        book.is_done("off", {"method": MethodConfig(distillation=DistillationConfig())})


SONAR = [
    "modalities.sonar={{}}",
    *[f"{who}.recognizer.encoders.sonar={{{{kind: frames}}}}" for who in ("teacher", "student")],
]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "{recipe}", "--out", "{tmp}/x", "student.training.epoch=1"], "did you mean student.training.epochs?"),
        (["run", "nowhere.yaml", "--out", "{tmp}/x"], "recipe not found: nowhere.yaml"),
        (["run", "{recipe}", "--out", "{tmp}/x", "data.root={tmp}/none"], "no such directory"),
        (["run", "{recipe}", "--out", "{tmp}/x", "data.dataset=bathroom"], "unknown data set 'bathroom'"),
        (["run", "{recipe}", "--out", "{tmp}/x", *SONAR], "unknown modality 'sonar'"),
        (["run", "{recipe}", "--out", "{tmp}/x", "evaluation.split=dev"], "no split 'dev'"),
        (["run", "demo", "--out", "{tmp}/x", "modalities.rgb.framez=1"], "did you mean frames?"),  # before a kitchen is simulated
        (["run", "demo", "--out", "{tmp}/x", "teacher.recognizer.encoders.rgb.kind=boxes"], "encoders.rgb: an extractor of kind"),
        (["simulate", "{tmp}/k", "cluter=2"], "did you mean clutter?"),
        (["predict", "{tmp}/none", "video.mp4"], "not a checkpoint"),
        (["predict", "{run}/seed0/karmma", "{tmp}/none.mp4"], "none.mp4: no such file"),
        (["predict", "{run}/seed0/karmma", "{video}", "--start", "3", "--stop", "1"], "stop 1.00 s does not lie after start 3.00 s"),
        (["predict", "{run}/seed0/karmma", "{video}", "--only", "sonar"], "unknown modality 'sonar'"),
        (["predict", "{run}/seed0/karmma", "{table}"], "a sensor's file goes by its option: --boxes, "),
        (["evaluate", "{run}/seed0/karmma", "{tmp}"], "no finished simulated kitchen"),
        (["evaluate", "{run}/seed0/karmma", "{tmp}", "--dataset", "utd_mhad"], "{tmp}: no trials"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], words: str, finished: Path, recipe_path: Path, kitchen_root: Path, tmp_path: Path, refused: Refused
) -> None:
    places = {"recipe": recipe_path, "tmp": tmp_path, "run": finished, "video": kitchen_root / "videos/P05/P05_01.MP4"}
    places["table"] = tmp_path / "imu.csv"
    places["table"].write_text("seconds,accel_x\n")
    said = refused(*[argument.format(**places) for argument in arguments])
    assert words.format(**places) in said and said.count("\n") == 1, said


def test_a_misspelt_key_is_told_by_the_command_before_what_trains_is_loaded(recipe_path: Path, tmp_path: Path) -> None:
    done = run_cli("run", recipe_path, "--out", tmp_path / "x", "student.training.epoch=1", env={**os.environ, "PYTHONVERBOSE": "1"})
    assert done.returncode == 2 and "\nkarmma: " in done.stderr
    assert "import 'yaml'" in done.stderr and "import 'torch'" not in done.stderr


def test_a_second_run_in_the_same_directory_is_refused(recipe_path: Path, tmp_path: Path) -> None:
    with alone_in(tmp_path / "out"):
        done = run_cli("run", recipe_path, "--out", tmp_path / "out")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert f"another run is at work here (process {os.getpid()}" in done.stderr


def test_an_empty_split_and_a_backward_row_are_named(
    recipe_path: Path, kitchen_root: Path, tmp_path: Path, refused: Refused
) -> None:
    root = tmp_path / "kitchen"
    shutil.copytree(kitchen_root, root)
    table = root / "annotations" / "KITCHEN_test.csv"
    lines = table.read_text().splitlines()
    table.write_text(lines[0] + "\n")
    assert "split 'test' is empty" in refused("run", recipe_path, "--out", tmp_path / "x", f"data.root={root}")
    cells = lines[1].split(",")
    cells[5] = cells[4]
    table.write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]) + "\n")
    assert "KITCHEN_test.csv: line 2: stop" in refused("run", recipe_path, "--out", tmp_path / "x", f"data.root={root}")


def test_a_checkpoint_of_another_label_set_is_refused(
    finished: Path, kitchen_root: Path, tmp_path: Path, refused: Refused
) -> None:
    root = tmp_path / "kitchen"
    shutil.copytree(kitchen_root, root)
    table = root / "annotations" / "KITCHEN_noun_classes.csv"
    table.write_text(table.read_text().replace("cup\r\n", "mug\r\n", 1).replace("cup\n", "mug\n", 1))
    assert "label set 'noun' has other classes" in refused("evaluate", finished / "seed0/karmma", root)


def test_several_views_are_averaged_and_the_single_one_is_kept(
    finished: Path, recipe_path: Path, kitchen_root: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    for marker in (out / "stages").glob("*.evaluate.json"):
        marker.unlink()
    before = json.loads((out / "results.json").read_text())["methods"]["karmma"]
    after = run(load_recipe(recipe_path, ["evaluation.views=3"]), out)["methods"]["karmma"]
    assert after["single_view"] == {key: before[key] for key in ("subsets", "mean_over_subsets")}
    one = SubsetLogits.load(out / "seed0/karmma/logits-single-view.safetensors")
    three = SubsetLogits.load(out / "seed0/karmma/logits.safetensors")
    assert not torch.equal(one.logits[("rgb",)]["verb"], three.logits[("rgb",)]["verb"])
    assert "looked at 3 times" in (out / "report.html").read_text()
    done = run_cli("evaluate", out / "seed0/karmma", kitchen_root, "--json", tmp_path / "e.json", "--views", 3)
    assert done.returncode == 0, done.stderr
    figures = json.loads((out / "seed0/karmma/evaluation.json").read_text())
    assert json.loads((tmp_path / "e.json").read_text())["subsets"] == figures["subsets"]


def test_a_watched_split_is_measured_while_training_and_shown(
    finished: Path, kitchen_root: Path, tmp_path: Path
) -> None:
    """Teacher and students have a curve of the validation split; what they end in is what they end in unwatched."""
    recipe: Recipe = build(Recipe, {**tiny_recipe(kitchen_root), "watch": {"every_epochs": 2}}, "tiny")
    results = run(recipe, tmp_path / "out")
    before = json.loads((finished / "results.json").read_text())
    for name, method in results["methods"].items():
        assert method["subsets"] == before["methods"][name]["subsets"]
        assert "watched" not in before["methods"][name]
        curve = method["watched"]["action_top1_mean_over_subsets"]
        assert list(curve) == ["2", "3"] and all(entry["n"] == 2 for entry in curve.values())
        assert list(method["watched"]["action_top1"]) == ["2", "3"]
    assert results["available"]["validation"]["rgb"] > 0
    assert (tmp_path / "out/plots/watched.png").exists() and "While they trained" in (tmp_path / "out/report.html").read_text()
    assert "While they trained" not in (finished / "report.html").read_text()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"watch": {"split": "training"}}, "no split|training"),
        ({"watch": {"split": "train"}}, "watch.split: train is learnt from"),
        ({"watch": {"every_epochs": 0}}, "every_epochs"),
        ({"watch": {"every": 3}}, "did you mean watch.every_epochs"),
    ],
)  # fmt: skip
def test_a_watch_that_cannot_be_is_refused(change: dict[str, Any], words: str, kitchen_root: Path, tmp_path: Path) -> None:
    with pytest.raises(KarmmaError, match=words):
        run(build(Recipe, {**tiny_recipe(kitchen_root), **change}, "tiny"), tmp_path / "out")


def test_what_starts_or_teaches_a_student_draws_clips_of_its_own(
    recipe_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: dict[str, set[int]] = {"single": set(), "student": set()}

    class SpyLoader(EpochLoader):
        def make(self, number: int) -> TrainingBatch:
            batch = super().make(number)
            if self.clips:
                drawn["student" if self.names == self.store.names else "single"].add(batch.seed)
            return batch

    monkeypatch.setattr("karmma.experiment.context.EpochLoader", SpyLoader)
    methods = "methods={tutors: {specialists: single, absent: skip}, karmma: {distillation: {teachers: [tutors]}}}"
    run(load_recipe(recipe_path, [methods, "seeds=[0]", "train_teacher=false", "trainings_at_once=1"]), tmp_path / "out")
    assert drawn["single"] and drawn["student"]
    assert drawn["single"].isdisjoint(drawn["student"])


def test_evaluating_a_checkpoint_repeats_the_runs_figures(finished: Path, kitchen_root: Path, tmp_path: Path) -> None:
    done = run_cli("evaluate", finished / "seed0/karmma", kitchen_root, "--json", tmp_path / "e.json")
    assert done.returncode == 0, done.stderr
    run_figures = json.loads((finished / "seed0/karmma/evaluation.json").read_text())
    assert json.loads((tmp_path / "e.json").read_text())["subsets"] == run_figures["subsets"]
