"""Who teaches: frozen recognizers that give soft targets for a batch (paper, step 8), live or from cached tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from ..data.loading import TrainingBatch
from ..data.missing import stack_presence
from ..models.recognizer import Logits, RecognizerModel
from ..types import subsets_of

Answers = Callable[[Tensor, Mapping[str, Tensor]], Logits]  # (rows of a batch, their presence) → soft targets of these rows


class Teacher(Protocol):
    """Soft targets for samples of a batch; runs without gradients and is never trained."""

    def to(self, device: torch.device) -> Teacher: ...

    def answers(self, batch: TrainingBatch, seen: Mapping[str, Tensor]) -> Answers:
        """Whom to ask about this batch, any number of times, of what is `seen` of it and of parts of that."""


def frozen(model: RecognizerModel) -> RecognizerModel:
    return model.eval().requires_grad_(False)


def token_logits(recognizer: RecognizerModel, tokens: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Logits:
    """Logits from cached extractor tokens of a whole batch."""
    features = {
        name: tokens[name][present[name]] for name in recognizer.modalities if name in tokens and present[name].any()
    }
    return recognizer.fuse(features, present)


def answer_from_tokens(
    recognizer: RecognizerModel, tokens: Mapping[str, Tensor], rows: Tensor, present: Mapping[str, Tensor]
) -> Logits:
    """Logits of some rows of a batch whose tokens are there."""
    return token_logits(recognizer, {name: values[rows] for name, values in tokens.items()}, present)


class LiveTeacher:
    """One recognizer that looks at the very clips the student gets: same crop, same instants, same noise."""

    def __init__(self, model: RecognizerModel) -> None:
        self.model = frozen(model)

    def to(self, device: torch.device) -> LiveTeacher:
        self.model.to(device)
        return self

    def answers(self, batch: TrainingBatch, seen: Mapping[str, Tensor]) -> Answers:
        """Extractors, which cost most, run once for all that is asked."""
        tokens = {}
        for name, features in self.model.extract_present(batch.batch.data, self.model.checked(seen)).items():
            tokens[name] = features.new_zeros(len(seen[name]), *features.shape[1:])
            tokens[name][seen[name]] = features
        return partial(answer_from_tokens, self.model, tokens)


class CachedTeacher:
    """One recognizer that reads cached tokens of a random view: cheaper, but its view is another than the student's."""

    def __init__(self, model: RecognizerModel) -> None:
        self.model = frozen(model)

    def to(self, device: torch.device) -> CachedTeacher:
        self.model.to(device)
        return self

    def answers(self, batch: TrainingBatch, seen: Mapping[str, Tensor]) -> Answers:
        return partial(answer_from_tokens, self.model, batch.tokens)


class SpecialistTeacher:
    """A recognizer for every subset of modalities: each sample is taught by the one that knows what is present there.

    With `smaller`, or where there is no such one, the specialists of all parts of that subset teach by their mean logits.
    """

    def __init__(
        self, models: Mapping[tuple[str, ...], RecognizerModel], modalities: Sequence[str], *, smaller: bool = False
    ) -> None:
        self.smaller = smaller
        self.models = {frozenset(subset): frozen(model) for subset, model in models.items()}
        self.modalities = tuple(modalities)

    def to(self, device: torch.device) -> SpecialistTeacher:
        for model in self.models.values():
            model.to(device)
        return self

    def answers(self, batch: TrainingBatch, seen: Mapping[str, Tensor]) -> Answers:
        return partial(self.logits, batch)

    def logits(self, batch: TrainingBatch, of: Tensor, present: Mapping[str, Tensor]) -> Logits:
        """Of the samples `of` of a batch."""
        presence = stack_presence(present, self.modalities)
        result: Logits = {}
        for pattern in presence.unique(dim=0):
            rows = (presence == pattern).all(1).nonzero().flatten()
            names = [name for name, flag in zip(self.modalities, pattern.tolist(), strict=True) if flag]
            part = batch.batch.select(of[rows])
            known = frozenset(names) in self.models
            subsets = [tuple(names)] if known and not self.smaller else subsets_of(names)
            answers = [self.answer(subset, part.data, len(rows)) for subset in subsets if frozenset(subset) in self.models]
            for head in answers[0]:
                values = torch.stack([answer[head].float() for answer in answers]).mean(0)
                result.setdefault(head, values.new_zeros(len(presence), values.shape[1]))[rows] = values
        return result

    def answer(self, subset: Sequence[str], data: Mapping[str, Tensor], count: int) -> Logits:
        """Logits of the specialist of a subset for `count` clips that have it."""
        flags = {name: torch.ones(count, dtype=torch.bool, device=data[name].device) for name in subset}
        return self.models[frozenset(subset)]({name: data[name] for name in subset}, flags)


class EnsembleTeacher:
    """The mean of several teachers' logits."""

    def __init__(self, teachers: Sequence[Teacher]) -> None:
        self.teachers = tuple(teachers)

    def to(self, device: torch.device) -> EnsembleTeacher:
        for teacher in self.teachers:
            teacher.to(device)
        return self

    def answers(self, batch: TrainingBatch, seen: Mapping[str, Tensor]) -> Answers:
        asked = [teacher.answers(batch, seen) for teacher in self.teachers]

        def mean(rows: Tensor, present: Mapping[str, Tensor]) -> Logits:
            logits = [answers(rows, present) for answers in asked]
            return {head: torch.stack([one[head].float() for one in logits]).mean(0) for head in logits[0]}

        return mean
