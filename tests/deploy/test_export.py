"""Exported students give the student's answers, need no torch, and run nobody's code."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import karmma
from karmma.deploy.export import export_student
from karmma.deploy.recognition import Window
from karmma.deploy.runtime import ExportedRecognizer, load_any
from karmma.modalities import MODALITIES, make_modalities
from karmma.types import KarmmaError, subsets_of

from ..test_without_torch import run_without_torch
from .conftest import ENGINES, SETTINGS, inputs_for, save_student

TWO = {name: SETTINGS[name] for name in ("rgb", "audio")}


@pytest.fixture(scope="module")
def two_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_student(tmp_path_factory.mktemp("two"), TWO)


@pytest.fixture(scope="module")
def exported(two_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "student"
    measured = export_student(two_path, out, calibration=inputs_for(karmma.load(two_path), 6))
    assert set(measured) == {"fp32", "int8"} and set(measured["fp32"]["subsets"]) == {"rgb+audio", "rgb", "audio"}
    assert all(row["max_abs_logit_difference"] < 1e-4 for row in measured["fp32"]["subsets"].values())
    return out


@pytest.mark.parametrize("engine", ENGINES)
def test_every_subset_in_one_batch_gets_torchs_logits(two_path: Path, exported: Path, engine: str) -> None:
    torch_student, runtime = karmma.load(two_path), ExportedRecognizer.load(exported, engine=engine)
    subsets = [*subsets_of(("rgb", "audio")), ("rgb",), ("rgb", "audio")]
    inputs = inputs_for(torch_student, len(subsets))
    present = {name: np.array([name in subset for subset in subsets]) for name in torch_student.modalities}
    expected, found = torch_student.run(inputs, present), runtime.run(inputs, present)
    for head, values in expected.items():
        np.testing.assert_allclose(found[head], values, atol=1e-4)
    whole = runtime.graph("model", [*(values[:1] for values in inputs.values()), np.ones((1, 2), np.float32)])
    for name, values in inputs.items():
        values[~present[name]] = np.nan  # nobody looks at what is absent
    found_whole = whole([*inputs.values(), np.stack(list(present.values()), 1).astype(np.float32)])
    for values, again in zip(expected.values(), found_whole, strict=True):
        np.testing.assert_allclose(again, values, atol=1e-4)
    runtime.info = ExportedRecognizer.load(exported).info
    object.__setattr__(runtime.info, "graphs", ("model",))
    for head, values in runtime.run(inputs, present).items():
        np.testing.assert_allclose(values, expected[head], atol=1e-4)


@pytest.mark.parametrize("engine", ENGINES)
def test_extractors_and_fusion_apart_give_the_same_logits(two_path: Path, exported: Path, engine: str) -> None:
    student, runtime = karmma.load(two_path), ExportedRecognizer.load(exported, engine=engine)
    subsets = subsets_of(("rgb", "audio"))
    inputs = inputs_for(student, len(subsets))
    present = {name: np.array([name in subset for subset in subsets]) for name in student.modalities}
    expected = student.run(inputs, present)
    for recognition in (student, runtime):
        tokens = {name: recognition.encode(name, values) for name, values in inputs.items()}
        for name, values in tokens.items():
            values[~present[name]] = np.nan
        found = recognition.fuse({name: np.nan_to_num(values, nan=7.0) for name, values in tokens.items()}, present)
        for head, values in expected.items():
            np.testing.assert_allclose(found[head], values, atol=1e-4)
    window = Window({name: values[0] for name, values in inputs.items()})
    for recognition in (student, runtime):
        for subset, prediction in zip(subsets, recognition.predict_subsets(window, subsets), strict=True):
            alone = recognition.predict_windows([window], subset)[0]
            assert prediction.modalities == alone.modalities == subset
            for head, ranked in alone.ranked.items():
                assert [entry.name for entry in prediction.ranked[head]] == [entry.name for entry in ranked]


def test_subsets_are_named_as_the_student_orders_them_by_however_many_processes(two_path: Path, tmp_path: Path) -> None:
    subsets, steps = [("audio", "rgb"), ("audio",)], list[tuple[int, int, str]]()
    measured = export_student(two_path, tmp_path / "some", subsets=subsets, workers=2, on_done=lambda *step: steps.append(step))
    assert set(measured["fp32"]["subsets"]) == {"rgb+audio", "audio"}
    assert [done for done, _, _ in steps] == list(range(1, steps[0][1] + 1))
    assert not (tmp_path / "some" / "fp32" / "rgb.onnx").exists()
    refused = {("rgb", "sonar"): r"'sonar' of subset 'rgb\+sonar': this student has rgb, audio", (): "'': this student has rgb, audio"}
    for subset, words in refused.items():
        with pytest.raises(KarmmaError, match=words):
            export_student(two_path, tmp_path / "none", subsets=[subset])


def test_int8_is_smaller_and_close(two_path: Path, exported: Path) -> None:
    runtime, student = ExportedRecognizer.load(exported, precision="int8"), karmma.load(two_path)
    inputs = inputs_for(student, 6)
    present = {name: np.ones(6, bool) for name in student.modalities}
    expected, found = student.run(inputs, present)["verb"], runtime.run(inputs, present)["verb"]
    assert np.abs(found - expected).max() < 0.25 * np.ptp(expected) and not np.array_equal(found, expected)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_file_is_recognised_without_torch(two_path: Path, exported: Path, clock_video: Path, engine: str) -> None:
    program = """
import json
from karmma.deploy.runtime import ExportedRecognizer
from karmma.deploy.answers import prediction_row
student = ExportedRecognizer.load(sys.argv[1], engine=sys.argv[3])
print(json.dumps([prediction_row(p, 5) for p in student.predict_file(sys.argv[2])]))
"""
    found = json.loads(run_without_torch(program, exported, clock_video, engine))
    from karmma.deploy.answers import prediction_row

    expected = [prediction_row(p, 5) for p in karmma.load(two_path).predict_file(clock_video)]
    assert [row["modalities"] for row in found] == [row["modalities"] for row in expected]
    for one, other in zip(found, expected, strict=True):
        assert list(one["action"]) == list(other["action"])
        assert np.allclose(list(one["action"].values()), list(other["action"].values()), atol=2e-3)


def test_the_command_line_runs_an_exported_student_without_torch(exported: Path, clock_video: Path) -> None:
    program = """
from typer.testing import CliRunner
from karmma.cli import app
for arguments in (["predict", sys.argv[1], sys.argv[2], "--json"],
                  ["stream", sys.argv[1], sys.argv[2], "--speed", "2", "--no-monitor"]):
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, (done.output, done.exception)
    print(done.stdout.splitlines()[0][:60])
print("torch" in sys.modules)
"""
    lines = run_without_torch(program, exported, clock_video).splitlines()
    assert lines[-1] == "False" and '"start_seconds"' in lines[0]


def test_the_faster_engine_keeps_a_graph(exported: Path) -> None:
    student = ExportedRecognizer.load(exported)
    assert student.engines == ENGINES
    student.predict(dict.fromkeys(("rgb",), np.zeros(student.specs["rgb"].input_shape)))
    assert set(student.chosen) == {"rgb"} and student.chosen["rgb"] in ENGINES
    assert ExportedRecognizer.load(exported, precision="bf16").engines == ("openvino",)
    with pytest.raises(KarmmaError, match="ONNX Runtime has no bf16"):
        slow = ExportedRecognizer.load(exported, engine="onnxruntime", precision="bf16")
        slow.predict({"rgb": np.zeros(student.specs["rgb"].input_shape)})


def test_a_signal_after_engines_have_gone_ends_nothing(exported: Path) -> None:
    program = """
import faulthandler, signal, subprocess
from karmma.deploy.engines import load_graph
faulthandler.enable()
heard = []
signal.signal(signal.SIGCHLD, lambda *_: heard.append(1))
graphs = [load_graph(Path(sys.argv[1]) / "fp32" / f"{name}.onnx", "openvino", 1, "fp32") for name in ("rgb", "audio", "model")]
while graphs:
    graphs.pop(0)
subprocess.run(["true"])
print(bool(heard))
"""
    assert run_without_torch("from pathlib import Path" + program, exported).strip() == "True"


def test_graphs_share_their_weights_and_absent_modalities_are_not_in_them(exported: Path) -> None:
    import onnx

    graphs = {path.stem: onnx.load(str(path), load_external_data=False) for path in (exported / "fp32").glob("*.onnx")}
    assert set(graphs) == {"model", "rgb+audio", "rgb", "audio", "encoder-rgb", "encoder-audio", "fusion"}
    assert [entry.name for entry in graphs["rgb"].graph.input] == ["rgb"]
    assert [entry.name for entry in graphs["model"].graph.input] == ["rgb", "audio", "presence"]
    external = [tensor for graph in graphs.values() for tensor in graph.graph.initializer if tensor.external_data]
    places = {tuple(entry.value for entry in tensor.external_data) for tensor in external}
    assert len(places) < len(external)
    convolutions = {name: sum(node.op_type == "Conv" for node in graph.graph.node) for name, graph in graphs.items()}
    assert convolutions["rgb"] + convolutions["audio"] == convolutions["rgb+audio"]


def test_the_stored_form_has_the_shape_it_says(kitchen_root: Path) -> None:
    for name, settings in (("rgb", {}), ("flow", {}), ("audio", {"seconds": 1.3}), ("imu", {}), ("detections", {})):
        modality = make_modalities({name: settings})[name]
        folder = {"imu": "imu/P02/P02_01.csv", "detections": "boxes/P02/P02_01.csv"}.get(name, "videos/P02/P02_01.MP4")
        stored = modality.read(kitchen_root / folder, 3.0, 5.0)
        assert stored is not None
        assert (stored.shape, stored.dtype) == (modality.stored_zeros().shape, modality.stored_zeros().dtype), name
    assert all(hasattr(kind, "stored_zeros") for kind in MODALITIES.values())


def test_what_cannot_be_loaded_is_one_clear_line(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(KarmmaError, match="unknown engine 'abacus'; known: auto, openvino, onnxruntime"):
        ExportedRecognizer.load(exported, engine="abacus")
    with pytest.raises(KarmmaError, match="no precision 'fp4'"):
        ExportedRecognizer.load(exported, precision="fp4")
    with pytest.raises(KarmmaError, match="no config.json"):
        ExportedRecognizer.load(tmp_path)
    for engine in ENGINES:
        broken = tmp_path / engine
        shutil.copytree(exported, broken)
        (broken / "fp32" / "rgb.onnx").write_bytes((broken / "fp32" / "rgb.onnx").read_bytes()[:1000])
        student = ExportedRecognizer.load(broken, engine=engine)
        with pytest.raises(KarmmaError, match=r"rgb\.onnx: .* cannot load it"):
            student.predict({"rgb": np.zeros(student.specs["rgb"].input_shape)})
    (tmp_path / "config.json").write_text(json.dumps({"format": "karmma-export", "version": 2}))
    with pytest.raises(KarmmaError, match="not a complete karmma-export"):
        load_any(tmp_path)


class Bomb:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mknod, (str(self.path),)


def test_nothing_in_a_strangers_directory_is_executed(two_path: Path, exported: Path, tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    bomb = pickle.dumps(Bomb(trace))
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(two_path, checkpoint)
    (checkpoint / "model.safetensors").write_bytes(bomb)
    with pytest.raises(KarmmaError):
        load_any(checkpoint)
    for place in ("config.json", "fp32/rgb.onnx", "prepare/rgb.onnx"):
        for engine in ENGINES:
            copy = tmp_path / f"{engine}-{place.replace('/', '-')}"
            shutil.copytree(exported, copy)
            (copy / place).write_bytes(bomb)
            with pytest.raises(KarmmaError):
                student = ExportedRecognizer.load(copy, engine=engine)
                student.prepare("rgb", student.modalities_by_name["rgb"].stored_zeros())
                student.predict({"rgb": np.zeros(student.specs["rgb"].input_shape)})
    assert not trace.exists()
    pickle.loads(bomb)
    assert trace.exists()  # the bomb does work


def test_no_source_file_loads_pickles() -> None:
    source = Path(karmma.__file__).parent
    for path in source.rglob("*.py"):
        text = path.read_text()
        for forbidden in ("pickle.load", "joblib", "allow_pickle=True", "dill", "cloudpickle", "trust_remote_code=True"):
            assert forbidden not in text, f"{path}: {forbidden}"
        for call in text.split("torch.load(")[1:]:
            assert "weights_only=True" in call[:200], path
