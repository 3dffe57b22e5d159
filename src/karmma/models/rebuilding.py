"""Features of absent modalities out of those that are there: the masked autoencoder of ActionMAE (Woo et al., AAAI 2023)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .fusion import FusionLayer

MEMORY_TOKENS, LAYERS = 10, 2  # as published


class Rebuilder(nn.Module):
    """One token per modality: those that are there and memory tokens through an encoder, all through a decoder."""

    def __init__(self, modalities: int, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.memory = nn.Parameter(torch.randn(1, MEMORY_TOKENS, dim) * 0.02)
        self.mask = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.places = nn.Parameter(torch.randn(1, modalities, dim) * 0.02)
        self.encoder = nn.ModuleList(FusionLayer(dim, heads, dim, dropout) for _ in range(LAYERS))
        self.decoder = nn.ModuleList(FusionLayer(dim, heads, dim, dropout) for _ in range(LAYERS))
        self.norm, self.out = nn.LayerNorm(dim), nn.Linear(dim, dim)

    def forward(self, means: Tensor, there: Tensor) -> Tensor:
        """What every modality's feature would be `(batch, modalities, dim)`, of those that are `there` `(batch, modalities)`."""
        batch = means.shape[0]  # len would fix it in a traced graph
        tokens = torch.cat([self.memory.expand(batch, -1, -1), means + self.places], 1)
        visible = torch.cat([torch.ones_like(there[:, :1]).expand(-1, MEMORY_TOKENS), there], 1)
        for layer in self.encoder:
            tokens = layer(tokens, visible)
        memory, seen = tokens[:, :MEMORY_TOKENS], tokens[:, MEMORY_TOKENS:]
        tokens = torch.cat([memory, torch.where(there[:, :, None], seen, self.mask) + self.places], 1)
        for layer in self.decoder:
            tokens = layer(tokens, None)
        return self.out(self.norm(tokens[:, MEMORY_TOKENS:]))


def normalised(features: Tensor) -> Tensor:
    """Features of mean 0 and variance 1 along their width: what is to be rebuilt."""
    return nn.functional.layer_norm(features.float(), features.shape[-1:])
