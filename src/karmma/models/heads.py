"""The shared multi-head MLP, applied alike to CLS and every modality's mean (paper, step 6); and heads on one extractor's tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class MultiHeadMlp(nn.Module):
    """One hidden layer, then one linear head per label set."""

    def __init__(self, dim: int, hidden: int, sizes: dict[str, int], dropout: float) -> None:
        super().__init__()
        self.hidden = nn.Linear(dim, hidden)
        self.dropout = nn.Dropout(dropout)
        self.heads = nn.ModuleDict({head: nn.Linear(hidden, size) for head, size in sizes.items()})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Logits `(…, classes)` per head of vectors `(…, dim)`."""
        hidden = self.dropout(functional.gelu(self.hidden(x)))
        return {head: linear(hidden) for head, linear in self.heads.items()}


class PooledHeads(nn.Module):
    """One linear head per label set on mean and maximum of a modality's own tokens, before any fusion."""

    def __init__(self, width: int, sizes: dict[str, int]) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(2 * width)
        self.heads = nn.ModuleDict({head: nn.Linear(2 * width, size) for head, size in sizes.items()})

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        """Logits `(batch, classes)` per head of tokens `(batch, tokens, width)`."""
        pooled = self.norm(torch.cat([tokens.mean(1), tokens.amax(1)], -1))
        return {head: linear(pooled) for head, linear in self.heads.items()}
