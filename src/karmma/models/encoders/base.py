"""What every feature extractor is."""

from __future__ import annotations

from torch import nn


class Encoder(nn.Module):
    """Any module with `tokens` and `width` whose forward maps `(batch, *spec.input_shape)` to `(batch, tokens, width)`."""

    tokens: int
    width: int

    def load_start(self) -> None:
        """Fill in published weights that the configuration names; called once before training, never when loading."""
