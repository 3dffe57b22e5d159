"""Tokens that all modalities have in common, into which each puts its own: what is there is summed (Dong et al., NeurIPS 2023)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

COMMON_TOKENS = 16  # 512 as published, where a modality has hundreds of tokens


class CommonTokens(nn.Module):
    """A modality's part of each common token: a mean of its own tokens, weighed by what they are."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm, self.weigh = nn.LayerNorm(dim), nn.Linear(dim, COMMON_TOKENS)

    def forward(self, tokens: Tensor) -> Tensor:
        """`(batch, COMMON_TOKENS, dim)` of embedded tokens `(batch, tokens, dim)`."""
        weights = self.weigh(self.norm(tokens)).softmax(1)
        return torch.matmul(weights.transpose(1, 2), tokens)
