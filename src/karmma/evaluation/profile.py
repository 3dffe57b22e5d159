"""Cost of a recognizer: parameters and GFLOPs (matrix products and convolutions, 2 per multiply-add) per subset."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.utils.flop_counter import FlopCounterMode

from ..models.recognizer import RecognizerModel
from ..types import ModalitySpec


def count_parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@torch.no_grad()
def count_gflops(model: RecognizerModel, specs: dict[str, ModalitySpec], subset: Sequence[str]) -> float:
    """GFLOPs of one clip that has only `subset`; extractors of absent modalities do not run."""
    data = {name: torch.zeros(1, *specs[name].input_shape) for name in subset}
    present = {name: torch.ones(1, dtype=torch.bool) for name in subset}
    with FlopCounterMode(display=False) as counter:
        model.cpu().eval()(data, present)
    return counter.get_total_flops() / 1e9
