"""A ROS 2 node that publishes what a student recognises from a camera, a microphone and an IMU. Untested: no ROS here.

ros2 run needs nothing more than: python3 examples/ros2_node.py --ros-args -p student:=/models/kitchen_export

Subscribes `image` (sensor_msgs/Image, rgb8 or bgr8), `imu` (sensor_msgs/Imu), `audio` (std_msgs/Float32MultiArray, mono at the
student's rate); publishes `action` (std_msgs/String, one JSON object per window, as `karmma stream` prints). Topics that are
silent are absent; health decides who else is.
"""

from __future__ import annotations

import json

import numpy as np
import rclpy
from rclpy.node import Node
from sensor_msgs.msg import Image, Imu
from std_msgs.msg import Float32MultiArray, String

from karmma.deploy.runtime import load_any
from karmma.deploy.session import StreamConfig, StreamSession
from karmma.media.live import PictureFrame


class RecogniserNode(Node):  # type: ignore[misc]
    """Topics in, one JSON per hop out. The session's buffers are bounded: a dead topic blocks nothing."""

    def __init__(self) -> None:
        super().__init__("karmma")
        path = self.declare_parameter("student", "").value
        config = StreamConfig(hop_seconds=self.declare_parameter("hop_seconds", 0.5).value)
        self.session = StreamSession(load_any(path), config)
        self.started = self.now()
        self.publisher = self.create_publisher(String, "action", 10)
        listeners = {"video": (Image, "image", self.on_image), "imu": (Imu, "imu", self.on_imu),
                     "audio": (Float32MultiArray, "audio", self.on_audio)}  # fmt: skip
        for sensor, (kind, topic, callback) in listeners.items():
            if sensor in self.session.sensors:
                self.create_subscription(kind, topic, callback, 10)
        self.create_timer(config.hop_seconds, self.answer)

    def now(self) -> float:
        return self.get_clock().now().nanoseconds / 1e9

    def on_image(self, message: Image) -> None:
        picture = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)[:, : 3 * message.width]
        picture = picture.reshape(message.height, message.width, 3)
        if message.encoding == "bgr8":
            picture = picture[..., ::-1]
        self.session.push("video", self.now() - self.started, PictureFrame(np.ascontiguousarray(picture)))

    def on_imu(self, message: Imu) -> None:
        force, turn = message.linear_acceleration, message.angular_velocity
        self.session.push("imu", self.now() - self.started, (force.x, force.y, force.z, turn.x, turn.y, turn.z))

    def on_audio(self, message: Float32MultiArray) -> None:
        samples = np.array(message.data, np.float32)
        buffer_rate = getattr(self.session.buffers["audio"], "rate_hz", 16000)
        self.session.push("audio", self.now() - self.started - len(samples) / buffer_rate, samples)

    def answer(self) -> None:
        event = self.session.answer(self.now() - self.started)
        self.publisher.publish(String(data=json.dumps(event.row())))


def main() -> None:
    rclpy.init()
    rclpy.spin(RecogniserNode())


if __name__ == "__main__":
    main()
