"""The rule of random kernels in closed form: ridge regression on features of several augmented passes over the clips."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from ..config import KernelsConfig
from ..data.loading import EpochLoader
from ..models.random_kernels import RandomKernels
from ..models.signals import signals
from ..types import KarmmaError

Loader = Callable[[int], EpochLoader]


@torch.no_grad()
def fit_kernels(
    name: str, kernels: RandomKernels, config: KernelsConfig, label_sizes: Mapping[str, int], make_loader: Loader, seed: int,
    on_done: Callable[[int, int], None] | None = None,
) -> RandomKernels:  # fmt: skip
    """Draw a modality's kernels, scale their inputs, and solve for the rule that gives +1 to a sample's classes, −1 to all others.

    Sums over all samples are kept, not samples: memory does not grow with the data. `make_loader(epoch)` gives the clips of
    one pass. Raises KarmmaError where no sample has the modality.
    """
    passes = config.passes
    kernels.draw(torch.Generator().manual_seed(seed))
    measure_signals(name, kernels, (clips for clips, _ in samples(make_loader(0), name)))
    sums = Sums(kernels.features, sum(label_sizes.values()))
    for epoch in range(1, passes + 1):
        for clips, labels in samples(make_loader(epoch), name):
            wanted = [2.0 * functional.one_hot(labels[head], size) - 1.0 for head, size in label_sizes.items()]
            sums.add(kernels.responses(clips), torch.cat(wanted, 1))
        if on_done:
            on_done(epoch, passes)
    weight, offset = sums.solve(config.ridge)
    kernels.weight.copy_(weight)
    kernels.offset.copy_(offset)
    return kernels


def samples(loader: EpochLoader, name: str) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """Clips and labels of those samples of each batch that have a modality."""
    for item in loader:
        rows = item.batch.present[name].nonzero().flatten()
        if len(rows):
            yield item.batch.data[name][rows], {head: values[rows] for head, values in item.batch.labels.items()}


def measure_signals(name: str, kernels: RandomKernels, clips: Iterator[Tensor]) -> None:
    """Mean and spread of every signal, over samples and time."""
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for some in clips:
        values = signals(kernels.spec, some).double()
        count += values.shape[0] * values.shape[2]
        total, squares = total + values.sum((0, 2)), squares + values.square().sum((0, 2))
    if not count:
        raise KarmmaError(f"random kernels: no training sample has the modality {name}")
    mean = total / count
    kernels.mean.copy_(mean[:, None])
    kernels.scale.copy_((squares / count - mean.square()).clamp(min=1e-6).sqrt()[:, None])


class Sums:
    """What ridge regression needs to know of samples: counts, sums and products of features `(samples, features)`.

    Features are kept relative to the first batch's mean, so that products of large ones do not swallow their differences.
    """

    def __init__(self, features: int, classes: int) -> None:
        self.count = 0
        self.around = torch.zeros(0)
        self.total = torch.zeros(features, dtype=torch.float64)
        self.wanted = torch.zeros(classes, dtype=torch.float64)
        self.products = torch.zeros(features, features, dtype=torch.float64)
        self.cross = torch.zeros(features, classes, dtype=torch.float64)

    def add(self, features: Tensor, wanted: Tensor) -> None:
        if not self.count:
            self.around = features.mean(0)
        values = features - self.around
        self.count += len(values)
        self.total += values.sum(0).double()
        self.wanted += wanted.sum(0).double()
        self.products += values.T @ values
        self.cross += values.T @ wanted

    def solve(self, ridge: float) -> tuple[Tensor, Tensor]:
        """Weights `(classes, features)` and offsets `(classes,)` for features as they are.

        The penalty is on features of unit variance, `ridge` times their number.
        """
        mean, target = self.total / self.count, self.wanted / self.count
        spread = (self.products.diagonal() / self.count - mean.square()).clamp(min=1e-8).sqrt()
        system = self.products.addr_(mean, mean, alpha=-self.count).div_(spread[:, None]).div_(spread)
        system.diagonal().add_(ridge * len(mean))
        cross = (self.cross - self.count * torch.outer(mean, target)) / spread[:, None]
        weight = torch.cholesky_solve(cross, torch.linalg.cholesky(system)) / spread[:, None]
        offset = target - weight.T @ (self.around.double() + mean)
        return weight.T.float().contiguous(), offset.float()
