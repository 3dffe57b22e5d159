"""Compare this project's Video Swin with torchvision's and MMAction2's on the same random weights, where they are installed.

python scripts/compare_swin.py

MMAction2 (pip install --no-deps mmaction2 mmengine mmcv-lite einops addict yapf termcolor rich) has the names of the
authors' own release. Exit code 0: the last maps differ by at most 1e-5 of their largest value, weights loaded by name.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from karmma.models.encoders.published_swin import torchvision_names
from karmma.models.encoders.video_swin import SIZES, VideoSwin
from karmma.models.pretrained import load_published

BUILDERS = {"tiny": "swin3d_t", "small": "swin3d_s", "base": "swin3d_b"}
ARCHITECTURES = {"tiny": "tiny", "small": "small", "base": "base", "base_window16": "base", "large": "large"}
SWIN_FILE = Path("models", "backbones", "swin.py")
FRAMES, SIDE = 32, 112
ALLOWED = 1e-5

Reference = tuple[str, nn.Module, Callable[[Tensor], Tensor]]  # variant, their network, its last map with channels last


def torchvision_networks() -> Iterator[Reference]:
    library = None
    if not torch.cuda.is_available():  # its operators need CUDA's libraries, its networks but the names of two of them
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision
    from torchvision.models import video

    print(f"torchvision {torchvision.__version__}")
    for variant, builder in BUILDERS.items():
        theirs = getattr(video, builder)(weights=None).eval()
        yield variant, theirs, lambda x, it=theirs: it.norm(it.features(it.pos_drop(it.patch_embed(x))))  # type: ignore[misc]
    del library


def mmaction_networks() -> Iterator[Reference]:
    module = mmaction_swin()
    for variant, architecture in ARCHITECTURES.items():
        theirs = module.SwinTransformer3D(architecture, pretrained2d=False, window_size=SIZES[variant].window)
        theirs.train(False)  # returns nothing there
        yield variant, nn.ModuleDict({"backbone": theirs}), lambda x, it=theirs: it(x).permute(0, 2, 3, 4, 1)  # type: ignore[misc]


def mmaction_swin() -> ModuleType:
    """Its file of this one network: the package as published lacks modules that it imports."""
    from mmengine.registry import Registry

    found = importlib.util.find_spec("mmaction")
    if found is None or found.submodule_search_locations is None:
        raise ImportError("no mmaction")
    registry = ModuleType("mmaction.registry")
    registry.MODELS = Registry("model")  # type: ignore[attr-defined]
    sys.modules |= {"mmaction": ModuleType("mmaction"), "mmaction.registry": registry}
    spec = importlib.util.spec_from_file_location("mmaction_swin", found.submodule_search_locations[0] / SWIN_FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    print("mmaction2")
    return module


@torch.no_grad()
def difference(variant: str, theirs: nn.Module, last_map: Callable[[Tensor], Tensor]) -> float:
    """Largest difference of the last map, as a share of its largest value."""
    torch.manual_seed(0)
    for parameter in theirs.parameters():
        if parameter.ndim == 1:  # scales of norms and biases are ones and zeros in a new network
            parameter.add_(torch.randn_like(parameter) * 0.1)
    ours = VideoSwin(SIZES[variant]).eval()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "weights.pth")
        torch.save({"state_dict": theirs.state_dict()}, path)
        load_published(ours, path, torchvision_names)
    clip = torch.randn(1, 3, FRAMES, SIDE, SIDE)
    reference = last_map(clip)
    return float((ours(clip) - reference).abs().max() / reference.abs().max())


def main() -> None:
    print(f"torch {torch.__version__}, {FRAMES} frames of {SIDE} x {SIDE}")
    differences = []
    for networks in (torchvision_networks, mmaction_networks):
        try:
            for variant, theirs, last_map in networks():
                differences.append(difference(variant, theirs, last_map))
                print(f"  {variant:13} {differences[-1]:.1e}")
        except (ImportError, RuntimeError, OSError) as error:
            print(f"{networks.__name__}: cannot be imported here: {error}")
    sys.exit(0 if differences and max(differences) <= ALLOWED else 1)


if __name__ == "__main__":
    main()
