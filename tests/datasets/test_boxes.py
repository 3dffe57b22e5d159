"""Published detections into box CSVs."""

from __future__ import annotations

import json
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from karmma.datasets.boxes import convert_epic_boxes, convert_ssv2_boxes
from karmma.modalities.detections import Detections
from karmma.types import KarmmaError


def field(number: int, kind: int, content: bytes) -> bytes:
    return bytes([number << 3 | kind]) + (bytes([len(content)]) + content if kind == 2 else content)


def epic_message(frame: int, hands: list[tuple[int, float]], objects: int) -> bytes:
    box = b"".join(field(i + 1, 5, struct.pack("<f", value)) for i, value in enumerate((0.1, 0.2, 0.3, 0.4)))
    message = field(1, 2, b"P01_01") + field(2, 0, bytes([frame]))
    for side, score in hands:
        content = field(1, 2, box) + field(2, 5, struct.pack("<f", score)) + (field(5, 0, bytes([side])) if side else b"")
        message += field(3, 2, content)
    return message + field(4, 2, field(1, 2, box) + field(2, 5, struct.pack("<f", 0.5))) * objects


def test_epic_messages_become_boxes_by_seconds(tmp_path: Path) -> None:
    source, out = tmp_path / "P01_01.pkl", tmp_path / "boxes" / "P01_01.csv"
    source.write_bytes(pickle.dumps([epic_message(1, [(0, 0.9), (1, 0.05)], 2), epic_message(31, [(1, 0.8)], 0)]))
    assert convert_epic_boxes(source, out, 30.0) == 4
    lines = out.read_text().splitlines()
    assert lines[1] == "0.0000,left hand,0.10000,0.20000,0.30000,0.40000,0.90000"
    assert [line.split(",")[:2] for line in lines[2:]] == [["0.0000", "object"]] * 2 + [["1.0000", "right hand"]]
    stored = Detections(frames=1).read(out, 0.9, 1.1)
    assert stored is not None and stored[0, 0, 6] == 1 and np.allclose(stored[0, 0, :4], (0.1, 0.2, 0.3, 0.4))


class Harm:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch harmed",)


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps([Harm()]))
    with pytest.raises(KarmmaError, match=r"bad\.pkl: not a plain list of messages: it wants to load .*system"):
        convert_epic_boxes(tmp_path / "bad.pkl", tmp_path / "out.csv", 30.0)
    assert not (tmp_path / "harmed").exists() and not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("content", [b"", b"garbage", pickle.dumps({"a": 1}), pickle.dumps([b"\x0a\xff"]), pickle.dumps([b"\xff"])])
def test_broken_detections_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.pkl").write_bytes(content)
    with pytest.raises(KarmmaError, match=r"bad\.pkl"):
        convert_epic_boxes(tmp_path / "bad.pkl", tmp_path / "out.csv", 30.0)


def test_ssv2_boxes_are_shares_of_the_picture(tmp_path: Path, mute_video: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "7.webm").write_bytes(mute_video.read_bytes())  # 64 × 48
    box = {"x1": 16, "y1": 12, "x2": 32, "y2": 48}
    frames = [{"name": "7/0013.jpg", "labels": [{"box2d": box, "category": "mug", "standard_category": "0000"},
                                                {"box2d": box, "category": "hand", "standard_category": "hand"}]}]  # fmt: skip
    (tmp_path / "part.json").write_text(json.dumps({"7": frames, "8": frames}))
    counts = convert_ssv2_boxes([tmp_path / "part.json"], tmp_path / "videos", tmp_path / "boxes")
    assert counts == {"written": 1, "without_video": 1}
    lines = (tmp_path / "boxes" / "7.csv").read_text().splitlines()[1:]
    assert lines == [f"1.0000,{label},0.25000,0.25000,0.50000,1.00000,1.00000" for label in ("hand", "object")]
    stored = Detections(frames=1, labels=("hand", "object")).read(tmp_path / "boxes" / "7.csv", 0.9, 1.1)
    assert stored is not None and stored[0, :, 5:].tolist()[:2] == [[1, 0], [0, 1]]
    (tmp_path / "part.json").write_text(json.dumps({"7": [{"name": "7/0001.jpg"}]}))
    with pytest.raises(KarmmaError, match=r"part\.json: video 7: unexpected form"):
        convert_ssv2_boxes([tmp_path / "part.json"], tmp_path / "videos", tmp_path / "boxes")
