"""The ROS 2 node with stand-ins of the classes that it uses: messages in, JSON out. What ROS itself does is not tested."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from .deploy.conftest import LABELS, SETTINGS, save_student

NODE = Path(__file__).resolve().parents[1] / "examples" / "ros2_node.py"
SIZE = (24, 32)


class StandInNode:
    """What the node inherits: parameters, a clock that the test sets, subscriptions by topic, one publisher."""

    parameters: dict[str, Any]

    def __init__(self, name: str) -> None:
        self.seconds, self.subscriptions, self.published, self.errors = 1000.0, dict[str, Any](), list[str](), list[str]()

    def declare_parameter(self, name: str, value: Any) -> Any:
        return SimpleNamespace(value=self.parameters.get(name, value))

    def get_clock(self) -> Any:
        return SimpleNamespace(now=lambda: SimpleNamespace(nanoseconds=round(self.seconds * 1e9)))

    def get_logger(self) -> Any:
        return SimpleNamespace(error=self.errors.append)

    def create_publisher(self, kind: type, topic: str, depth: int) -> Any:
        return SimpleNamespace(publish=lambda message: self.published.append(message.data))

    def create_subscription(self, kind: type, topic: str, callback: Any, quality: Any, callback_group: Any) -> None:
        self.subscriptions[topic] = (callback, quality)

    def create_timer(self, seconds: float, callback: Any, callback_group: Any) -> None:
        self.timer = (seconds, callback)


def stand_in(name: str, **content: Any) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(content)
    return module


def load_node(monkeypatch: pytest.MonkeyPatch, **parameters: Any) -> Any:
    """A node made by the example's own file."""
    message = {name: type(name, (SimpleNamespace,), {}) for name in ("CompressedImage", "Image", "Imu", "Float32MultiArray", "String")}
    for module in (
        stand_in("rclpy"), stand_in("rclpy.node", Node=StandInNode), stand_in("rclpy.executors", MultiThreadedExecutor=object),
        stand_in("rclpy.callback_groups", MutuallyExclusiveCallbackGroup=object),
        stand_in("rclpy.qos", QoSProfile=SimpleNamespace, HistoryPolicy=SimpleNamespace(KEEP_LAST="last"),
                 ReliabilityPolicy=SimpleNamespace(BEST_EFFORT="best effort")),
        stand_in("sensor_msgs"), stand_in("sensor_msgs.msg", **message), stand_in("std_msgs"), stand_in("std_msgs.msg", **message),
    ):  # fmt: skip
        monkeypatch.setitem(sys.modules, module.__name__, module)
    spec = importlib.util.spec_from_file_location("ros2_node", NODE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(StandInNode, "parameters", parameters, raising=False)
    return module.RecogniserNode()


@pytest.fixture
def student(tmp_path: Path) -> Path:
    return save_student(tmp_path / "student", SETTINGS)


def header(seconds: float) -> Any:
    return SimpleNamespace(stamp=SimpleNamespace(sec=int(seconds), nanosec=round((seconds % 1) * 1e9)))


def image(pixels: Any, encoding: str, seconds: float, padding: int = 0) -> Any:
    """A message of pixels `(height, width, channels)` whose rows are longer than they need be."""
    rows = np.pad(pixels.reshape(len(pixels), -1), ((0, 0), (0, padding)))
    return SimpleNamespace(
        header=header(seconds), encoding=encoding, height=len(pixels), width=pixels.shape[1], step=rows.shape[1], data=rows.tobytes()
    )


def depth_image(metres: Any, encoding: str, order: str, seconds: float) -> Any:
    """A message of a depth picture whose rows are longer than they need be."""
    values = metres.astype(f"{order}f4") if encoding == "32FC1" else np.rint(np.nan_to_num(metres) * 1000).astype(f"{order}u2")
    message = image(values[..., None].view(np.uint8).reshape(*values.shape, -1), encoding, seconds, padding=6)
    message.is_bigendian = order == ">"
    return message


def imu(seconds: float, random: np.random.Generator, gravity: float = 9.81) -> Any:
    force, turn = random.normal((0, 0, gravity), gravity / 10), random.normal(size=3)
    axes = [SimpleNamespace(**dict(zip("xyz", values, strict=True))) for values in (force, turn)]
    return SimpleNamespace(header=header(seconds), linear_acceleration=axes[0], angular_velocity=axes[1])


def send(node: Any, topic: str, message: Any) -> None:
    node.subscriptions[topic][0](message)


def test_messages_become_answers_and_a_silent_topic_is_absent(student: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver's clock is not the computer's: stamps begin at 5 s. The microphone never speaks."""
    node = load_node(monkeypatch, student=str(student))
    assert set(node.subscriptions) == {"image", "imu", "audio"} and node.timer[0] == 0.5
    assert all(quality.reliability == "best effort" for _, quality in node.subscriptions.values())
    random = np.random.default_rng(0)
    for tick in range(300):
        node.seconds = 1000.0 + tick / 100 + 0.02
        send(node, "imu", imu(5.0 + tick / 100, random))
        if tick % 10 == 0:
            send(node, "image", image(random.integers(0, 255, (*SIZE, 3), np.uint8), "rgb8", 5.0 + tick / 100))
        if tick % 50 == 49:
            node.timer[1]()
    rows = [json.loads(text) for text in node.published]
    assert len(rows) == 6 and rows[-1]["modalities"] == ["rgb", "imu"]
    assert rows[-1]["health"] == {"video": "present", "audio": "absent", "imu": "present"}
    assert set(rows[-1]["verb"]) <= set(LABELS.names["verb"]) and not node.errors


def test_an_imu_in_g_is_used_and_named_once(student: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node, random = load_node(monkeypatch, student=str(student)), np.random.default_rng(0)
    for tick in range(500):
        node.seconds = 1000.0 + tick / 100 + 0.02
        send(node, "imu", imu(5.0 + tick / 100, random, gravity=1.0))
        if tick % 50 == 49:
            node.timer[1]()
    last = json.loads(node.published[-1])
    assert last["modalities"] == ["imu"] and "in g, or without gravity?" in last["doubted"]["imu"]
    assert len(node.errors) == 1 and node.errors[0].startswith("imu is doubtful: the median force is 1")


def test_every_encoding_shows_the_same_picture(student: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grey = np.repeat(np.random.default_rng(0).integers(0, 255, (*SIZE, 1), np.uint8), 3, 2)
    coloured = np.random.default_rng(1).integers(0, 255, (*SIZE, 3), np.uint8)
    sent = {
        "rgb8": coloured, "bgr8": coloured[..., ::-1], "rgba8": np.dstack([coloured, coloured[..., :1]]),
        "bgra8": np.dstack([coloured[..., ::-1], coloured[..., :1]]), "mono8": grey[..., :1],
    }  # fmt: skip
    node, shown = load_node(monkeypatch, student=str(student)), []
    monkeypatch.setattr(node.session, "push", lambda sensor, seconds, frame: shown.append(frame.picture))
    for number, (encoding, pixels) in enumerate(sent.items()):
        send(node, "image", image(pixels, encoding, 1.0 + number, padding=7))
    for encoding, picture in zip(sent, shown, strict=True):
        np.testing.assert_array_equal(picture, grey if encoding == "mono8" else coloured, err_msg=encoding)


def test_what_cannot_be_read_is_named_once(student: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = load_node(monkeypatch, student=str(student))
    for second in range(3):
        send(node, "image", image(np.zeros((*SIZE, 2), np.uint8), "yuv444", 1.0 + second))
    assert len(node.errors) == 1 and "yuv444" in node.errors[0] and "rgb8, bgr8" in node.errors[0]
    node.timer[1]()
    assert json.loads(node.published[0])["health"]["video"] == "absent"


def test_compressed_pictures_are_decoded(student: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node, shown = load_node(monkeypatch, student=str(student), compressed=True), []
    monkeypatch.setattr(node.session, "push", lambda sensor, seconds, frame: shown.append((seconds, frame.picture)))
    picture = np.zeros((*SIZE, 3), np.uint8)
    picture[..., 0] = 200  # red
    content = cv2.imencode(".png", picture[..., ::-1])[1].tobytes()
    node.seconds = 1002.0
    send(node, "image/compressed", SimpleNamespace(header=header(0), format="png", data=content))
    send(node, "image/compressed", SimpleNamespace(header=header(0), format="png", data=content[:40]))
    assert len(shown) == 1 and len(node.errors) == 1
    assert shown[0][0] == pytest.approx(2.0)  # no stamp: when it came
    np.testing.assert_array_equal(shown[0][1], picture)


def test_depth_images_arrive_in_millimetres_whatever_their_encoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    student = save_student(tmp_path / "body", {"imu": {"seconds": 1.0}, "depth": {"frames": 4, "size": 24, "content": "person"}})
    node = load_node(monkeypatch, student=str(student))
    assert set(node.subscriptions) == {"imu", "depth"}
    metres = np.random.default_rng(0).integers(500, 4000, SIZE) / 1000
    metres[0, 0] = np.nan
    for number, (encoding, order) in enumerate([("16UC1", "<"), ("16UC1", ">"), ("mono16", "<"), ("32FC1", "<"), ("32FC1", ">")]):
        send(node, "depth", depth_image(metres, encoding, order, 5.0 + number / 10))
    send(node, "depth", depth_image(metres, "rgb8", "<", 6.0))
    assert len(node.errors) == 1 and "16UC1, mono16, 32FC1" in node.errors[0]
    held = node.session.buffers["depth"].series()
    assert held.values.dtype == np.uint16 and len(held.values) == 5 and held.values[0, 0, 0] == 0
    assert (held.values == held.values[0]).all() and held.values[0, 1, 1] == round(metres[1, 1] * 1000)
