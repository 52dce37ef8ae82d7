"""The `message_filters` way of grouping cameras, for who asks for it.

Known of it: one dead camera ends all sets, and a bag that loops may mis-match cameras; the package's own
collector is the default for these reasons.
"""

from collections.abc import Callable, Mapping, Sequence

from rclpy.time import Time
from std_msgs.msg import Header

from internimage_perception.errors import ConfigError
from internimage_perception.inference.collector import RigCollector
from internimage_perception.inference.frames import Frame, FrameSet
from internimage_perception.inference.parameters import PerceptionParameters
from internimage_perception.inference.ring import CameraStats
from internimage_perception.nodes.pump import ReadySet, SetPump


class _Stamped:
    """What message_filters needs to see of a frame: a header with a stamp."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.header = Header(stamp=Time(nanoseconds=frame.stamp_ns).to_msg())


class ApproximatePump(SetPump):
    """A SetPump around ApproximateTimeSynchronizer: complete sets only.

    Raises ConfigError when message_filters is not installed.
    """

    def __init__(
        self,
        cameras: Sequence[str],
        parameters: PerceptionParameters,
        clock: Callable[[], int],
        on_set: Callable[[ReadySet], None],
    ) -> None:
        try:
            from message_filters import ApproximateTimeSynchronizer, SimpleFilter  # noqa: PLC0415 - optional
        except ImportError as error:
            message = "sync_policy approximate needs message_filters; install that package or use collector"
            raise ConfigError(message) from error
        self._made = 0
        self._stats = {name: CameraStats() for name in cameras}
        self._filters = {name: SimpleFilter() for name in cameras}
        synchronizer = ApproximateTimeSynchronizer(
            list(self._filters.values()), parameters.ring_size, parameters.tolerance_ms * 1e-3
        )
        synchronizer.registerCallback(self._take_set)
        super().__init__(RigCollector(cameras, parameters.collector_config()), clock, on_set)

    @property
    def stats(self) -> Mapping[str, CameraStats]:
        """Counts per camera."""
        return self._stats

    def add(self, frame: Frame) -> None:
        """Hand a frame to message_filters."""
        self._stats[frame.camera].received += 1
        self._filters[frame.camera].signalMessage(_Stamped(frame))

    def _take_set(self, *stamped: _Stamped) -> None:
        frames = {item.frame.camera: item.frame for item in stamped}
        for name in frames:
            self._stats[name].collected += 1
        first = stamped[0].frame
        self._pass_on([FrameSet(self._made, first.stamp_ns, frames)], self._clock())
        self._made += 1
