"""Fusion block: [CLS] and the tokens of all modalities through transformer layers (paper, step 5)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

WRITTEN_OUT_TOKENS = 512  # longer sequences' scores would take more memory than time is worth


def attend(query: Tensor, key: Tensor, value: Tensor, visible: Tensor | None, dropout: float) -> Tensor:
    """`softmax(query @ keyᵀ / √width) @ value` of `(batch, heads, tokens, width)`; `visible` `(batch, 1, 1, tokens)` of the keys,
    of which each sample has one at least.

    Written out for short sequences in bf16 on a CPU, where the gradient of torch's fused kernel takes several times as long.
    """
    if query.device.type != "cpu" or query.dtype != torch.bfloat16 or query.shape[2] > WRITTEN_OUT_TOKENS:
        return functional.scaled_dot_product_attention(query, key, value, visible, dropout)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    if visible is not None:
        scores = scores.masked_fill(~visible, float("-inf"))
    shares = scores.softmax(-1, torch.float32).to(value.dtype)
    return functional.dropout(shares, dropout, dropout > 0) @ value


class FusionLayer(nn.Module):
    """A pre-norm transformer layer: self-attention and a feed-forward network, each with a shortcut."""

    def __init__(self, dim: int, heads: int, ffn_dim: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.ffn1, self.ffn2 = nn.Linear(dim, ffn_dim), nn.Linear(ffn_dim, dim)

    def forward(self, tokens: Tensor, visible: Tensor | None) -> Tensor:
        """`tokens` `(batch, length, dim)`; `visible` `(batch, length)` bool marks tokens that may be attended to."""
        query, key, value = self.qkv(self.norm1(tokens)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mask = None if visible is None else visible[:, None, None, :]
        drop = self.dropout if self.training else 0.0
        mixed = attend(query, key, value, mask, drop)
        tokens = tokens + functional.dropout(self.out(mixed.transpose(1, 2).flatten(2)), self.dropout, self.training)
        hidden = functional.gelu(self.ffn1(self.norm2(tokens)))
        return tokens + functional.dropout(self.ffn2(hidden), self.dropout, self.training)


class FusionBlock(nn.Module):
    """[CLS] + tokens → layers → final norm."""

    def __init__(self, dim: int, layers: int, heads: int, ffn_dim: int, dropout: float) -> None:
        super().__init__()
        self.cls = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.layers = nn.ModuleList(FusionLayer(dim, heads, ffn_dim, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor, visible: Tensor | None) -> Tensor:
        """`(batch, 1 + length, dim)`: [CLS] first. `visible` `(batch, length)` or None when everything is."""
        tokens = torch.cat([self.cls.expand(tokens.shape[0], -1, -1), tokens], 1)
        if visible is not None:
            visible = functional.pad(visible, (1, 0), value=True)
        for layer in self.layers:
            tokens = layer(tokens, visible)
        return self.norm(tokens)
