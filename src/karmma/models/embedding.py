"""Embedding layer of KARMMA: projected features plus a learned token per modality and per position (paper, step 4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ModalityEmbedding(nn.Module):
    """Token i of a present modality becomes `Linear(f_i) + t_modality + t_i`; an absent one is `t_modality + t_i` alone."""

    def __init__(self, tokens: int, width: int, dim: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, dim)
        self.modality_token = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.position_tokens = nn.Parameter(torch.randn(1, tokens, dim) * 0.02)

    def forward(self, features: Tensor | None, rows: Tensor | None, batch: int) -> Tensor:
        """Tokens `(batch, tokens, dim)`. `features` `(len(rows), tokens, width)` belong to the samples `rows`.

        `rows` None means that features belong to all samples; `features` None means that nobody has the modality.
        """
        learned = self.modality_token + self.position_tokens
        if features is None:
            return learned.expand(batch, -1, -1)
        projected = self.project(features)
        if rows is None:
            return projected + learned
        return learned.expand(batch, -1, -1).index_add(0, rows, projected.to(learned.dtype))
