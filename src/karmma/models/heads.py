"""The shared multi-head MLP: applied alike to CLS and to every modality's mean (paper, step 6)."""

from __future__ import annotations

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
