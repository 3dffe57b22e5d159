"""Embedding layer of KARMMA: projected features plus a learned token per modality and per position (paper, step 4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ModalityEmbedding(nn.Module):
    """Token i of a present modality becomes `Linear(f_i) + t_modality + t_i`; an absent one is `t_modality + t_i` alone.

    With `one_token` every token of an absent modality is the same learned one (Ramazanova et al., 2024: Missing Modality Token).
    """

    def __init__(self, tokens: int, width: int, dim: int, *, one_token: bool = False) -> None:
        super().__init__()
        self.project = nn.Linear(width, dim)
        self.modality_token = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.position_tokens = nn.Parameter(torch.randn(1, tokens, dim) * 0.02)
        # Without a draw, so that networks that differ in this alone start from the same weights.
        self.missing_token = nn.Parameter(torch.zeros(1, 1, dim)) if one_token else None

    @property
    def learned(self) -> Tensor:
        """What is added to features `(1, tokens, dim)`."""
        return self.modality_token + self.position_tokens

    @property
    def absent(self) -> Tensor:
        """What stands for an absent modality `(1, tokens, dim)`."""
        if self.missing_token is None:
            return self.learned
        return self.missing_token + torch.zeros_like(self.position_tokens)  # a view of a weight ends the counting of operations

    def forward(self, projected: Tensor | None, rows: Tensor | None, batch: int) -> Tensor:
        """Tokens `(batch, tokens, dim)`. `projected` features `(len(rows), tokens, dim)` belong to the samples `rows`.

        `rows` None means that features belong to all samples; `projected` None means that nobody has the modality.
        """
        if projected is None:
            return self.absent.expand(batch, -1, -1)
        learned = self.learned
        if rows is None:
            return projected + learned
        if self.missing_token is None:
            return learned.expand(batch, -1, -1).index_add(0, rows, projected.to(learned.dtype))
        return self.absent.repeat(batch, 1, 1).index_copy(0, rows, (projected + learned).to(learned.dtype))
