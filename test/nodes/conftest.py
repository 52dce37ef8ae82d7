"""Fixtures for tests over real topics."""

from collections.abc import Iterator
from pathlib import Path

import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("internimage_perception.msg", reason="the messages are not built")

from support.ros_bench import Bench  # noqa: E402 - after the checks


@pytest.fixture(scope="session")
def ros() -> Iterator[None]:
    rclpy.init()
    yield
    rclpy.try_shutdown()


@pytest.fixture
def bench(ros: None, tmp_path: Path) -> Iterator[Bench]:  # noqa: ARG001 - rclpy must be up
    found = Bench(tmp_path)
    yield found
    codes = found.close()
    assert all(code in (0, 1, 2) for code in codes), f"the node ended with {codes}:\n" + "\n".join(
        process.log for process in found._processes
    )
