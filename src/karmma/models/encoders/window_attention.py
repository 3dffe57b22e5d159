"""Training of attention with a learned bias on CPUs, in pieces that stay in the cache.

No fused kernel gives such a bias its gradient. Written out, scores `(windows, heads, tokens, tokens)` go through memory
some ten times; here a few windows' scores are computed, used and forgotten, and computed again for the gradient.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

ROWS = 12  # windows × heads at a time: 7 MB of scores in fp32 for windows of 392 tokens (fastest of 3 … 48 on two cores)
Piece = tuple[slice, slice]
Sides = tuple[Tensor, Tensor]


class BiasedAttention(torch.autograd.Function):
    """`softmax(query @ keyᵀ + bias) @ value` for `(windows, heads, tokens, width)` and a bias `(1, heads, tokens, tokens)`.

    `sides`: two sets of vectors `(windows of a clip, tokens, columns)` whose products are added to the scores, the mask of
    shifted windows; clips lie one after another.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, bias: Tensor, sides: Sides | None) -> Tensor:
        query, key, value, bias = (tensor.contiguous() for tensor in (query, key, value, bias))
        ctx.save_for_backward(query, key, value, bias)
        ctx.seams = seams = {} if sides is None else masks_of_seams(*sides, query.dtype)
        ctx.windows_of_clip = windows_of_clip = len(query) if sides is None else len(sides[0])
        mixed = value.new_empty(value.shape)
        with torch.autocast(query.device.type, enabled=False):
            for piece in pieces(query.shape[0], query.shape[1]):
                torch.matmul(shares(query, key, bias, piece, seams, windows_of_clip), value[piece], out=mixed[piece])
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, bias = ctx.saved_tensors
        for_query, for_key, for_value = torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)
        for_bias = torch.zeros(bias.shape, dtype=torch.promote_types(bias.dtype, torch.float32), device=bias.device)
        with torch.autocast(query.device.type, enabled=False):
            for piece in pieces(query.shape[0], query.shape[1]):
                share = shares(query, key, bias, piece, ctx.seams, ctx.windows_of_clip)
                torch.matmul(share.transpose(-2, -1), upstream[piece], out=for_value[piece])
                scores = upstream[piece] @ value[piece].transpose(-2, -1)
                torch._softmax_backward_data(scores, share, -1, share.dtype, grad_input=scores)
                torch.matmul(scores, key[piece], out=for_query[piece])
                torch.matmul(scores.transpose(-2, -1), query[piece], out=for_key[piece])
                for window in scores:
                    for_bias[0, piece[1]].add_(window)
        return for_query, for_key, for_value, for_bias.to(bias.dtype), None


def pieces(windows: int, heads: int) -> Iterator[Piece]:
    """Windows and heads by the ROWS."""
    heads_each = min(heads, ROWS)
    windows_each = max(ROWS // heads, 1)
    for window in range(0, windows, windows_each):
        for head in range(0, heads, heads_each):
            yield slice(window, window + windows_each), slice(head, head + heads_each)


def masks_of_seams(ours: Tensor, others: Tensor, dtype: torch.dtype) -> dict[int, Tensor]:
    """By number, the masks `(tokens, tokens)` of the windows that a seam runs through; the others need none."""
    there = (ours > 0).any(1).unflatten(-1, (-1, 2)).all(-1).any(-1)
    return {window: (ours[window] @ others[window].T).to(dtype) for window in there.nonzero().flatten().tolist()}


def shares(
    query: Tensor, key: Tensor, bias: Tensor, piece: Piece, seams: Mapping[int, Tensor], windows_of_clip: int
) -> Tensor:
    """What every token of a piece takes from every other `(windows, heads, tokens, tokens)`."""
    scores = query[piece] @ key[piece].transpose(-2, -1)
    scores.add_(bias[:, piece[1]])
    for offset, window in enumerate(scores if seams else ()):
        mask = seams.get((piece[0].start + offset) % windows_of_clip)
        if mask is not None:
            window.add_(mask)
    return torch.softmax(scores, -1, out=scores)
