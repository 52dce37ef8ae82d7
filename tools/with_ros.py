"""Run a command where ROS 2 and this package's messages are found: `tools/with_ros.py COMMAND ARGUMENT...`.

With `--if-available` in front the command also runs when there is no ROS or nothing was built yet.
"""

import os
import sys

from ros_environment import INSTALL, VENV, built_prefixes, ros_environment, sourced_ros, wheel_prefix

USAGE = "usage: with_ros.py [--if-available] COMMAND [ARGUMENT...]"


def main(arguments: list[str]) -> int:
    """Replace this process by the command; return an exit code only when that is impossible."""
    optional = arguments[:1] == ["--if-available"]
    command = arguments[1:] if optional else arguments
    if not command or command[0].startswith("-"):
        print(USAGE, file=sys.stderr)
        return 2
    if not optional and (reason := missing()):
        print(f"with_ros: {reason}", file=sys.stderr)
        return 1
    environment = ros_environment(os.environ)
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606 - the user's own command
    except OSError as error:
        print(f"with_ros: cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        return 127


def missing() -> str | None:
    """Say what keeps ROS commands from working, and what to do; None when nothing does."""
    if not sourced_ros(os.environ) and not wheel_prefix(VENV):
        return "no ROS 2 here: source one, or run `make setup`, which brings it from the package index"
    if INSTALL / "internimage_perception" not in built_prefixes():
        return "the messages are not built: run `make setup`"
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
