"""What a training step does: golden losses of a tiny run, frozen things stay frozen, the same subset for teacher and student."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from karmma.config import DistillationConfig, TrainingConfig
from karmma.data.loading import TrainingBatch, draw_presence
from karmma.data.missing import Complete, IndependentDropout, Scenario, Subset
from karmma.models.recognizer import Logits, RecognizerModel
from karmma.progress import Progress
from karmma.training import losses
from karmma.training.fit import fit, resolve_precision
from karmma.training.tasks import DistillationTask, SupervisedTask, TeacherTask
from karmma.training.teachers import (
    Answers,
    CachedTeacher,
    EnsembleTeacher,
    LiveTeacher,
    SpecialistTeacher,
    Teacher,
    token_logits,
)
from karmma.types import Batch, KarmmaError, subsets_of

from ..conftest import LABEL_SIZES, SPECS, make_batch, make_recognizer

CONFIG = TrainingConfig(epochs=2, batch_size=4, lr=0.01, warmup_epochs=0.5, precision="32-true")


class FakeLoader:
    """Three fixed batches; tokens are those of a teacher's extractors."""

    def __init__(self, epoch: int, scenario: Scenario | None = None) -> None:
        self.epoch, self.scenario = epoch, scenario or Complete()

    def __len__(self) -> int:
        return 3

    def __iter__(self) -> Any:
        return map(self.make, range(3))

    def make(self, number: int) -> TrainingBatch:
        teacher, batch = make_recognizer(seed=9), make_batch(4, seed=number)
        with torch.no_grad():
            tokens = {name: teacher.encoder(name)(values) for name, values in batch.data.items()}
        seed = 100 * self.epoch + number
        return TrainingBatch(batch, tokens, seed, draw_presence(self.scenario, batch.present, seed))


def make_loader(epoch: int) -> Any:
    return FakeLoader(epoch)


def dropping(scenario: Scenario) -> Any:
    """Loaders whose samples lose modalities."""
    return partial(FakeLoader, scenario=scenario)


def step(task: Any, number: int = 0) -> torch.Tensor:
    """One training step outside a trainer."""
    task.log_dict = lambda *arguments, **options: None
    batch = list(task.make_loader(0))[number]
    loss: torch.Tensor = task.training_step(batch, number)
    return loss


def fitted(task: Any, directory: Path) -> Any:
    with Progress("test") as progress:
        fit(task, directory, progress)
    return task


def test_golden_losses_of_the_three_arms() -> None:
    """Fails when anything in the model, the losses or the samplers changes; then look why before writing new numbers."""
    arms = {
        "baseline": SupervisedTask(make_recognizer(absent="skip", dropout=0.0).train(), CONFIG, make_loader),
        "baseline_dropout": SupervisedTask(make_recognizer(dropout=0.0).train(), CONFIG, dropping(IndependentDropout(0.5))),
        "karmma": DistillationTask(
            make_recognizer(dropout=0.0).train(), CONFIG, dropping(IndependentDropout(0.5)),
            teacher=CachedTeacher(make_recognizer(seed=9)), distillation=DistillationConfig(0.7, 2.0),
        ),
    }  # fmt: skip
    found = {name: float(step(task).detach()) for name, task in arms.items()}
    assert found == pytest.approx(GOLDEN, rel=2e-4)


GOLDEN = {"baseline": 1.764510, "baseline_dropout": 1.826609, "karmma": 0.636845}


def test_golden_tiny_training_run(tmp_path: Path) -> None:
    task = fitted(SupervisedTask(make_recognizer(dropout=0.0), CONFIG, dropping(IndependentDropout(0.3))), tmp_path)
    batch = make_batch(4, seed=0)
    logits = task.recognizer(batch.data, batch.present)
    assert float(logits["verb"].detach().abs().mean()) == pytest.approx(GOLDEN_RUN, rel=5e-3)
    rows = (tmp_path / "history.csv").read_text().splitlines()
    assert "supervised_loss" in rows[0] and "data_wait_share" in rows[0] and list((tmp_path / "tensorboard").iterdir())


GOLDEN_RUN = 0.341766


def test_gradients_are_clipped_in_bf16(tmp_path: Path) -> None:
    config = replace(CONFIG, precision="bf16-mixed", clip_norm=1e-12)
    task = SupervisedTask(make_recognizer(dropout=0.0), config, dropping(IndependentDropout(0.3)))
    fitted(task, tmp_path)
    norms = [parameter.grad.norm() for parameter in task.recognizer.parameters() if parameter.grad is not None]
    assert norms and float(torch.stack(norms).norm()) <= 1.01e-12


def test_teacher_training_moves_fusion_but_not_extractors() -> None:
    teacher = make_recognizer()
    task = TeacherTask(teacher.train(), CONFIG, dropping(IndependentDropout(0.3)), contrastive_weight=0.1)
    assert not any(name.startswith("encoders") for name, _ in task.trainable())
    step(task).backward()
    assert teacher.fusion.cls.grad is not None
    assert all(parameter.grad is None for parameter in teacher.encoders.parameters())


def test_distillation_trains_the_student_only_and_saves_no_teacher() -> None:
    teacher = make_recognizer(seed=9)
    task = DistillationTask(
        make_recognizer().train(),
        CONFIG,
        make_loader,
        teacher=LiveTeacher(teacher),
        distillation=DistillationConfig(),
    )
    task.train()
    assert not teacher.training
    step(task).backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert {id(parameter) for parameter in task.parameters()}.isdisjoint(id(parameter) for parameter in teacher.parameters())
    assert len(task.state_dict()) == len(make_recognizer().state_dict())


class SpyTeacher:
    """Notes the presence it is asked about."""

    def __init__(self) -> None:
        self.seen: list[Mapping[str, torch.Tensor]] = []
        self.inner = CachedTeacher(make_recognizer(9))

    def to(self, device: torch.device) -> SpyTeacher:
        return self

    def answers(self, batch: TrainingBatch, seen: Mapping[str, torch.Tensor]) -> Answers:
        answers = self.inner.answers(batch, seen)

        def noted(rows: torch.Tensor, present: Mapping[str, torch.Tensor]) -> Logits:
            self.seen.append(present)
            return answers(rows, present)

        return noted


@pytest.mark.parametrize("sees", ["same", "all"])
def test_the_teacher_sees_what_the_switch_says(sees: str) -> None:
    spy, distillation = SpyTeacher(), DistillationConfig(teacher_sees=sees)  # type: ignore[arg-type]
    step(DistillationTask(make_recognizer().train(), CONFIG, dropping(Subset(("imu",))), teacher=spy,
                          distillation=distillation))  # fmt: skip
    assert bool(spy.seen[0]["rgb"].any()) is (sees == "all") and bool(spy.seen[0]["imu"].all())


def test_each_modalitys_own_vote_is_taught_by_a_teacher_that_sees_it_alone() -> None:
    """The own losses are what plain tasks would lose on those votes, of whoever has them, in the mean over all samples."""
    spy, distillation = SpyTeacher(), DistillationConfig(0.7, 2.0)
    student = make_recognizer(own_votes=True, dropout=0.0).train()
    task = DistillationTask(student, CONFIG, dropping(Subset(("imu", "audio"))), teacher=spy,
                            distillation=distillation, own_weight=2.0)  # fmt: skip
    logged: dict[str, torch.Tensor] = {}
    task.log_dict = lambda values, **options: logged.update(values)  # type: ignore[method-assign]
    batch = next(iter(task.make_loader(0)))
    task.training_step(batch, 0)
    seen = [sorted(name for name, flags in asked.items() if flags.all()) for asked in spy.seen]
    assert seen == [["audio", "imu"], ["audio"], ["imu"]]
    assert all(flags.any() == flags.all() for asked in spy.seen for flags in asked.values())
    present = {name: flags & (name in ("imu", "audio")) for name, flags in batch.batch.present.items()}
    _, votes = student.answers(batch.batch.data, present, [present])
    expected = [float(losses.cross_entropy(vote, batch.batch.labels).mean().detach()) for vote in votes.values()]
    assert float(logged["own_supervised_loss"].detach()) == pytest.approx(2.0 * 0.3 * sum(expected), rel=1e-5)
    assert float(logged["loss"].detach()) == pytest.approx(sum(float(v.detach()) for k, v in logged.items() if k != "loss"), rel=1e-6)


def drawn_batch(*subsets: tuple[str, ...]) -> TrainingBatch:
    """A batch of whose samples every draw leaves one subset."""
    batch = make_batch(4)
    draws = tuple({name: flags & (name in subset) for name, flags in batch.present.items()} for subset in subsets)
    present = {name: torch.stack([draw[name] for draw in draws]).any(0) for name in batch.present}
    return TrainingBatch(batch, {}, 0, present, draws)


def test_several_draws_are_fused_from_one_pass_and_their_losses_averaged() -> None:
    student = make_recognizer(own_votes=True, dropout=0.0).eval()
    task, both = SupervisedTask(student, CONFIG, make_loader, own_weight=0.5), drawn_batch(("rgb", "imu"), ("imu", "audio"))
    calls = []
    hooks = [student.encoder(name).register_forward_hook(lambda *_, name=name: calls.append(name)) for name in SPECS]
    parts = task.losses(both, *task.flags(both))
    assert sorted(calls) == ["audio", "imu", "rgb"]
    for hook in hooks:
        hook.remove()
    labels = both.batch.labels
    alone = [losses.cross_entropy(student(both.batch.data, draw), labels, 0.0).mean() for draw in both.draws]
    assert float(parts["supervised_loss"].detach()) == pytest.approx(float(torch.stack(alone).sum().detach()) / 2, rel=1e-5)
    _, votes = student.answers(both.batch.data, both.present, [both.present])
    own = [losses.cross_entropy(vote, labels).mean() for vote in votes.values()]
    expected = 0.5 * float(torch.stack(own).sum().detach())
    assert len(own) == 3 and float(parts["own_supervised_loss"].detach()) == pytest.approx(expected, rel=1e-5)


def test_rebuilding_learns_from_what_was_dropped_beside_the_labels(tmp_path: Path) -> None:
    """ActionMAE's error is that of modalities that are there and were dropped; what is answered is what dropout left."""
    student = make_recognizer(absent="rebuilt", dropout=0.0)
    task = SupervisedTask(student, CONFIG, dropping(IndependentDropout(0.5)), rebuild_weight=2.0)
    batch = next(iter(task.make_loader(0)))
    parts = task.losses(batch, *task.flags(batch))
    with torch.no_grad():
        _, _, errors = student.rebuilding_answers(batch.batch.data, batch.batch.present, [batch.present])
        plain = losses.cross_entropy(student(batch.batch.data, batch.present), batch.batch.labels).mean()
    assert set(parts) == {"supervised_loss", "rebuilding_loss"}
    assert float(parts["supervised_loss"].detach()) == pytest.approx(float(plain), rel=1e-5)
    assert float(parts["rebuilding_loss"].detach()) == pytest.approx(2 * float(errors.mean()), rel=1e-5) and errors.mean() > 0.1
    config = replace(CONFIG, epochs=8)
    fitted(SupervisedTask(student, config, dropping(IndependentDropout(0.5)), rebuild_weight=2.0), tmp_path)
    with torch.no_grad():
        _, _, after = student.eval().rebuilding_answers(batch.batch.data, batch.batch.present, [batch.present])
    assert after.mean() < 0.9 * errors.mean()


def test_own_votes_beside_rebuilding_are_of_what_dropout_left() -> None:
    """Extractors then see dropped modalities, too, whose own votes nobody asks for."""
    student = make_recognizer(absent="rebuilt", dropout=0.0, own_votes=True).eval()
    task = SupervisedTask(student, CONFIG, dropping(IndependentDropout(0.5)), rebuild_weight=2.0, own_weight=0.5)
    batch = next(iter(task.make_loader(0)))
    parts = task.losses(batch, *task.flags(batch))
    _, votes = student.answers(batch.batch.data, batch.present, [batch.present])
    expected = torch.zeros(())
    for name, vote in votes.items():
        rows = batch.present[name].nonzero().flatten()
        labels = {head: values[rows] for head, values in batch.batch.labels.items()}
        expected = expected + losses.cross_entropy(vote, labels).mean() * len(rows) / len(batch.batch)
    assert any((~flags).any() for flags in batch.present.values())
    assert float(parts["own_supervised_loss"].detach()) == pytest.approx(0.5 * float(expected.detach()), rel=1e-5)


def test_sharing_learns_from_what_dropout_left_beside_labels_and_own_votes(tmp_path: Path) -> None:
    student = make_recognizer(absent="shared", dropout=0.0, own_votes=True)
    task = SupervisedTask(student, CONFIG, dropping(IndependentDropout(0.5)), share_weight=2.0, own_weight=0.5)
    batch = next(iter(task.make_loader(0)))
    parts = task.losses(batch, *task.flags(batch))
    blind = {name: torch.where(flags.view(-1, *[1] * (batch.batch.data[name].ndim - 1)), batch.batch.data[name], torch.nan)
             for name, flags in batch.present.items()}  # fmt: skip
    with torch.no_grad():
        answers, votes, errors = student.rebuilding_answers(blind, batch.present, [batch.present])
        _, expected = student.answers(batch.batch.data, batch.present, [batch.present])
    plain = losses.cross_entropy(answers[0], batch.batch.labels).mean()
    assert set(parts) == {"supervised_loss", "sharing_loss", "own_supervised_loss"}
    assert float(parts["supervised_loss"].detach()) == pytest.approx(float(plain), rel=1e-5)
    assert float(parts["sharing_loss"].detach()) == pytest.approx(2 * float(errors.mean()), rel=1e-5) and errors.min() > 0
    assert all(torch.equal(vote, expected[name][head]) for name, heads in votes.items() for head, vote in heads.items())
    fitted(SupervisedTask(student, replace(CONFIG, epochs=8), dropping(IndependentDropout(0.5)), share_weight=20.0), tmp_path)
    with torch.no_grad():
        _, _, after = student.rebuilding_answers(blind, batch.present, [batch.present])
    assert after.mean() < 0.7 * errors.mean()


@pytest.mark.parametrize(("sees", "asked"), [("same", [["imu", "rgb"], ["audio", "imu"]]), ("all", [sorted(SPECS)])])
def test_the_teacher_is_asked_about_every_draw(sees: str, asked: list[list[str]]) -> None:
    spy, distillation = SpyTeacher(), DistillationConfig(teacher_sees=sees)  # type: ignore[arg-type]
    task = DistillationTask(make_recognizer(), CONFIG, make_loader, teacher=spy, distillation=distillation)
    tokens = next(iter(make_loader(0))).tokens
    both = replace(drawn_batch(("rgb", "imu"), ("imu", "audio")), tokens=tokens)
    targets = task.targets(both, *task.flags(both))
    assert [sorted(name for name, flags in seen.items() if flags.any()) for seen in spy.seen] == asked
    assert len(targets.fused) == 2 and (targets.fused[0] is targets.fused[1]) == (sees == "all")
    assert float(task.losses(both, *task.flags(both))["distillation_loss"].detach()) > 0


@pytest.mark.parametrize("names", [("rgb", "audio", "imu", "detections"), ("rgb", "imu"), ("audio",)])
def test_alpha_by_absence_believes_the_teacher_where_sensors_are_missing(names: tuple[str, ...]) -> None:
    """Of the fused answer in proportion to what is absent, of a sensor's own vote always in full."""
    logged: dict[str, dict[str, torch.Tensor]] = {"constant": {}, "absence": {}}
    for scale, values in logged.items():
        distillation = DistillationConfig(0.6, 2.0, alpha_scale=scale)  # type: ignore[arg-type]
        task = DistillationTask(make_recognizer(own_votes=True, dropout=0.0).train(), CONFIG, dropping(Subset(names)),
                                teacher=SpyTeacher(), distillation=distillation, own_weight=2.0)  # fmt: skip
        task.log_dict = lambda parts, into=values, **options: into.update(parts)  # type: ignore[method-assign]
        task.training_step(next(iter(task.make_loader(0))), 0)
    share = (len(SPECS) - len(names)) / (len(SPECS) - 1)
    constant, absence = ({key: float(value.detach()) for key, value in values.items()} for values in logged.values())
    assert absence["distillation_loss"] == pytest.approx(share * constant["distillation_loss"], rel=1e-5)
    assert absence["supervised_loss"] == pytest.approx((1 - 0.6 * share) / 0.4 * constant["supervised_loss"], rel=1e-5)
    for key in ("own_distillation_loss", "own_supervised_loss"):
        assert absence[key] == pytest.approx(constant[key], rel=1e-5) and constant[key] > 0


def test_alpha_by_trust_believes_the_teacher_as_much_as_it_believes_the_label() -> None:
    """Of each answer by itself; a teacher that gives the label no probability is not heard, one that is sure in full."""
    distillation = DistillationConfig(0.6, 2.0, alpha_scale="trust")
    task = DistillationTask(make_recognizer(), CONFIG, make_loader, teacher=SpyTeacher(), distillation=distillation)
    labels, sensors = {"verb": torch.tensor([0, 1, 2]), "noun": torch.tensor([1, 0, 0])}, torch.tensor([1, 2, 4])
    sure = {"verb": torch.tensor([[50.0, 0, 0], [50.0, 0, 0], [0, 0, 0]]), "noun": torch.tensor([[0, 50.0], [50.0, 0], [0, 50.0]])}
    torch.testing.assert_close(task.alpha(sure, labels, sensors), torch.tensor([0.6, 0.3, 0.1]))
    logits = {"verb": torch.zeros(3, 3), "noun": torch.zeros(3, 2)}
    wrong = {head: 50.0 * (1 - functional.one_hot(labels[head], values.shape[1])) for head, values in logits.items()}
    parts = task.loss_of(logits, labels, wrong, sensors)
    assert float(parts["distillation_loss"]) < 1e-12
    assert float(parts["supervised_loss"]) == pytest.approx(float(losses.cross_entropy(logits, labels).mean()))


def test_alpha_by_trust_takes_labels_that_are_blends() -> None:
    logits = {"verb": torch.tensor([[2.0, 0.0, 1.0]])}
    expected = 0.7 * torch.softmax(logits["verb"], 1)[0, 0] + 0.3 * torch.softmax(logits["verb"], 1)[0, 2]
    found = losses.label_probability(logits, {"verb": torch.tensor([[0.7, 0.0, 0.3]])})
    torch.testing.assert_close(found, expected[None])


def taught_by(teacher: Teacher, batch: Batch, present: Mapping[str, torch.Tensor]) -> Logits:
    """Soft targets of a whole batch."""
    with torch.no_grad():
        return teacher.answers(TrainingBatch(batch, {}, 0, batch.present), present)(torch.arange(len(batch)), present)


@pytest.mark.parametrize(("absent", "own_votes"), [("tokens", False), ("skip", True), ("zeros", False)])
def test_a_live_teacher_extracts_once_and_answers_for_any_part_of_what_it_saw(absent: Any, own_votes: bool) -> None:
    model, batch = make_recognizer(9, absent=absent, own_votes=own_votes).eval(), make_batch(3)
    asked: list[str] = []
    extract = model.extract
    model.extract = lambda name, clips: asked.append(name) or extract(name, clips)  # type: ignore[assignment, func-returns-value]
    seen = {name: torch.tensor([True, name != "rgb", name == "audio"]) for name in SPECS}
    with torch.no_grad():
        answers = LiveTeacher(model).answers(TrainingBatch(batch, {}, 0, batch.present), seen)
        rows = torch.tensor([1, 2])
        alone = {name: torch.full((2,), name == "audio") for name in SPECS}
        everything, part = answers(torch.arange(3), seen), answers(rows, alone)
        assert sorted(asked) == sorted(SPECS)
        torch.testing.assert_close(everything, model(batch.data, seen))
        torch.testing.assert_close(part, model(batch.select(rows).data, alone))


def test_a_live_teacher_sees_the_students_own_clip() -> None:
    model, batch = make_recognizer(9), make_batch(3)
    taught = taught_by(LiveTeacher(model), batch, batch.present)
    with torch.no_grad():
        torch.testing.assert_close(taught, model(batch.data, batch.present))


def test_every_sample_is_taught_by_the_specialist_of_what_it_has() -> None:
    names = tuple(SPECS)
    models = {subset: make_recognizer(seed) for seed, subset in enumerate(subsets_of(names))}
    batch = make_batch(3)
    present = {name: torch.tensor([True, name == "imu", name in ("rgb", "audio")]) for name in names}
    logits = taught_by(SpecialistTeacher(models, names), batch, present)
    for row, subset in enumerate((names, ("imu",), ("rgb", "audio"))):
        alone = batch.select(torch.tensor([row]))
        expected = models[subset](alone.data, {name: torch.tensor([True]) for name in subset})
        torch.testing.assert_close(logits["verb"][row], expected["verb"][0].detach())


def test_no_specialist_looks_at_a_sample_twice() -> None:
    names = tuple(SPECS)
    models = {subset: make_recognizer(seed) for seed, subset in enumerate(subsets_of(names))}
    looks: list[tuple[tuple[str, ...], list[float]]] = []
    for subset, model in models.items():

        def note(_: Any, given: Any, subset: tuple[str, ...] = subset) -> None:
            looks.append((subset, given[0][subset[0]].flatten(1).sum(1).tolist()))

        model.register_forward_pre_hook(note)
    batch = make_batch(4)
    present = {name: torch.tensor([True, name == "imu", name == "imu", name == "rgb"]) for name in names}
    ask = SpecialistTeacher(models, names).answers(TrainingBatch(batch, {}, 0, batch.present), present)
    with torch.no_grad():
        fused = ask(torch.arange(4), present)
        for name in ("imu", "rgb"):  # what own votes are taught
            rows = present[name].nonzero().flatten()
            alone = ask(rows, {other: torch.full((len(rows),), other == name) for other in names})
            places = [row for row in range(1, 4) if present[name][row]]
            torch.testing.assert_close(alone["verb"][-len(places):], fused["verb"][places])
    seen = [(subset, value) for subset, values in looks for value in values]
    assert len(seen) == len(set(seen)) == 6  # four for the fused answers, and the first sample's imu and rgb alone


def test_a_specialist_of_one_modality_sees_all_who_have_it_at_once() -> None:
    names = tuple(SPECS)
    models: dict[tuple[str, ...], RecognizerModel] = {(name,): make_recognizer(seed) for seed, name in enumerate(names)}
    counts: list[int] = []
    for model in models.values():
        model.register_forward_pre_hook(lambda _, given: counts.append(len(next(iter(given[0].values())))))
    batch = make_batch(4)
    present = {name: torch.tensor([True, name == "imu", name in ("imu", "rgb"), name == "rgb"]) for name in names}
    taught_by(SpecialistTeacher(models, names), batch, present)
    assert sorted(counts) == [1, 1, 3, 3]


def test_specialists_of_the_parts_teach_together() -> None:
    names = tuple(SPECS)
    models = {subset: make_recognizer(seed) for seed, subset in enumerate(subsets_of(names))}
    batch = make_batch(2)
    present = {name: torch.tensor([name in ("rgb", "audio"), name == "audio"]) for name in names}
    logits = taught_by(SpecialistTeacher(models, names, smaller=True), batch, present)
    alone = batch.select(torch.tensor([0]))
    parts = [
        models[subset](alone.data, {name: torch.tensor([True]) for name in subset})["noun"][0]
        for subset in (("rgb", "audio"), ("rgb",), ("audio",))
    ]
    torch.testing.assert_close(logits["noun"][0], torch.stack(parts).mean(0).detach())


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_who_knows_the_label_better_counts_more_among_specialists_that_teach_together(temperature: float) -> None:
    names = tuple(SPECS)
    models: dict[tuple[str, ...], RecognizerModel] = {(name,): make_recognizer(seed) for seed, name in enumerate(names)}
    batch = make_batch(2)
    present = {name: torch.tensor([name in ("rgb", "audio"), name == "audio"]) for name in names}
    logits = taught_by(SpecialistTeacher(models, names, temperature=temperature), batch, present)
    said = {
        name: models[(name,)](batch.select(torch.tensor([row])).data, {name: torch.tensor([True])})
        for name, row in (("rgb", 0), ("audio", 0))
    }
    known = [
        sum(said[name][head][0].softmax(-1)[batch.labels[head][0]].log() for head in LABEL_SIZES) / len(LABEL_SIZES) for name in said
    ]
    weights = (torch.stack([torch.as_tensor(value) for value in known]) / temperature).softmax(0)
    assert abs(float(weights[0]) - 0.5) > 0.01  # else the test says nothing
    expected = sum(weight * said[name]["noun"][0] for weight, name in zip(weights, said, strict=True))
    torch.testing.assert_close(logits["noun"][0], torch.as_tensor(expected).detach())
    alone = models[("audio",)](batch.select(torch.tensor([1])).data, {"audio": torch.tensor([True])})
    torch.testing.assert_close(logits["noun"][1], alone["noun"][0].detach())


def test_averaged_weights_lie_between_the_steps_and_survive_a_resume(tmp_path: Path) -> None:
    def trained(directory: Path, epochs: int, averaging: float) -> torch.Tensor:
        config = TrainingConfig(epochs=epochs, warmup_epochs=0, precision="32-true", averaging=averaging, schedule="linear")
        task = SupervisedTask(make_recognizer(), config, make_loader)
        with Progress("test") as progress:
            fit(task, directory, progress)
        return task.recognizer.heads.hidden.weight.detach().clone()

    last, averaged = trained(tmp_path / "a", 2, 0.0), trained(tmp_path / "b", 2, 0.9)
    start = make_recognizer().heads.hidden.weight.detach()
    assert 0 < (averaged - start).norm() < (last - start).norm()
    assert torch.equal(trained(tmp_path / "b", 2, 0.9), averaged)  # nothing left to do: resumed at the end


def test_a_loss_that_is_no_number_ends_the_training(tmp_path: Path) -> None:
    class Spoiled(FakeLoader):
        def make(self, number: int) -> TrainingBatch:
            batch = super().make(number)
            if number == 1:
                batch.batch.data["imu"][0] = torch.nan
            return batch

    task = SupervisedTask(make_recognizer(), CONFIG, lambda epoch: Spoiled(epoch))
    with pytest.raises(KarmmaError, match=r"test: the loss is nan in step 2 of 6; a lower lr"):
        fitted(task, tmp_path)
    assert not (tmp_path / "state.ckpt").exists()


def test_an_ensemble_teaches_the_mean() -> None:
    one, other, batch = make_recognizer(1), make_recognizer(2), make_batch(2)
    both = taught_by(EnsembleTeacher([LiveTeacher(one), LiveTeacher(other)]), batch, batch.present)["noun"]
    parts = [taught_by(LiveTeacher(model), batch, batch.present)["noun"] for model in (one, other)]
    torch.testing.assert_close(both, (parts[0] + parts[1]) / 2)


def test_token_logits_equal_a_full_forward_pass() -> None:
    model, batch = make_recognizer(), make_batch(3)
    present = {**batch.present, "rgb": torch.tensor([True, False, True])}
    with torch.no_grad():
        tokens = {name: model.encoder(name)(values) for name, values in batch.data.items()}
        torch.testing.assert_close(token_logits(model, tokens, present), model(batch.data, present))


def test_samples_without_any_known_modality_are_left_out() -> None:
    task = SupervisedTask(make_recognizer(), CONFIG, make_loader)
    full = next(iter(make_loader(0)))
    full.present.update({name: torch.tensor([True, False, True, False]) for name in full.present})
    kept = task.with_some_modality(full)
    assert len(kept.batch) == 2 and kept.tokens["imu"].shape[0] == 2 and kept.present["imu"].tolist() == [True, True]


def test_learning_rate_warms_up_and_decays_to_zero() -> None:
    config = TrainingConfig(epochs=10, warmup_epochs=1, lr=1.0)
    task = SupervisedTask(make_recognizer(), config, make_loader)
    factor = task.configure_optimizers()["lr_scheduler"]["scheduler"].lr_lambdas[0]
    values = [factor(number) for number in range(31)]
    assert values[0] == pytest.approx(1 / 3) and max(values) == pytest.approx(1.0, abs=0.01)
    assert values[-1] == pytest.approx(0.0, abs=1e-9) and values[3:] == sorted(values[3:], reverse=True)


def test_precision_follows_the_hardware_only_when_asked() -> None:
    assert resolve_precision("32-true") == "32-true"
    assert resolve_precision("auto") in ("32-true", "bf16-mixed")
