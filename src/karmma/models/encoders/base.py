"""What every feature extractor is."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


class Encoder(nn.Module):
    """Any module with `tokens` and `width` whose forward maps `(batch, *spec.input_shape)` to `(batch, tokens, width)`."""

    tokens: int
    width: int

    def token_shares(self) -> list[float]:
        """When each token lies, as a share (0…1) of the clip's span: evenly spread, where tokens come in order of time."""
        return [(index + 0.5) / self.tokens for index in range(self.tokens)]

    def recomputable(self) -> Sequence[nn.Module]:
        """Parts whose activations may be recomputed in the backward pass; none where batch statistics would count twice."""
        return ()

    def load_start(self) -> None:
        """Fill in published weights that the configuration names; called once before training, never when loading."""
