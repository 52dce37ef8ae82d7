"""What /diagnostics says: counts that add up, levels and rates of the last ten seconds, lenses, failures."""

from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.time import Time

from internimage_perception.geometry import PinholeCamera, Rig, RigCamera
from internimage_perception.inference.lens import LensMasks
from internimage_perception.inference.ring import CameraStats
from internimage_perception.nodes.health import Health
from internimage_perception.nodes.recent import Recent
from internimage_perception.nodes.throttle import Throttle

LENS = PinholeCamera(width=64, height=48, fx=50.0, fy=50.0, cx=32.0, cy=24.0)
LENSES = LensMasks(Rig({"front": RigCamera(name="front", image_topic="/front", camera=LENS)}))
SECOND = 10**9


class Setup:
    """One camera and one worker, watched for as many seconds as a test likes."""

    def __init__(self, lenses: LensMasks = LENSES) -> None:
        self.now_s = 100.0
        self.published: list[DiagnosticArray] = []
        node = SimpleNamespace(
            get_clock=lambda: SimpleNamespace(now=lambda: Time(nanoseconds=round(self.now_s * SECOND))),
            create_publisher=lambda *_: SimpleNamespace(publish=self.published.append),
            get_name=lambda: "perception",
            get_fully_qualified_name=lambda: "/perception",
            get_logger=lambda: SimpleNamespace(warning=lambda _: None),
        )
        self.camera = SimpleNamespace(
            source=SimpleNamespace(name="front"), topic="/front", info_topic="/camera_info", info_seen=False,
            received=0, last_receive_ns=None, last_age_ns=0,
        )  # fmt: skip
        self.worker = SimpleNamespace(processed=0, overrun=0, failed=0, last_failure="")
        self.health = Health(node, [self.camera], lenses, 5.0, Throttle(), lambda: self.now_s)

    def second(self, images: int = 1, bad: int = 0) -> tuple[DiagnosticStatus, DiagnosticStatus]:
        """Let a second pass with so many images; returns the states of camera and task after it."""
        self.now_s += 1.0
        if images:
            self.camera.received += images
            self.camera.last_receive_ns = round(self.now_s * SECOND)
        for _ in range(bad):
            self.health.count_error("front", "images of 32x24 pixels do not fit")
        self.health.report({"front": 1}, {"front": CameraStats()}, {"segmentation": self.worker})
        return tuple(self.published[-1].status)


def value(status: DiagnosticStatus, key: str) -> str:
    return next(item.value for item in status.values if item.key == key)


def test_a_slow_camera_has_a_rate() -> None:
    setup = Setup()
    assert value(setup.second(images=30)[0], "rate_hz") == "30.0"
    setup = Setup()
    for index in range(30):
        camera, _ = setup.second(images=int(index % 3 == 0))
    assert value(camera, "rate_hz") in {"0.3", "0.4"}
    for _ in range(10):
        camera, _ = setup.second(images=0)
    assert value(camera, "rate_hz") == "0.0"


def test_the_rate_has_two_digits() -> None:
    now = [0.0]
    recent = Recent(0.0, lambda: now[0])
    now[0] = 3.0
    recent.sample(1)
    assert recent.rate_hz == 0.33


def test_unusable_images_add_up_and_the_level_is_of_late() -> None:
    setup = Setup()
    camera, _ = setup.second()
    assert (camera.level, camera.message) == (DiagnosticStatus.OK, "images arrive")
    setup.second(bad=1)
    camera, _ = setup.second(bad=2)
    assert camera.level == DiagnosticStatus.ERROR and value(camera, "unusable") == "3"
    assert camera.message == (
        "3 image(s) of the last 10 s could not be used: images of 32x24 pixels do not fit"
    )
    for _ in range(8):
        camera, _ = setup.second()
        assert camera.level == DiagnosticStatus.ERROR
    for _ in range(3):
        camera, _ = setup.second()
    assert camera.level == DiagnosticStatus.OK and value(camera, "unusable") == "3"


def test_a_camera_whose_lens_the_rig_has_needs_no_camera_info() -> None:
    camera, _ = Setup().second()
    assert camera.level == DiagnosticStatus.OK
    camera, _ = Setup(LensMasks()).second()
    assert camera.level == DiagnosticStatus.WARN
    assert "no lens is known: CameraInfo on /camera_info did not come" in camera.message
    lenses = LensMasks()
    lenses.learn("front", LENS)
    assert Setup(lenses).second()[0].level == DiagnosticStatus.OK


def test_no_warning_hides_another() -> None:
    setup = Setup(LensMasks())
    setup.camera.last_age_ns = 7 * SECOND
    camera, _ = setup.second(bad=1)
    assert camera.level == DiagnosticStatus.ERROR
    for part in ("1 image(s)", "no lens is known", "stamped 7.0 s before they arrive"):
        assert part in camera.message


def test_a_silent_camera_is_stale() -> None:
    setup = Setup()
    camera, _ = setup.second(images=0)
    assert (camera.level, camera.message) == (DiagnosticStatus.OK, "waits for the first image")
    for _ in range(5):
        camera, _ = setup.second(images=0)
    assert camera.level == DiagnosticStatus.STALE
    assert camera.message.startswith("no image on /front for 6 s, 1 publisher(s)")


def test_failed_sets_are_an_error_of_the_task() -> None:
    setup = Setup()
    setup.worker.processed = 10
    _, task = setup.second()
    assert (task.level, task.message) == (DiagnosticStatus.OK, "keeps up")
    setup.worker.failed, setup.worker.last_failure = 2, "BackendError: out of memory"
    setup.worker.overrun = 1
    _, task = setup.second()
    assert task.level == DiagnosticStatus.ERROR
    assert task.message == (
        "2 set(s) of the last 10 s failed: BackendError: out of memory; too slow: 1 set(s) of the last 10 s "
        "gave way"
    )
    for _ in range(11):
        _, task = setup.second()
    assert task.level == DiagnosticStatus.OK
    assert (value(task, "failed"), value(task, "overrun")) == ("2", "1")
