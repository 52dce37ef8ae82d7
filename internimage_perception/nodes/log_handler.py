"""What the package's parts log, said by the node: on the console, in ROS's log files and on /rosout."""

import logging

from rclpy.node import Node

PACKAGE = "internimage_perception"


class NodeLogHandler(logging.Handler):
    """Passes records of Python's logging on to a node's logger.

    Args:
        node: who says it.
    """

    def __init__(self, node: Node) -> None:
        super().__init__(logging.INFO)
        self._logger = node.get_logger()
        self._before = logging.getLogger(PACKAGE).level

    def install(self) -> None:
        """Begin; the backend's choice is then told, too, which is no warning."""
        package = logging.getLogger(PACKAGE)
        package.setLevel(logging.INFO)
        package.addHandler(self)

    def remove(self) -> None:
        """End; a second time it does nothing."""
        package = logging.getLogger(PACKAGE)
        if self in package.handlers:
            package.removeHandler(self)
            package.setLevel(self._before)

    def emit(self, record: logging.LogRecord) -> None:
        """Say it. Each severity has a line of its own: ROS's logger refuses others from the same line."""
        try:
            text = self.format(record)
            if record.levelno >= logging.ERROR:
                self._logger.error(text)
            elif record.levelno >= logging.WARNING:
                self._logger.warning(text)
            else:
                self._logger.info(text)
        except Exception:  # noqa: BLE001 - logging must never end what logs
            self.handleError(record)
