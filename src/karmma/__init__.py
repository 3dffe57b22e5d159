"""KARMMA: multimodal knowledge distillation for action recognition that stays accurate when sensors are missing."""

from .deploy.predict import Recognizer
from .types import Batch, Clip, KarmmaError, LabelSpace, Prediction

load = Recognizer.load

__all__ = ["Batch", "Clip", "KarmmaError", "LabelSpace", "Prediction", "Recognizer", "load"]
