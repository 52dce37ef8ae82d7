"""Starts the perception node: `ros2 launch internimage_perception perception.launch.py bundle:=… rig:=…`."""

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription

ARGUMENTS = {
    "bundle": ("", "Model bundle: a folder, or a shipped one's name; empty takes the parameter file's."),
    "rig": ("", "Rig file (YAML); empty takes the parameter file's."),
    "backend": ("", "What runs the graph, such as tensorrt or auto; empty takes the parameter file's."),
    "parameters": ("", "Parameter file (YAML); empty takes the package's config/perception.yaml."),
    "node": ("perception_node", "perception_node or segmentation_node."),
    "namespace": ("", "Namespace of the node and its topics."),
    "log_level": ("info", "debug, info, warn or error."),
}


def start(context: LaunchContext, share: Path) -> list[Node]:
    """Return the node; a value given on the command line goes before the parameter file."""
    values = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    given = {name: located(values[name]) for name in ("bundle", "rig") if values[name]}
    given |= {name: values[name] for name in ("backend",) if values[name]}
    file = values["parameters"] or str(share / "config" / "perception.yaml")
    return [
        Node(
            package="internimage_perception",
            executable=values["node"],
            namespace=values["namespace"],
            parameters=[file, given] if given else [file],
            arguments=["--ros-args", "--log-level", values["log_level"]],
            output="screen",
            emulate_tty=True,
        )
    ]


def located(text: str) -> str:
    """Return the absolute path of what exists; anything else, such as a shipped bundle's name, as it is."""
    path = Path(text).expanduser()
    return str(path.absolute() if path.exists() else path)


def generate_launch_description() -> LaunchDescription:
    """Return the description: arguments, transport profile, node."""
    share = Path(get_package_share_directory("internimage_perception"))
    actions: list[DeclareLaunchArgument | SetEnvironmentVariable] = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    # Without it Fast DDS silently drops most large best-effort images; a profile of the user's goes first.
    # Kilted reads the second name, older distributions the first.
    profile = str(share / "config" / "fastdds.xml")
    actions += [
        SetEnvironmentVariable(name, profile)
        for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
        if name not in os.environ
    ]
    return LaunchDescription([*actions, OpaqueFunction(function=start, args=[share])])
