"""Test-time adaptation: a checkpoint that goes on learning, without labels, from the complete clips of the stream it is tested on.

MiDl (Ramazanova et al., ICLR 2025), as its authors' code does it: of each clip that has every modality, answers are asked for
with all of them and with each erased in turn; a step makes what is said independent of what was erased, and keeps what is said
of the whole clip where it was. Only scales and shifts of layer norms move. Every clip is answered before it is learnt from.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..data.clips import ClipStore
from ..models.recognizer import Logits, RecognizerModel


@dataclass(frozen=True)
class Midl:
    """The authors' settings: SGD's rate and momentum, and the weights of mutual information and of self-distillation."""

    lr: float = 6.25e-5
    momentum: float = 0.9
    information_weight: float = 3.0
    distillation_weight: float = 3.0


def mutual_information(answers: Sequence[Tensor]) -> Tensor:
    """Between the answer and which of several views it is of: H(mean p) − mean H(p), of logits `(batch, classes)` each; `(batch,)`."""
    logs = torch.stack([logits.float().log_softmax(-1) for logits in answers])
    mean = logs.logsumexp(0) - math.log(len(answers))
    return (logs.exp() * logs).sum(-1).mean(0) - (mean.exp() * mean).sum(-1)


def midl_loss(answers: Sequence[Logits], before: Logits, settings: Midl) -> Tensor:
    """Of answers with everything (first) and with each modality erased; `before`: what the unadapted network says with everything."""
    losses = []
    for head, frozen in before.items():
        information = mutual_information([logits[head] for logits in answers])
        target, guess = frozen.float().log_softmax(-1), answers[0][head].float().log_softmax(-1)
        divergence = (target.exp() * (target - guess)).sum(-1)
        losses.append((settings.information_weight * information + settings.distillation_weight * divergence).mean())
    return torch.stack(losses).sum()


def adapted_logits(
    model: RecognizerModel, store: ClipStore, presence: Tensor, rows: Tensor, order: Sequence[int], settings: Midl,
    on_done: Callable[[int, int], None] | None = None,
) -> dict[str, Tensor]:  # fmt: skip
    """Logits `(samples, classes)` per head of the clips `rows` of a store, each with what `presence` `(samples, modalities)` leaves
    of it, one by one in an `order` of the samples; NaN where nothing is left. The model itself stays as it is."""
    student, frozen, device = copy.deepcopy(model).eval().requires_grad_(False), model.eval(), next(model.parameters()).device
    moving = [value for module in student.modules() if isinstance(module, nn.LayerNorm) for value in module.parameters()]
    optimizer = torch.optim.SGD([value.requires_grad_() for value in moving], settings.lr, settings.momentum)
    logits = {head: torch.full((len(presence), size), torch.nan) for head, size in model.label_sizes.items()}
    for done, sample in enumerate(order):
        names = [name for name, flag in zip(model.modalities, presence[sample].tolist(), strict=True) if flag]
        if names:
            data = store.batch(rows[sample : sample + 1].numpy(), None, names).to(device).data
            for head, values in learn_of(student, frozen, optimizer, data, names, settings).items():
                logits[head][sample] = values[0].float().cpu()
        if on_done:
            on_done(done + 1, len(order))
    return logits


def learn_of(
    student: RecognizerModel, frozen: RecognizerModel, optimizer: torch.optim.Optimizer, data: Mapping[str, Tensor],
    names: Sequence[str], settings: Midl,
) -> Logits:  # fmt: skip
    """What is said of a clip that has the modalities `names`; a step afterwards, if these are all there are."""
    flag = torch.ones(1, dtype=torch.bool, device=next(iter(data.values())).device)
    present = {name: flag if name in names else ~flag for name in student.modalities}
    if set(names) != set(student.modalities) or len(names) < 2:
        with torch.no_grad():
            return student(data, present)
    erased = [{other: flag if other != name else ~flag for other in names} for name in names]
    answers, _ = student.answers(data, present, [present, *erased])
    with torch.no_grad():
        before = frozen(data, present)
    optimizer.zero_grad()
    midl_loss(answers, before, settings).backward()
    optimizer.step()
    return {head: values.detach() for head, values in answers[0].items()}
