"""A recognizer as graphs without branches, for export: presence is an input, or fixed to one subset; whole or in parts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .recognizer import LEARNED, Logits, RecognizerModel, with_rebuilt


class SubsetFusionGraph(nn.Module):
    """Logits from what is extracted of one subset of modalities, where the others are absent."""

    def __init__(self, model: RecognizerModel, subset: Sequence[str]) -> None:
        super().__init__()
        self.model, self.subset = model, tuple(name for name in model.modalities if name in subset)

    def forward(self, *extracted: Tensor) -> tuple[Tensor, ...]:
        """`extracted`: `(batch, rows, width)` in the order of modalities; `(batch, classes)` per label set, as the model's heads."""
        features = dict(zip(self.subset, extracted, strict=True))
        return in_order(self.model, self.fuse(features, extracted[0].shape[0]))

    def fuse(self, features: dict[str, Tensor], batch: int) -> Logits:
        model, config = self.model, self.model.config
        features, own_votes = model.split_votes(features)
        if config.absent == "summed":
            common = torch.stack([model.common_tokens(name, tokens) for name, tokens in features.items()]).sum(0)
            return self.voted(model.answer_common(common), own_votes)
        if config.absent == "zeros":
            blanks = {name: torch.zeros(1, *model.specs[name].input_shape) for name in model.modalities if name not in features}
            tokens = {name: model.encoder(name)(blank).expand(batch, -1, -1) for name, blank in blanks.items()}
            features = {**features, **tokens}
        shown = [name for name in model.modalities if name in features or config.absent != "skip"]
        projected, known = model.projected(features)
        pieces = [model.embedding(name)(projected.get(name), None, batch) for name in shown]
        if model.rebuilder is not None:
            nothing = torch.zeros(()).expand(batch, model.rebuilder.known_width)
            there = torch.tensor([name in features for name in shown]).expand(batch, -1)
            rebuilt = model.rebuilder(torch.stack([known.get(name, nothing) for name in shown], 1), there)
            pieces = with_rebuilt(pieces, rebuilt, there)
        fused = model.fusion(torch.cat(pieces, 1), None)
        means = dict(zip(shown, fused[:, 1:].split([piece.shape[1] for piece in pieces], 1), strict=True))
        everyone = config.absent == "zeros" or (config.average == "all" and config.absent in LEARNED)
        voting = [name for name in shown if everyone or name in features]
        logits = model.heads(torch.stack([fused[:, 0], *(means[name].mean(1) for name in voting)], 1))
        return self.voted({head: values.mean(1) for head, values in logits.items()}, own_votes)

    def voted(self, logits: Logits, own_votes: dict[str, Tensor]) -> Logits:
        return self.model.with_votes(logits, torch.stack(list(own_votes.values()), 1).mean(1)) if own_votes else logits


class EncoderGraph(nn.Module):
    """What a recognizer extracts of one modality's clips, `(batch, rows, width)`: tokens, and votes of random kernels."""

    def __init__(self, model: RecognizerModel, modality: str) -> None:
        super().__init__()
        self.model, self.modality = model, modality

    def forward(self, *clips: Tensor) -> Tensor:
        return self.model.extract(self.modality, clips[0])


class FusionGraph(nn.Module):
    """Logits from extractor tokens of all modalities and a presence vector; tokens of what is absent are not looked at."""

    def __init__(self, model: RecognizerModel) -> None:
        super().__init__()
        self.model = model
        for name in model.modalities if model.config.absent == "zeros" else ():
            with torch.no_grad():
                self.register_buffer(f"blank_{name}", model.encoder(name)(torch.zeros(1, *model.specs[name].input_shape)))

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """`inputs`: extracted `(batch, rows, width)` in the order of modalities, then presence `(batch, modalities)`, 1 or 0."""
        model, config, (*extracted, presence) = self.model, self.model.config, inputs
        features, own_votes = model.split_votes(dict(zip(model.modalities, extracted, strict=True)))
        there = {name: presence[:, index, None, None] > 0.5 for index, name in enumerate(features)}
        if config.absent == "summed":
            parts = [torch.where(there[name], model.common_tokens(name, tokens), torch.zeros(())) for name, tokens in features.items()]
            return in_order(model, self.voted(model.answer_common(torch.stack(parts).sum(0)), own_votes, presence))
        if config.absent == "zeros":
            features = {name: torch.where(there[name], tokens, getattr(self, f"blank_{name}")) for name, tokens in features.items()}
        projected, known = model.projected(features)
        pieces = [model.embedding(name)(tokens, None, tokens.shape[0]) for name, tokens in projected.items()]
        if config.absent != "zeros":
            absent = [model.embedding(name).absent for name in projected]
            pieces = [torch.where(flag, *both) for flag, *both in zip(there.values(), pieces, absent, strict=True)]
        if model.rebuilder is not None:
            flags = presence > 0.5
            seen = torch.where(flags[:, :, None], torch.stack(list(known.values()), 1), torch.zeros(()))
            pieces = with_rebuilt(pieces, model.rebuilder(seen, flags), flags)
        visible = [flag[:, 0].expand(-1, piece.shape[1]) for flag, piece in zip(there.values(), pieces, strict=True)]
        fused = model.fusion(torch.cat(pieces, 1), torch.cat(visible, 1) if config.absent == "skip" else None)
        means = [piece.mean(1) for piece in fused[:, 1:].split([piece.shape[1] for piece in pieces], 1)]
        logits = model.heads(torch.stack([fused[:, 0], *means], 1))
        everyone = config.absent == "zeros" or (config.average == "all" and config.absent in LEARNED)
        votes = torch.ones_like(presence) if everyone else presence
        weights = torch.cat([torch.ones_like(votes[:, :1]), votes], 1)
        weights = weights / weights.sum(1, keepdim=True)
        logits = {head: (values * weights[:, :, None]).sum(1) for head, values in logits.items()}
        return in_order(model, self.voted(logits, own_votes, presence))

    def voted(self, logits: Logits, own_votes: dict[str, Tensor], presence: Tensor) -> Logits:
        if not own_votes:
            return logits
        has = presence[:, :, None] > 0.5
        total = torch.where(has, torch.stack(list(own_votes.values()), 1), torch.zeros(())).sum(1)
        return self.model.with_votes(logits, total / has.sum(1))


def in_order(model: RecognizerModel, logits: Logits) -> tuple[Tensor, ...]:
    return tuple(logits[head] for head in model.heads.heads)
