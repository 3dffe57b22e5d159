"""Votes of random kernels: fixed random convolutions of a clip's signals, and a linear rule found in closed form.

ROCKET (Dempster, Petitjean, Webb, 2020) with three signals per kernel and rates by thirds of the clip. Such a rule errs on
other samples than a trained network does, so that both together are better than either; and no training can overfit it to
the network beside it.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..config import KernelsConfig
from ..types import KarmmaError, ModalitySpec
from .signals import signals

TAPS, INPUTS, PARTS = 9, 3, 3
PER_KERNEL = 2 + PARTS  # share of positive responses in the clip, the largest response, shares in each third
SPREAD_CHANNELS = 32  # of up to so many signals a kernel reads all, most of them with zeros: one plain convolution is faster


class RandomKernels(nn.Module):
    """One modality's votes. All tensors are constants of a checkpoint; `training/kernels.py` fills them in."""

    mean: Tensor
    scale: Tensor
    inputs: Tensor

    def __init__(self, spec: ModalitySpec, config: KernelsConfig, classes: int) -> None:
        super().__init__()
        self.spec, self.sharpness = spec, config.sharpness
        with torch.device("cpu"):
            _, channels, steps = signals(spec, torch.zeros(1, *spec.input_shape)).shape
        if steps < PARTS:
            raise KarmmaError(f"random kernels need clips of {PARTS} steps or more; {spec.name} has {steps}")
        self.dilations, self.steps = dilations(steps), steps
        self.each = max(config.count // len(self.dilations), 1)
        inputs, total = min(INPUTS, channels), self.each * len(self.dilations)
        self.features = total * PER_KERNEL
        self.register_buffer("mean", torch.zeros(channels, 1))
        self.register_buffer("scale", torch.ones(channels, 1))
        self.register_buffer("inputs", torch.zeros(total * inputs, dtype=torch.int64))
        # a tensor per dilation: of a part of a larger one, quantisers do not see that it is constant
        self.taps = nn.ParameterList(constant(self.each, inputs, TAPS) for _ in self.dilations)
        self.bias = nn.ParameterList(constant(self.each) for _ in self.dilations)
        self.is_spread = channels <= SPREAD_CHANNELS
        if self.is_spread:  # what follows from taps and inputs is not stored, and constant in an exported graph
            for index in range(len(self.dilations)):
                self.register_buffer(f"spread{index}", torch.zeros(self.each, channels, TAPS), persistent=False)
            self.register_load_state_dict_post_hook(spread_again)
        self.weight = constant(classes, self.features)
        self.offset = constant(classes)

    def draw(self, generator: torch.Generator) -> None:
        """Choose the kernels: each reads three signals, its taps sum to zero over time."""
        channels, inputs, total = len(self.mean), self.taps[0].shape[1], self.each * len(self.dilations)
        chosen = torch.stack([torch.randperm(channels, generator=generator)[:inputs] for _ in range(total)])
        taps = torch.randn(total, inputs, TAPS, generator=generator)
        bias = torch.randn(total, generator=generator)
        self.inputs.copy_(chosen.flatten())
        for index, some in enumerate((taps - taps.mean(-1, keepdim=True)).split(self.each)):
            self.taps[index].copy_(some)
            self.bias[index].copy_(bias[index * self.each : (index + 1) * self.each])
        if self.is_spread:
            self.spread()

    @torch.no_grad()
    def spread(self) -> None:
        """Taps of each kernel at the places of the signals that it reads, zeros at those of all others."""
        for index, (taps, inputs) in enumerate(zip(self.taps, self.inputs.chunk(len(self.dilations)), strict=True)):
            places = inputs.view(self.each, -1, 1).expand_as(taps)
            self.get_buffer(f"spread{index}").zero_().scatter_(1, places, taps)

    def responses(self, clips: Tensor) -> Tensor:
        """Features `(batch, features)` of clips `(batch, …)`."""
        x = (signals(self.spec, clips) - self.mean) / self.scale
        found = []
        for y in self.convolved(x):
            positive = (y > 0).to(y.dtype)
            thirds = [positive[..., a:b].mean(-1) for a, b in parts_of(self.steps)]
            found += [positive.mean(-1), y.amax(-1), *thirds]
        return torch.cat(found, 1)

    def convolved(self, x: Tensor) -> list[Tensor]:
        """Signals `(batch, channels, steps)` through the kernels of each dilation, `(batch, kernels, steps)`."""
        count = len(self.dilations)
        if self.is_spread:
            parts, groups, weights = [x] * count, 1, [self.get_buffer(f"spread{index}") for index in range(count)]
        else:
            parts, groups, weights = list(x.index_select(1, self.inputs).chunk(count, 1)), self.each, list(self.taps)
        each = zip(parts, weights, self.bias, self.dilations, strict=True)
        return [
            functional.conv1d(part, weight, bias, 1, (TAPS - 1) * dilation // 2, dilation, groups=groups)
            for part, weight, bias, dilation in each
        ]

    def forward(self, clips: Tensor) -> Tensor:
        """Votes `(batch, classes)`: logits of all label sets, one after the other."""
        return self.sharpness * functional.linear(self.responses(clips), self.weight, self.offset)


def spread_again(kernels: nn.Module, _: object) -> None:
    """After a checkpoint was loaded."""
    assert isinstance(kernels, RandomKernels)
    kernels.spread()


def constant(*shape: int) -> nn.Parameter:
    """A tensor that counts as a parameter and is never trained."""
    return nn.Parameter(torch.zeros(*shape), requires_grad=False)


def dilations(steps: int) -> tuple[int, ...]:
    """Powers of two whose kernels fit into a clip, and the largest number that does."""
    largest = max((steps - 1) // (TAPS - 1), 1)
    powers = [2**power for power in range(largest.bit_length()) if 2**power < largest]
    return (*powers, largest)


def parts_of(steps: int) -> list[tuple[int, int]]:
    """Thirds of a clip, as even as whole steps allow."""
    edges = [round(index * steps / PARTS) for index in range(PARTS + 1)]
    return list(pairwise(edges))
