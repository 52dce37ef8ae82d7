"""`perception_node`: hosts the tasks, subscribes each camera once."""

import sys
from collections.abc import Callable, Sequence

import rclpy
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]  # where Humble has it too
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.utilities import ok, try_shutdown

from internimage_perception.errors import ConfigError, PerceptionError
from internimage_perception.geometry import CameraModel, Rig
from internimage_perception.inference.backends import create_backend
from internimage_perception.inference.bundle import SEGMENTATION, Bundle
from internimage_perception.inference.collector import RigCollector
from internimage_perception.inference.lens import LensMasks
from internimage_perception.inference.parameters import PerceptionParameters, Value
from internimage_perception.inference.sources import CameraSource, camera_sources
from internimage_perception.inference.tasks import SegmentationTask
from internimage_perception.nodes.camera_input import CameraInput
from internimage_perception.nodes.declare import read_parameters
from internimage_perception.nodes.health import Health
from internimage_perception.nodes.log_handler import NodeLogHandler
from internimage_perception.nodes.publishing import SegmentationPublishers
from internimage_perception.nodes.pump import SetPump
from internimage_perception.nodes.segmentation import SegmentationHost
from internimage_perception.nodes.throttle import Throttle, kind_of

_FIRST_LOOKS_S = 0.1
_LATER_LOOKS_S = 1.0


class PerceptionNode(LifecycleNode):
    """Camera images in, class masks out.

    Configure loads the model and announces the topics, activate subscribes the cameras. Callbacks only put
    frames into the collector; each task works in its own thread. Whatever a frame brings, the node lives on.

    Args:
        name: the node's name.
        defaults: parameter values that differ from the table's.

    Raises:
        ConfigError: for an unknown parameter, or one of the wrong type or out of range.
    """

    def __init__(self, name: str = "perception", defaults: dict[str, Value] | None = None) -> None:
        try:
            super().__init__(name, automatically_declare_parameters_from_overrides=True)
        except ValueError as error:
            # rclpy's word for `image_topics: []`, which YAML cannot tell from no value.
            if "PARAMETER_NOT_SET" not in str(error):
                raise
            message = "a parameter is given without a value or as an empty list; leave it out instead"
            raise ConfigError(message) from error
        self.parameters: PerceptionParameters = read_parameters(self, defaults)
        self._log_handler = NodeLogHandler(self)
        self._log_handler.install()
        self._throttle = Throttle()
        self._rarely = Throttle(period_s=30.0)
        self._sources: list[CameraSource] = []
        self._lenses = LensMasks()
        self._task: SegmentationTask | None = None
        self._outputs: SegmentationPublishers | None = None
        self._inputs: list[CameraInput] = []
        self._host: SegmentationHost | None = None
        self._pump: SetPump | None = None
        self._health: Health | None = None
        self._activated = False
        self._looks = 0
        self._watches: list[rclpy.timer.Timer] = []

    # --- lifecycle ------------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load rig and model, announce the topics."""
        try:
            self._configure()
        except PerceptionError as error:
            return self._refuse(str(error))
        except Exception as error:  # noqa: BLE001 - an exception that leaves a transition kills the node
            return self._refuse(f"unexpected {type(error).__name__}: {error}")
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe the cameras and start the workers."""
        try:
            self._activate()
        except PerceptionError as error:
            self._stop()
            return self._refuse(str(error))
        except Exception as error:  # noqa: BLE001 - an exception that leaves a transition kills the node
            self._stop()
            return self._refuse(f"unexpected {type(error).__name__}: {error}")
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop the workers and unsubscribe."""
        self._stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Forget the model."""
        self._release()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and forget, from whatever state."""
        self._release()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:  # noqa: ARG002 - rclpy's signature
        """Return to unconfigured, so that the node can be configured again."""
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def start(self) -> bool:
        """Configure and activate; returns whether both succeeded."""
        good = TransitionCallbackReturn.SUCCESS
        return self.trigger_configure() == good and self.trigger_activate() == good

    def close(self) -> None:
        """Stop every thread; for the end of the process."""
        self._release()
        self._log_handler.remove()

    # --- what the transitions do ----------------------------------------------------------------------

    def _configure(self) -> None:
        settings = self.parameters
        if not settings.bundle:
            raise PerceptionError("parameter bundle is empty; give the folder of a model bundle")
        rig = Rig.load(settings.rig) if settings.rig else None
        self._sources = camera_sources(rig, settings.image_topics)
        bundle = Bundle.load(settings.bundle)
        bundle.require_task(SEGMENTATION)
        self._lenses = LensMasks(rig)
        backend = create_backend(settings.backend, bundle, threads=settings.threads or None)
        self._task = SegmentationTask(bundle, backend, self._lenses)
        if backend.frame_sizes is not None and (odd := backend.frame_sizes.misfits(self._lenses.models)):
            self.get_logger().warning(f"the rig {settings.rig} is {odd}")
        # Checks the anchor before anything is announced.
        names = [source.name for source in self._sources]
        RigCollector(names, settings.collector_config())
        cameras = ", ".join(
            f"{source.name} ({self.resolve_topic_name(source.image_topic)})" for source in self._sources
        )
        self._outputs = SegmentationPublishers(self, names, bundle, settings)
        self.get_logger().info(f"model {bundle.name} on {backend.name}; cameras: {cameras}")

    def _activate(self) -> None:
        assert self._task is not None and self._outputs is not None  # noqa: S101, PT018 - lifecycle order
        settings = self.parameters
        names = [source.name for source in self._sources]
        self._host = SegmentationHost(
            self,
            self._task,
            self._outputs,
            settings,
            self._bad_frame,
            self._task_failed,
            append_log=self._activated,
        )
        self._activated = True
        self._pump = self._make_pump(names, self._host)
        self._inputs = [
            CameraInput(self, source, settings, self._pump.add, self._bad_frame, self._learn, self._complain)
            for source in self._sources
        ]
        self._health = Health(self, self._inputs, self._lenses, settings.stale_after_s, self._throttle)
        self._looks = 0
        # Not by ROS time: without /clock nobody would say what is missing.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._watches = [
            self.create_timer(_FIRST_LOOKS_S, lambda: self._guard(self._look), clock=steady),
            self.create_timer(_LATER_LOOKS_S, lambda: self._guard(self._report), clock=steady),
        ]

    def _make_pump(self, names: Sequence[str], host: SegmentationHost) -> SetPump:
        if self.parameters.sync_policy == "approximate":
            from internimage_perception.nodes.approximate import ApproximatePump  # noqa: PLC0415 - optional

            return ApproximatePump(names, self.parameters, self._now_ns, host.worker.put)
        collector = RigCollector(names, self.parameters.collector_config())
        return SetPump(collector, self._now_ns, host.worker.put)

    def _stop(self) -> None:
        for timer in self._watches:
            self.destroy_timer(timer)
        self._watches = []
        for item in self._inputs:
            item.close()
        self._inputs = []
        if self._pump is not None:
            self._pump.close()
            self._pump = None
        if self._host is not None:
            self._host.close()
            self._host = None
        if self._health is not None:
            self._health.close()
            self._health = None

    def _release(self) -> None:
        self._stop()
        if self._outputs is not None:
            self._outputs.close()
            self._outputs = None
        self._task = None

    # --- callbacks ------------------------------------------------------------------------------------

    def _guard(self, work: Callable[[], None]) -> None:
        """Do `work`; an exception that left a callback would end the process."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 - see above
            self._complain("guard", f"unexpected {type(error).__name__}: {error}")

    def _look(self) -> None:
        """Follow publishers: often while they are being discovered, then once a second with the report."""
        for item in self._inputs:
            item.follow()
        self._looks += 1
        if self._looks * _FIRST_LOOKS_S >= 3 * _LATER_LOOKS_S and self._watches:
            self.destroy_timer(self._watches[0])

    def _report(self) -> None:
        if self._health is None or self._pump is None or self._host is None:
            return
        if self._now_ns() == 0:
            self._complain("clock", "use_sim_time is set, but nothing came on /clock: no wait can end")
        publishers = {item.source.name: item.follow() for item in self._inputs}
        self._health.report(publishers, self._pump.stats, {"segmentation": self._host.worker})
        for item in self._inputs:
            if item.received and item.source.name not in self._lenses.models:
                name, topic = item.source.name, item.info_topic
                reason = "masks cover the whole image until one arrives"
                text = f"camera {name}: no CameraInfo on {topic} and no lens in the rig; {reason}"
                if (hint := self._rarely(name, text)) is not None:
                    self.get_logger().error(hint)

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _learn(self, camera: str, model: CameraModel) -> None:
        if self._lenses.learn(camera, model):
            self.get_logger().info(f"camera {camera}: lens from CameraInfo ({model.model})")

    def _complain(self, key: str, message: str) -> None:
        if (text := self._throttle(key, message)) is not None:
            self.get_logger().error(text)

    def _bad_frame(self, camera: str, reason: str) -> None:
        source = next(source for source in self._sources if source.name == camera)
        topic = self.resolve_topic_name(source.image_topic)
        if self._health is not None:
            self._health.count_error(camera, reason)
        self._complain(f"frame {camera} {kind_of(reason)}", f"{topic}: {reason}")

    def _task_failed(self, error: Exception) -> None:
        if not self.context.ok():
            # Shut down amid a set: it cannot be published any more, and nobody reads it.
            return
        self._complain("task", f"segmentation failed on a set: {type(error).__name__}: {error}")

    def _refuse(self, reason: str) -> TransitionCallbackReturn:
        self.get_logger().fatal(reason)
        return TransitionCallbackReturn.FAILURE


def main(
    args: Sequence[str] | None = None,
    name: str = "perception",
    defaults: dict[str, Value] | None = None,
) -> int:
    """Run the node until it is shut down; returns the process's exit code."""
    rclpy.init(args=list(args) if args is not None else None)
    node: PerceptionNode | None = None
    try:
        node = PerceptionNode(name, defaults)
        if node.parameters.auto_start and not node.start():
            return 1 if ok() else 0
        rclpy.spin(node)
    except PerceptionError as error:
        print(f"{name}: {error}", file=sys.stderr)  # noqa: T201 - there may be no node to log with
        return 2
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except Exception:
        # A signal while the node starts takes the context away under it, which is no failure.
        if ok():
            raise
    finally:
        if node is not None:
            node.close()
            node.destroy_node()
        try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
