"""Features of absent modalities out of those that are there. What a recognizer with `absent: rebuilt` or `shared` has beside fusion.

`known` features are what such a network takes of each modality, `(batch, modalities, known width)`, zeros where it is absent.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from .fusion import FusionLayer

MEMORY_TOKENS, LAYERS = 10, 2  # of ActionMAE, as published
ALIKE_WEIGHT, WHICH_WEIGHT = 0.1, 0.02  # of ShaSpec, as published


class AbsentFeatures(nn.Module, ABC):
    """What other modalities tell of an absent one: a feature `(batch, modalities, dim)` that is added to its learned tokens."""

    known_width: int  # of what is taken of a modality

    def taken(self, modality: str, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Of a modality's projected tokens `(batch, tokens, dim)` those that are fused, and what is known by them `(batch, known)`."""
        return tokens, tokens.mean(1)

    @abstractmethod
    def forward(self, known: Tensor, there: Tensor) -> Tensor:
        """What every modality's feature would be `(batch, modalities, dim)`, of those that are `there` `(batch, modalities)`."""

    @abstractmethod
    def errors(self, known: Tensor, has: Tensor, there: Tensor) -> Tensor:
        """A loss `(batch,)` where a sample `has` modalities, of which dropout left those that are `there`."""


class Rebuilder(AbsentFeatures):
    """The masked autoencoder of ActionMAE (Woo et al., AAAI 2023), on one mean token per modality: those that are there and memory
    tokens through an encoder, all through a decoder."""

    def __init__(self, modalities: int, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.known_width = dim
        self.memory = nn.Parameter(torch.randn(1, MEMORY_TOKENS, dim) * 0.02)
        self.mask = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.places = nn.Parameter(torch.randn(1, modalities, dim) * 0.02)
        self.encoder = nn.ModuleList(FusionLayer(dim, heads, dim, dropout) for _ in range(LAYERS))
        self.decoder = nn.ModuleList(FusionLayer(dim, heads, dim, dropout) for _ in range(LAYERS))
        self.norm, self.out = nn.LayerNorm(dim), nn.Linear(dim, dim)

    def forward(self, known: Tensor, there: Tensor) -> Tensor:
        batch = known.shape[0]  # len would fix it in a traced graph
        tokens = torch.cat([self.memory.expand(batch, -1, -1), known + self.places], 1)
        visible = torch.cat([torch.ones_like(there[:, :1]).expand(-1, MEMORY_TOKENS), there], 1)
        for layer in self.encoder:
            tokens = layer(tokens, visible)
        memory, seen = tokens[:, :MEMORY_TOKENS], tokens[:, MEMORY_TOKENS:]
        tokens = torch.cat([memory, torch.where(there[:, :, None], seen, self.mask) + self.places], 1)
        for layer in self.decoder:
            tokens = layer(tokens, None)
        return self.out(self.norm(tokens[:, MEMORY_TOKENS:]))

    def errors(self, known: Tensor, has: Tensor, there: Tensor) -> Tensor:
        """How far what is rebuilt of dropped modalities is from their normalised features (mean squared error)."""
        wanted = functional.layer_norm(known.detach().float(), known.shape[-1:])
        squared = (self(torch.where(there[:, :, None], known, 0), there).float() - wanted).square().mean(-1)
        dropped = has & ~there
        return torch.where(dropped, squared, 0).sum(1) / dropped.sum(1).clamp(min=1)


class SharedSpecific(AbsentFeatures):
    """Features that all modalities share and each one's own (ShaSpec, Wang et al., CVPR 2023): one network for all modalities and one
    for each read its tokens, both are joined; of an absent modality the mean of what the others share stands in.

    What is known of a modality is the mean of its shared features and, behind it, that of its own ones.
    """

    def __init__(self, modalities: tuple[str, ...], dim: int) -> None:
        super().__init__()
        self.known_width = 2 * dim
        self.shared = two_layers(dim)
        self.specific = nn.ModuleDict({name: two_layers(dim) for name in modalities})
        self.join = nn.Linear(2 * dim, dim)
        self.which = nn.Linear(dim, len(modalities))

    def taken(self, modality: str, tokens: Tensor) -> tuple[Tensor, Tensor]:
        shared = self.shared(tokens)
        both = torch.cat([shared, self.specific[modality](tokens)], -1)
        return self.join(both) + shared, both.mean(1)

    def forward(self, known: Tensor, there: Tensor) -> Tensor:
        shared = known[..., : self.known_width // 2]
        mean = torch.where(there[:, :, None], shared, torch.zeros(()).to(shared)).sum(1) / there.sum(1, keepdim=True)
        return mean[:, None].expand(-1, there.shape[1], -1)

    def errors(self, known: Tensor, has: Tensor, there: Tensor) -> Tensor:
        """How far shared features of two modalities are apart (mean absolute difference over pairs), and cross-entropy of which
        modality the own ones are of; each of those that dropout left, weighed as published."""
        shared, own = known.float().chunk(2, -1)
        pairs = (there[:, :, None] & there[:, None]).triu(1)
        apart = (shared[:, :, None] - shared[:, None]).abs().mean(-1)
        alike = torch.where(pairs, apart, 0).sum((1, 2)) / pairs.sum((1, 2)).clamp(min=1)
        names = torch.arange(there.shape[1], device=there.device).expand(len(there), -1)
        entropy = functional.cross_entropy(self.which(own.to(known.dtype)).float().transpose(1, 2), names, reduction="none")
        which = torch.where(there, entropy, 0).sum(1) / there.sum(1)
        return ALIKE_WEIGHT * alike + WHICH_WEIGHT * which


def two_layers(dim: int) -> nn.Sequential:
    """A network of one hidden layer from tokens to tokens."""
    return nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim))
