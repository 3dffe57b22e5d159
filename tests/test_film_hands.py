"""The example that tracks hands in films, with a stand-in of MediaPipe: sides, places, seconds, files and lines that karmma reads."""

from __future__ import annotations

import importlib.util
import io
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from karmma.deploy.sensors import Lines
from karmma.modalities import make_modalities

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "film_hands.py"


class StandInHands:
    """Finds one hand in dark pictures, two of one side in lighter ones, none in the lightest."""

    def __init__(self, **options: Any) -> None:
        assert options["max_num_hands"] == 2

    def __enter__(self) -> StandInHands:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def process(self, picture: np.ndarray) -> Any:
        level = float(picture.mean())
        found = [("Left", 0.9, 0.75)] if level < 80 else [("Right", 0.6, 0.2), ("Right", 0.8, 0.4)] if level < 140 else []
        sides = [SimpleNamespace(classification=[SimpleNamespace(label=side, score=score)]) for side, score, _ in found]
        joints = [[SimpleNamespace(x=x, y=0.5 + 0.01 * joint, z=0.0) for joint in range(21)] for _, _, x in found]
        hands = [SimpleNamespace(landmark=landmarks) for landmarks in joints]
        return SimpleNamespace(multi_handedness=sides or None, multi_hand_landmarks=hands or None)


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    stand_in = ModuleType("mediapipe")
    stand_in.solutions = SimpleNamespace(hands=SimpleNamespace(Hands=StandInHands))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mediapipe", stand_in)
    spec = importlib.util.spec_from_file_location("film_hands", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_films_hands_become_a_file_that_is_read(example: ModuleType, clock_video: Path, tmp_path: Path) -> None:
    """The film's grey level is 20 + 50 a second, 48 × 64 pixels, four seconds at 10 Hz."""
    example.main([str(clock_video), "--out", str(tmp_path)])
    content = np.load(tmp_path / "clock.npz")
    hands, seconds = content["hands"], content["seconds"]
    assert hands.shape == (40, 2, 21, 3) and seconds == pytest.approx(np.arange(40) / 10, abs=1e-3)
    assert np.isfinite(hands[:12, 1]).all() and np.isnan(hands[:12, 0]).all()  # MediaPipe's left is a right hand, unless mirrored
    assert np.isfinite(hands[13:23, 0]).all() and np.isnan(hands[13:23, 1]).all() and np.isnan(hands[25:]).all()
    assert hands[0, 1, 4] == pytest.approx([0.25, 0.04 * 48 / 64, 0.0], abs=1e-6)  # picture widths from the middle
    assert hands[15, 0, 0, 0] == pytest.approx(-0.1, abs=1e-6)  # of two left hands the one it was surer of
    stored = make_modalities({"hands": {"frames": 9}})["hands"].read(tmp_path / "clock.npz", 0.0, 1.0)
    assert stored is not None and stored[:, 1, :, 3].all() and not stored[:, 0].any()
    example.main([str(clock_video), "--out", str(tmp_path / "selfie"), "--mirrored"])
    assert np.array_equal(np.load(tmp_path / "selfie" / "clock.npz")["hands"][:, ::-1], hands, equal_nan=True)


def test_lines_are_what_a_stream_takes(
    example: ModuleType, clock_video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    example.main([str(clock_video), "--lines"])
    delivered = list(Lines("-", "hands", pose_shape=(2, 21, 3)).parsed(io.StringIO(capsys.readouterr().out)))
    example.main([str(clock_video), "--out", str(tmp_path)])
    content = np.load(tmp_path / "clock.npz")
    assert [second for second, _ in delivered] == pytest.approx(content["seconds"], abs=1e-3)
    np.testing.assert_allclose(np.stack([pose for _, pose in delivered]), content["hands"], atol=1e-4)
    with pytest.raises(SystemExit, match="nowhere.mp4: cannot be opened"):
        example.main(["nowhere.mp4", "--out", str(tmp_path)])
