"""How long recordings last that have no video."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from karmma.data.manifest import Segment
from karmma.data.reading import find_stop
from karmma.media.containers import MediaError
from karmma.media.duration import find_duration, has_clock


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """An IMU of 3 s, a skeleton of 4 s, a trial without a clock, a broken table."""
    (tmp_path / "imu.csv").write_text("seconds,accel_x,note\n0.0,1,a\n3.0,2,b\n")
    np.savez(tmp_path / "skeleton.npz", skeleton=np.ones((5, 20, 3)), seconds=np.arange(5.0))
    scipy.io.savemat(tmp_path / "trial.mat", {"d_skel": np.ones((20, 3, 7))})
    (tmp_path / "broken.csv").write_text("second;accel_x\n0;1\n")
    return {path.stem: path for path in tmp_path.iterdir()}


def test_tables_last_until_their_last_sample(files: dict[str, Path], clock_video: Path) -> None:
    assert find_duration([files["imu"], files["skeleton"], files["broken"], files["trial"]]) == 4.0
    assert find_duration([files["trial"]]) is None and find_duration([files["broken"]]) is None
    assert find_duration([files["skeleton"], clock_video, clock_video]) == pytest.approx(4.0, abs=0.1)
    assert [has_clock(files[name]) for name in ("imu", "skeleton", "trial")] == [True, True, False]
    missing = files["imu"].with_name("nowhere.mp4")
    assert find_duration([missing, files["imu"]]) == 3.0
    with pytest.raises(MediaError, match="nowhere.mp4"):
        find_duration([missing, files["trial"]])


def test_a_segment_of_tables_without_an_end_is_the_whole_of_them(files: dict[str, Path]) -> None:
    def stop(*names: str) -> float:
        return find_stop(Segment("a", "", 0.0, math.inf, {}, {name: files[name] for name in names}))

    assert stop("imu", "skeleton") == 4.0 and stop("imu", "trial") == 3.0
    assert stop("trial") == 1.0
    with pytest.raises(MediaError, match="starts at 5 s, but its file ends at 4 s"):
        find_stop(Segment("a", "", 5.0, math.inf, {}, {"skeleton": files["skeleton"]}))
