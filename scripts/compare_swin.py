"""Compare this project's Video Swin with torchvision's on the same random weights, where torchvision is installed.

python scripts/compare_swin.py

Exit code 0: the last maps of tiny, small and base differ by at most 1e-5 of their largest value, weights loaded by name.
"""

from __future__ import annotations

import sys

import torch

from karmma.models.encoders.video_swin import SIZES, VideoSwin

BUILDERS = {"tiny": "swin3d_t", "small": "swin3d_s", "base": "swin3d_b"}
ALLOWED = 1e-5


def declare_operators() -> torch.library.Library:
    """torchvision's compiled operators need CUDA's libraries; its networks need but the name of one to be imported."""
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


@torch.no_grad()
def difference(variant: str) -> float:
    """Largest difference of the last map, as a share of its largest value."""
    from torchvision.models import video

    torch.manual_seed(0)
    theirs = getattr(video, BUILDERS[variant])(weights=None).eval()
    ours = VideoSwin(SIZES[variant]).eval()
    weights = {name: value for name, value in theirs.state_dict().items() if not name.startswith("head.")}
    expected = ours.state_dict()
    ours.load_state_dict({name: value for name, value in weights.items() if name in expected})
    unused = sorted(set(weights) - set(expected))
    if any("relative_position_index" not in name for name in unused):
        raise SystemExit(f"{variant}: torchvision has weights that are unknown here: {unused[:3]}")
    clip = torch.randn(1, 3, 16, 112, 112)
    reference = theirs.norm(theirs.features(theirs.pos_drop(theirs.patch_embed(clip))))
    return float((ours(clip) - reference).abs().max() / reference.abs().max())


def main() -> None:
    library = declare_operators() if not torch.cuda.is_available() else None
    try:
        import torchvision
    except (ImportError, RuntimeError, OSError) as error:
        sys.exit(f"torchvision cannot be imported here: {error}")
    print(f"torch {torch.__version__}, torchvision {torchvision.__version__}")
    worst = 0.0
    for variant in BUILDERS:
        found = difference(variant)
        worst = max(worst, found)
        print(f"{variant:6} {found:.2e}")
    del library
    sys.exit(0 if worst <= ALLOWED else 1)


if __name__ == "__main__":
    main()
