"""Bags of ROS 1 and ROS 2 as recordings, read by the package rosbags, which needs no ROS: `karmma convert rosbag`."""

from .convert import BagReport, convert_bag

__all__ = ["BagReport", "convert_bag"]
