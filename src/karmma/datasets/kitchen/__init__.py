"""The simulated kitchen: seeded recordings of a head camera with sound, boxes and head motion, and their annotations."""

from .generate import simulate
from .knobs import KITCHEN_VERSION, SPLITS, KitchenConfig

__all__ = ["KITCHEN_VERSION", "SPLITS", "KitchenConfig", "simulate"]
