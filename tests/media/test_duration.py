"""How long recordings last that have no video."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from karmma.data.manifest import Segment
from karmma.data.reading import find_bounds
from karmma.media.containers import MediaError
from karmma.media.duration import find_span, has_clock
from karmma.media.probe import probe


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """An IMU and a skeleton whose clocks do not begin at 0, a trial without a clock, a single sample, a broken table."""
    (tmp_path / "imu.csv").write_text("seconds,accel_x,note\n1.0,1,a\n3.0,2,b\n")
    (tmp_path / "single.csv").write_text("seconds,accel_x\n1.0,1\n")
    np.savez(tmp_path / "skeleton.npz", skeleton=np.ones((5, 20, 3)), seconds=np.arange(5) + 0.5)
    scipy.io.savemat(tmp_path / "trial.mat", {"d_skel": np.ones((20, 3, 7))})
    (tmp_path / "broken.csv").write_text("second;accel_x\n0;1\n")
    return {path.stem: path for path in tmp_path.iterdir()}


def test_tables_last_from_their_first_sample_to_their_last(files: dict[str, Path], clock_video: Path) -> None:
    assert find_span([files["imu"], files["skeleton"], files["broken"], files["trial"]]) == (0.5, 4.5)
    assert find_span([files["trial"]]) is None and find_span([files["broken"]]) is None and find_span([files["single"]]) is None
    assert find_span([files["skeleton"], clock_video]) == find_span([clock_video]) == (0.0, probe(clock_video).duration_seconds)
    assert [has_clock(files[name]) for name in ("imu", "skeleton", "trial")] == [True, True, False]
    missing = files["imu"].with_name("nowhere.mp4")
    assert find_span([missing, files["imu"]]) == (1.0, 3.0)
    with pytest.raises(MediaError, match="nowhere.mp4"):
        find_span([missing, files["trial"]])


def test_a_segment_of_tables_without_an_end_is_the_whole_of_them(files: dict[str, Path]) -> None:
    def bounds(*names: str, start: float = 0.0) -> tuple[float, float]:
        return find_bounds(Segment("a", "", start, math.inf, {}, {name: files[name] for name in names}))

    assert bounds("imu", "skeleton") == (0.5, 4.5) and bounds("imu", "trial") == (1.0, 3.0) and bounds("imu", start=2.0) == (2.0, 3.0)
    assert bounds("trial") == (0.0, 1.0) and bounds("trial", start=7.0) == (7.0, 8.0)
    with pytest.raises(MediaError, match="starts at 5 s, but its file ends at 4.5 s"):
        bounds("skeleton", start=5.0)
