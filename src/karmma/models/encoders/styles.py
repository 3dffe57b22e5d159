"""MixStyle: while training, clips exchange how strongly each channel swings, which is a person's manner more than the action."""

from __future__ import annotations

import torch
from torch import Tensor, nn

CONCENTRATION = 0.3  # of the Beta distribution that says how much of its own style a clip keeps


class StyleMixing(nn.Module):
    """Mixes mean and spread over time of each channel with those of another clip (Zhou et al., ICLR 2021).

    `share` is how often a training step does so; otherwise, and outside training, clips `(batch, channels, steps)` pass.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.share or float(torch.rand(())) >= self.share:
            return x
        mean = x.mean(-1, keepdim=True).detach()
        spread = (x.var(-1, keepdim=True) + 1e-5).sqrt().detach()
        other = torch.randperm(len(x), device=x.device)
        keep = torch.distributions.Beta(CONCENTRATION, CONCENTRATION).sample((len(x), 1, 1)).to(x)
        style = keep * spread + (1 - keep) * spread[other]
        return (x - mean) / spread * style + keep * mean + (1 - keep) * mean[other]
