"""A ROS 2 node that publishes what a student recognises from a camera, a depth camera, a microphone and an IMU.

    python3 examples/ros2_node.py --ros-args -p student:=/models/kitchen_export -r image:=/camera/color/image_raw -r imu:=/imu/data

Subscribes `image` (sensor_msgs/Image: rgb8, bgr8, rgba8, bgra8, mono8, YUV 4:2:2, Bayer patterns), or `image/compressed` with
`-p compressed:=true`, `depth` (sensor_msgs/Image: 16UC1 or mono16 in millimetres, 32FC1 in metres), `imu` (sensor_msgs/Imu) and
`audio` (std_msgs/Float32MultiArray: mono, at the student's rate; it has no stamp, its last sample is of when it came). Publishes
`action` (std_msgs/String): one JSON object per window, as `karmma stream` prints. A topic that is silent is an absent sensor; health
decides who else is.

Run with stand-ins of ROS's classes (`tests/test_ros2_node.py`), never with ROS itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import rclpy
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image, Imu
from std_msgs.msg import Float32MultiArray, String

from karmma.deploy.runtime import load_any
from karmma.deploy.sensors import SensorClock
from karmma.deploy.session import StreamConfig, StreamSession
from karmma.media.live import PictureFrame, SampleBuffer
from karmma.media.ros_messages import depth_of, motion_of, picture_of, stamp_seconds, unpacked_picture_of
from karmma.types import KarmmaError

QUEUES = {"video": 5, "depth": 5, "imu": 500, "audio": 50}  # messages that wait while others are worked on


class RecogniserNode(Node):  # type: ignore[misc]
    """Topics in, one JSON per hop out. The session's buffers are bounded: a dead topic blocks nothing.

    Sensors and answers have threads of their own, so that nothing is lost while a window is recognised. Subscriptions are
    best effort, as drivers publish: a reliable one would get nothing from them.
    """

    def __init__(self) -> None:
        super().__init__("karmma")
        student = load_any(self.declare_parameter("student", "").value)
        config = StreamConfig(student.window_seconds, self.declare_parameter("hop_seconds", 0.5).value)
        self.session = StreamSession(student, config)
        self.started, self.told = self.now(), set[str]()
        self.clocks = {sensor: SensorClock() for sensor in self.session.sensors}
        self.publisher = self.create_publisher(String, "action", 10)
        compressed = self.declare_parameter("compressed", False).value
        video = (CompressedImage, "image/compressed", self.on_compressed) if compressed else (Image, "image", self.on_image)
        listeners: dict[str, tuple[type, str, Callable[[Any], None]]] = {
            "video": video, "imu": (Imu, "imu", self.on_imu), "audio": (Float32MultiArray, "audio", self.on_audio),
            "depth": (Image, "depth", self.on_depth),
        }  # fmt: skip
        sensors, answers = MutuallyExclusiveCallbackGroup(), MutuallyExclusiveCallbackGroup()
        for sensor, (kind, topic, callback) in listeners.items():
            if sensor in self.session.sensors:
                quality = QoSProfile(
                    history=HistoryPolicy.KEEP_LAST, depth=QUEUES[sensor], reliability=ReliabilityPolicy.BEST_EFFORT
                )  # fmt: skip
                self.create_subscription(kind, topic, callback, quality, callback_group=sensors)
        self.create_timer(config.hop_seconds, self.answer, callback_group=answers)

    def now(self) -> float:
        return float(self.get_clock().now().nanoseconds) / 1e9

    def moment(self, sensor: str, header: Any) -> float:
        """Stream time of a message: of its stamp, on whatever clock its driver has; of its arrival if it has none."""
        arrival, stamp = self.now() - self.started, stamp_seconds(header)
        return self.clocks[sensor].to_stream(stamp, arrival) if stamp else arrival

    def on_image(self, message: Image) -> None:
        self.push("video", message, lambda: PictureFrame(picture_of(message)))

    def on_compressed(self, message: CompressedImage) -> None:
        self.push("video", message, lambda: PictureFrame(unpacked_picture_of(message)))

    def on_depth(self, message: Image) -> None:
        self.push("depth", message, lambda: depth_of(message))

    def on_imu(self, message: Imu) -> None:
        self.push("imu", message, lambda: motion_of(message))

    def push(self, sensor: str, message: Any, read: Callable[[], Any]) -> None:
        """What is in a message, at its moment; what cannot be read is told once, and the sensor counts as absent."""
        try:
            sample = read()
        except KarmmaError as error:
            self.tell_once(str(error))
            return
        self.session.push(sensor, self.moment(sensor, message.header), sample)

    def on_audio(self, message: Float32MultiArray) -> None:
        samples, buffer = np.array(message.data, np.float32), self.session.buffers["audio"]
        assert isinstance(buffer, SampleBuffer)
        self.session.push("audio", self.now() - self.started - len(samples) / buffer.rate_hz, samples)

    def tell_once(self, words: str, about: str = "") -> None:
        """Log what is left out, or doubted: once `about` it, or of the same words."""
        if (about or words) not in self.told:
            self.told.add(about or words)
            self.get_logger().error(words)

    def answer(self) -> None:
        event = self.session.answer(self.now() - self.started)
        for name, words in ({} if event.prediction is None else event.prediction.doubted).items():
            self.tell_once(f"{name} is doubtful: {words}", name)
        self.publisher.publish(String(data=json.dumps(event.row())))


def main() -> None:
    rclpy.init()
    executor = MultiThreadedExecutor(2)
    executor.add_node(RecogniserNode())
    executor.spin()


if __name__ == "__main__":
    main()
