"""KARMMA: multimodal knowledge distillation for action recognition that stays accurate when sensors are missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .types import Batch, Clip, KarmmaError, LabelSpace, Prediction

if TYPE_CHECKING:
    from .deploy.predict import Recognizer

    load = Recognizer.load


def __getattr__(name: str) -> Any:
    """What needs torch is imported when it is asked for."""
    if name in ("Recognizer", "load"):
        from .deploy.predict import Recognizer

        return Recognizer if name == "Recognizer" else Recognizer.load
    raise AttributeError(f"module 'karmma' has no attribute {name!r}")


__all__ = ["Batch", "Clip", "KarmmaError", "LabelSpace", "Prediction", "Recognizer", "load"]
