"""Sensors and data sets of other packages: installed beside karmma, used like its own."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import karmma
from karmma.cli import app
from karmma.config import Recipe
from karmma.data.manifest import Manifest
from karmma.datasets import DATASETS, DataSet, find_data_set
from karmma.deploy.recordings import files_by_modality
from karmma.deploy.sensors import Lines, TableFile, parse_source
from karmma.deploy.session import StreamConfig, live_columns
from karmma.experiment.run import run
from karmma.modalities import find_modality, make_modalities
from karmma.trees import build
from karmma.types import KarmmaError, LabelSpace, subset_name

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "gaze"
BROUGHT = DataSet(lambda root, settings: Manifest("brought", LabelSpace({"action": ("look",)}), {}), lambda tree, where: dict(tree))
TRAINING = {"epochs": 6, "batch_size": 8, "precision": "32-true", "lr": 0.01}
RECOGNIZER = {
    "encoders": {"gaze": {"kind": "motion", "width": 16}, "slow_features": {"kind": "features", "width": 16}}, "dim": 16, "heads": 2,
    "ffn_dim": 16, "head_dim": 16, "own_votes": True,
}  # fmt: skip
RECIPE = {
    "name": "looking", "data": {"dataset": "folder", "workers": 1}, "modalities": {"gaze": {}, "slow_features": {"width": 4}},
    "teacher": {"recognizer": {**RECOGNIZER, "own_votes": False}, "training": TRAINING},
    "student": {"recognizer": {**RECOGNIZER, "kernels": {"count": 60, "passes": 1}}, "training": TRAINING},
    "methods": {"own_votes": {"subsets": "uniform", "own_weight": 0.6}},
    "evaluation": {"sweep_draws": 1, "examples": 0},
}  # fmt: skip


def install(directory: Path, name: str, groups: dict[str, dict[str, str]]) -> None:
    """What pip would leave beside an installed package."""
    information = directory / f"{name}-0.1.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
    sections = [[f"[{group}]", *(f"{key} = {value}" for key, value in points.items())] for group, points in groups.items()]
    (information / "entry_points.txt").write_text("\n".join("\n".join(lines) for lines in sections))


@pytest.fixture
def gaze(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    install(tmp_path / "site", project["name"], project["entry-points"])
    monkeypatch.syspath_prepend(EXAMPLE)
    monkeypatch.syspath_prepend(tmp_path / "site")


def write_gaze(path: Path, action: str, random: np.random.Generator) -> None:
    """Three seconds of somebody who looks left and right, or up and down, and blinks."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["seconds", "x", "y"])
        for index in range(90):
            swing, still = 0.5 + 0.3 * np.sin(index / 4), 0.5 + random.normal(0, 0.02)
            place = (swing, still) if action == "read" else (still, swing)
            writer.writerow([index / 30, *(("", "") if index % 40 == 7 else (f"{value:.4f}" for value in place))])


@pytest.fixture
def looking(tmp_path: Path) -> Path:
    """Clips of which some lack the gaze and none has a video."""
    root, random, lines = tmp_path / "looking", np.random.default_rng(0), ["split,action,gaze_path,slow_features_path"]
    root.mkdir()
    for number in range(48):
        action, features = ("read", "climb")[number % 2], f"{number}.npy"
        np.save(root / features, random.normal(0, 1, (6, 4)).astype(np.float32))
        cell = "" if number % 5 == 4 else f"{number}.csv"
        if cell:
            write_gaze(root / cell, action, random)
        lines.append(f"{'test' if number >= 32 else 'train'},{action},{cell},{features}")
    (root / "clips.csv").write_text("\n".join(lines))
    return root


@pytest.mark.usefixtures("gaze")
def test_a_sensor_of_another_package_is_trained_tested_and_asked(looking: Path, tmp_path: Path) -> None:
    recipe: Recipe = build(Recipe, {**RECIPE, "data": {**RECIPE["data"], "root": str(looking)}}, "looking")  # type: ignore[dict-item]
    results = run(recipe.only(["own_votes"]), tmp_path / "run")
    assert results["methods"]["own_votes"]["subsets"]["gaze"]["action_top1"]["mean"] > 90
    checkpoint = tmp_path / "run/seed0/own_votes"
    student = karmma.load(checkpoint)
    assert subset_name(student.modalities) == "gaze+slow_features"
    prediction = student.predict({"gaze": looking / "32.csv"})
    assert prediction.modalities == ("gaze",) and prediction.top("action").name == "read"
    sensors = [TableFile(looking / "36.csv", "gaze", others=live_columns(student)["gaze"])]
    events = list(student.stream(sensors, StreamConfig(hop_seconds=1.0, late_windows=9), speed=4.0, duration_seconds=3.0))
    assert [event.prediction.top("action").name for event in events if event.prediction] == ["read"] * 3
    assert events[-1].health["gaze"] == "present"
    files = [f"--file=gaze={looking / '33.csv'}", f"--file=slow_features={looking / '33.npy'}"]
    shown = CliRunner().invoke(app, ["predict", str(checkpoint), *files, "--start", "0", "--stop", "3"])
    assert shown.exit_code == 0 and "from gaze + slow_features" in shown.output and "climb" in shown.output, shown.output


@pytest.mark.usefixtures("gaze")
def test_closed_eyes_are_marked_and_a_mirrored_look_goes_the_other_way(tmp_path: Path) -> None:
    write_gaze(tmp_path / "gaze.csv", "read", np.random.default_rng(0))
    modality = make_modalities({"gaze": {"samples": 90, "shift": 0.0}})["gaze"]
    stored = modality.read(tmp_path / "gaze.csv", 0.0, 3.0)
    assert stored is not None and stored.shape == modality.stored_zeros().shape and (stored[:, 2] == 0).sum() in (2, 3)
    assert modality.read(tmp_path / "gaze.csv", 8.0, 9.0) is None and modality.read(tmp_path / "none.csv", 0.0, 1.0) is None
    (tmp_path / "closed.csv").write_text("seconds,x,y\n0.0,,\n0.5,,\n")
    assert modality.read(tmp_path / "closed.csv", 0.0, 1.0) is None


def test_who_runs_an_exported_student_needs_no_torch_for_it() -> None:
    program = f"import sys; sys.path.insert(0, {str(EXAMPLE)!r}); import karmma_gaze; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_what_other_packages_bring_must_be_what_it_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sensors = {"missing": "nowhere_at_all:Gaze", "function": "tests.test_plugins:install"}
    sensors |= dict.fromkeys(("imu", "sock_imu"), "nowhere_at_all:Imu")
    data_sets = {"brought": "tests.test_plugins:BROUGHT", "odd": "tests.test_plugins:EXAMPLE"}
    install(tmp_path / "one", "one", {"karmma.modalities": {**sensors, "both": "a:A"}, "karmma.datasets": data_sets})
    install(tmp_path / "two", "two", {"karmma.modalities": {"both": "b:B"}})
    for place in ("one", "two"):
        monkeypatch.syspath_prepend(tmp_path / place)
    with pytest.raises(KarmmaError, match="missing: nowhere_at_all:Gaze of one cannot be imported"):
        find_modality("missing")
    with pytest.raises(KarmmaError, match="modalities: function of another package must be a dataclass with spec, read"):
        find_modality("function")
    with pytest.raises(KarmmaError, match="both: more than one package declares it in karmma.modalities: two, one"):
        find_modality("both")
    with pytest.raises(KarmmaError, match="unknown modality 'missng'; did you mean missing?"):
        find_modality("missng")
    assert find_modality("imu").__name__ == "Imu"  # nobody takes the name of one of ours
    assert find_modality("glove_imu").__name__ == "Imu"
    with pytest.raises(KarmmaError, match="modalities: 'sock_imu' means another imu; the package that declares it must"):
        find_modality("sock_imu")
    assert find_data_set("brought") is BROUGHT
    assert BROUGHT.load(tmp_path, {}).labels.heads == ("action",)
    with pytest.raises(KarmmaError, match=r"odd of another package must be a karmma.datasets.DataSet, not \w*Path"):
        find_data_set("odd")
    with pytest.raises(KarmmaError, match="unknown data set 'nothing'; known: .*, brought, odd"):
        find_data_set("nothing")
    assert "brought" not in DATASETS


@pytest.mark.usefixtures("gaze")
def test_env_tries_what_other_packages_bring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "plugins      gaze\n" in CliRunner().invoke(app, ["env"]).output
    install(tmp_path / "one", "one", {"karmma.datasets": {"missing": "nowhere_at_all:SET"}})
    monkeypatch.syspath_prepend(tmp_path / "one")
    shown = CliRunner().invoke(app, ["env"])
    assert shown.exit_code == 3 and "missing: missing: nowhere_at_all:SET of one cannot be imported" in shown.output


def test_lines_of_another_packages_sensor_may_have_empty_cells(capsys: pytest.CaptureFixture[str]) -> None:
    (sensor,) = parse_source("gaze=tcp:9000", 16000, others={"gaze": ("x", "y")})
    assert isinstance(sensor, Lines)
    rows = dict(sensor.parsed(io.StringIO("seconds,x,y\n0.1,0.5,0.25\n0.2,,\n0.3,0.5\n")))
    assert rows[0.1] == (0.5, 0.25) and np.isnan(rows[0.2]).all() and 0.3 not in rows
    assert "gaze: line 4 is not seconds,x,y" in capsys.readouterr().err
    with pytest.raises(KarmmaError, match="gaze=tcp:9000: no such file; other sources are"):
        parse_source("gaze=tcp:9000", 16000)


def test_files_go_by_the_names_of_modalities() -> None:
    assert files_by_modality(["imu=a.csv", "slow_features=b=c.npy"]) == {"imu": Path("a.csv"), "slow_features": Path("b=c.npy")}
    for text, words in (("gaze", "'gaze' is not of the form NAME=PATH"), ("sonar=x.csv", "--file: unknown modality 'sonar'")):
        with pytest.raises(KarmmaError, match=words):
            files_by_modality([text])
