"""Inputs for int8 graphs: of clips that have everything, or of different ones where none has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from karmma.data.calibration import calibration_inputs
from karmma.data.manifest import Segment
from karmma.types import KarmmaError

SETTINGS: dict[str, dict[str, Any]] = {
    "slow_features": {"width": 2, "tokens": 2}, "fast_features": {"width": 3, "tokens": 2}
}  # fmt: skip


def segment_of(directory: Path, number: int, widths: dict[str, int]) -> Segment:
    """A segment whose features are all its number."""
    sources = {}
    for name, width in widths.items():
        sources[name] = directory / f"{number}_{name}.npy"
        np.save(sources[name], np.full((5, width), number, np.float32))
    return Segment(str(number), "p", 0.0, 1.0, {"action": 0}, sources)


def test_samples_are_of_clips_that_have_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both, one = {"slow_features": 2, "fast_features": 3}, {"slow_features": 2}
    segments = [segment_of(tmp_path, number, both if number % 3 == 0 else one) for number in range(60)]
    inputs = calibration_inputs(segments, SETTINGS, 8)
    assert inputs["slow_features"].shape == (8, 2, 2) and inputs["fast_features"].shape == (8, 2, 3)
    assert np.array_equal(inputs["slow_features"][:, 0, 0], inputs["fast_features"][:, 0, 0])
    assert capsys.readouterr().err == ""


def test_where_no_clip_has_everything_sensors_of_different_ones_are_put_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A student can be trained without any complete clip, and so must it be calibrated."""
    segments = [segment_of(tmp_path, number, {"slow_features": 2} if number % 2 else {"fast_features": 3}) for number in range(40)]
    inputs = calibration_inputs(segments, SETTINGS, 8)
    assert inputs["slow_features"].shape == (8, 2, 2) and inputs["fast_features"].shape == (8, 2, 3)
    assert set(inputs["slow_features"].flat) <= {float(number) for number in range(1, 40, 2)}
    assert "0 segments have all of slow_features, fast_features" in capsys.readouterr().err
    with pytest.raises(KarmmaError, match="no segment has fast_features"):
        calibration_inputs(segments[1::2], SETTINGS, 8)
