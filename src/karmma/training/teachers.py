"""Who teaches: frozen recognizers that give soft targets for a batch (paper, step 8), live or from cached tokens."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..data.loading import TrainingBatch
from ..data.missing import stack_presence
from ..data.tokens import TokenStore
from ..models.recognizer import Logits, RecognizerModel
from ..types import Batch, subsets_of
from .losses import cross_entropy

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
    """One recognizer whose extractors have looked at the very clips that the student gets beforehand: their tokens are cached.

    Of one modality alone, of which own votes ask in every step, it says the same whenever it is asked about a look; given the
    cache itself (`tokens`) it works that out once.
    """

    def __init__(self, model: RecognizerModel, tokens: TokenStore | None = None) -> None:
        self.model = frozen(model)
        self.alone = {name: AnswersAlone(self.model, name, tokens) for name in model.modalities} if tokens else {}

    def to(self, device: torch.device) -> CachedTeacher:
        self.model.to(device)
        return self

    def answers(self, batch: TrainingBatch, seen: Mapping[str, Tensor]) -> Answers:
        return partial(self.logits, batch)

    def logits(self, batch: TrainingBatch, rows: Tensor, present: Mapping[str, Tensor]) -> Logits:
        """Of some rows of a batch."""
        names = [name for name, flags in present.items() if flags.any()]
        if len(names) == 1 and names[0] in self.alone:
            return self.alone[names[0]].of(batch.looks[rows.to(batch.looks.device)])
        return answer_from_tokens(self.model, batch.tokens, rows, present)


class AnswersAlone:
    """What a frozen recognizer says of one modality's cached looks, remembered.

    Worked out for a block of consecutive segments together, always the same ones, so that no answer depends on who asked before:
    a resumed training gets the same to the last bit.
    """

    BLOCK = 32

    def __init__(self, model: RecognizerModel, name: str, tokens: TokenStore) -> None:
        self.model, self.name, self.tokens = model, name, tokens
        self.known: dict[tuple[int, int], Tensor] = {}  # by block and view: `(segments, classes)`, all label sets in a row

    def of(self, looks: Tensor) -> Logits:
        """Logits of looks `(count, 2)`: segment and view."""
        answers = [self.block(segment // self.BLOCK, view)[segment % self.BLOCK] for segment, view in looks.tolist()]
        return self.model.by_head(torch.stack(answers))

    def block(self, number: int, view: int) -> Tensor:
        if (number, view) not in self.known:
            segments = np.arange(number * self.BLOCK, min((number + 1) * self.BLOCK, len(self.tokens.present)))
            device = next(self.model.parameters()).device
            values = self.tokens.gather(self.name, np.full(len(segments), view), segments).to(device)
            flags = torch.ones(len(segments), dtype=torch.bool, device=device)
            present = {name: flags if name == self.name else ~flags for name in self.model.modalities}
            logits = self.model.fuse({self.name: values}, present)
            self.known[number, view] = torch.cat([logits[head] for head in self.model.label_sizes], 1)
        return self.known[number, view]


class SpecialistTeacher:
    """A recognizer for every subset of modalities: each sample is taught by the one that knows what is present there.

    With `smaller`, or where there is no such one, the specialists of all parts of that subset teach by their mean logits; with
    a `temperature` each counts the more the better it knows the sample's label: weights softmax(−cross-entropy / temperature).
    """

    def __init__(
        self, models: Mapping[tuple[str, ...], RecognizerModel], modalities: Sequence[str], *, smaller: bool = False,
        temperature: float | None = None,
    ) -> None:  # fmt: skip
        self.smaller, self.temperature = smaller, temperature
        self.models = {frozenset(subset): frozen(model) for subset, model in models.items()}
        self.modalities = tuple(modalities)

    def to(self, device: torch.device) -> SpecialistTeacher:
        for model in self.models.values():
            model.to(device)
        return self

    def answers(self, batch: TrainingBatch, seen: Mapping[str, Tensor]) -> Answers:
        """No specialist looks at a sample twice."""
        asked = {subset: AskedSpecialist(model, subset, batch.batch) for subset, model in self.models.items()}
        return partial(self.logits, asked, batch.batch.labels)

    def logits(
        self, asked: Mapping[frozenset[str], AskedSpecialist], labels: Logits, rows: Tensor, present: Mapping[str, Tensor]
    ) -> Logits:
        """Of some rows of a batch, each by those who know what is present there."""
        presence = stack_presence(present, self.modalities)
        groups = [self.group(presence, pattern) for pattern in presence.unique(dim=0)]
        for subset, specialist in asked.items():  # all that it will be asked of, at once
            specialist.look_at(torch.cat([rows[:0], *(rows[places] for places, subsets in groups if subset in subsets)]))
        result: Logits = {}
        for places, subsets in groups:
            answers = [asked[subset].logits(rows[places]) for subset in subsets]
            weights = self.weights(answers, {head: values[rows[places]] for head, values in labels.items()})
            for head in answers[0]:
                values = torch.stack([answer[head] for answer in answers])
                values = values.mean(0) if weights is None else (weights[:, :, None] * values).sum(0)
                result.setdefault(head, values.new_zeros(len(presence), values.shape[1]))[places] = values
        return result

    def weights(self, answers: Sequence[Logits], labels: Logits) -> Tensor | None:
        """Of each specialist for each sample `(specialists, samples)`; None where all count alike."""
        if self.temperature is None or len(answers) == 1:
            return None
        return (-torch.stack([cross_entropy(answer, labels) for answer in answers]) / self.temperature).softmax(0)

    def group(self, presence: Tensor, pattern: Tensor) -> tuple[Tensor, list[frozenset[str]]]:
        """Which samples have just these modalities `(modalities,)`, and which subsets' specialists teach them."""
        names = [name for name, flag in zip(self.modalities, pattern.tolist(), strict=True) if flag]
        return (presence == pattern).all(1).nonzero().flatten(), self.who_knows(names)

    def who_knows(self, names: Sequence[str]) -> list[frozenset[str]]:
        """Subsets whose specialists teach samples that have these modalities."""
        if frozenset(names) in self.models and not self.smaller:
            return [frozenset(names)]
        return [frozenset(subset) for subset in subsets_of(names) if frozenset(subset) in self.models]


class AskedSpecialist:
    """A specialist before one batch, that remembers what it has said of whom."""

    def __init__(self, model: RecognizerModel, subset: Collection[str], batch: Batch) -> None:
        self.model, self.subset, self.batch = model, subset, batch
        self.known = [False] * len(batch)
        self.said: Logits = {}

    def logits(self, rows: Tensor) -> Logits:
        """Logits `(rows, classes)`, float32."""
        self.look_at(rows)
        return {head: values[rows] for head, values in self.said.items()}

    def look_at(self, rows: Tensor) -> None:
        """See those rows that it has not seen yet."""
        new = [row for row in rows.tolist() if not self.known[row]]
        if new:
            for head, values in self.look(torch.tensor(new, device=rows.device)).items():
                self.said.setdefault(head, values.new_zeros(len(self.batch), values.shape[1]))[new] = values
            for row in new:
                self.known[row] = True

    def look(self, rows: Tensor) -> Logits:
        data = {name: self.batch.data[name][rows] for name in self.subset}
        flags = {name: torch.ones(len(rows), dtype=torch.bool, device=rows.device) for name in data}
        return {head: values.float() for head, values in self.model(data, flags).items()}


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
