"""Gradients of a recognizer's extractors, worked out beside each other on two threads: none of them needs another's."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

Cut = tuple[Tensor, Tensor]  # what an extractor gave, and what the rest of the network took for it


class ExtractorsBeside:
    """Cuts the graph of a loss behind each extractor; `backward` follows it to the cuts, and then the extractors' parts at once.

    Made for steps that have one thread for each operation: then the gradients are those of one pass to the last bit, whichever
    thread works them out. An extractor that takes long goes first, so that the others fit beside it.
    """

    def __init__(self, extractors: Sequence[nn.Module]) -> None:
        self.extractors = extractors
        self.pool = ThreadPoolExecutor(1, "beside", torch.set_num_threads, (1,))
        self.hooks: list[RemovableHandle] = []
        self.cuts: dict[nn.Module, list[Cut]] = {}
        self.seconds: dict[nn.Module, float] = {}  # that each took the last time

    def __enter__(self) -> ExtractorsBeside:
        self.hooks = [extractor.register_forward_hook(self.cut) for extractor in self.extractors]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for hook in self.hooks:
            hook.remove()
        self.pool.shutdown()

    def cut(self, extractor: nn.Module, _: tuple[Tensor, ...], tokens: Tensor) -> Tensor:
        """The extractor's tokens as a leaf of their own, where a gradient will be asked for."""
        if not tokens.requires_grad:
            return tokens
        leaf = tokens.detach().requires_grad_()
        self.cuts.setdefault(extractor, []).append((tokens, leaf))
        return leaf

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss `()` to those of all weights that it depends on."""
        cuts, self.cuts = self.cuts, {}
        loss.backward()
        waiting = deque(sorted(cuts, key=lambda extractor: self.seconds.get(extractor, 0.0), reverse=True))
        others = self.pool.submit(self.follow_each, waiting.pop, cuts)
        try:
            self.follow_each(waiting.popleft, cuts)
        finally:
            others.result()

    def follow_each(self, take: Callable[[], nn.Module], cuts: dict[nn.Module, list[Cut]]) -> None:
        """Extractors one after another, until the two threads have taken all."""
        while True:
            try:
                extractor = take()
            except IndexError:
                return
            started = time.perf_counter()
            self.follow(cuts[extractor])
            self.seconds[extractor] = time.perf_counter() - started

    def follow(self, cuts: Sequence[Cut]) -> None:
        """The gradient of one extractor, from those that reached its cuts."""
        reached = [(tokens, leaf.grad) for tokens, leaf in cuts if leaf.grad is not None]
        if reached:
            torch.autograd.backward([tokens for tokens, _ in reached], [gradient for _, gradient in reached])
