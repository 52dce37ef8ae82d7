"""Declares the parameter table on a node and reads it back, refusing what does not belong."""

import math

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from internimage_perception.inference.parameters import (
    Constraint,
    PerceptionParameters,
    Value,
    constraints,
    parameters_from,
)

# rclpy's own; they are no business of the table.
_FOREIGN = ("use_sim_time", "start_type_description_service", "qos_overrides")


def read_parameters(node: Node, defaults: dict[str, Value] | None = None) -> PerceptionParameters:
    """Return the checked parameters of a node created with `automatically_declare_parameters_from_overrides`.

    Every parameter of the table becomes visible to `ros2 param` with its description and range.

    Args:
        node: the node.
        defaults: values that differ from the table's for this node.

    Raises:
        ConfigError: naming the parameter that is unknown, of the wrong type or out of range.
    """
    given: dict[str, object] = {}
    for name, parameter in node.get_parameters_by_prefix("").items():
        if name.split(".")[0] not in _FOREIGN:
            value = getattr(parameter, "value", parameter)
            # Empty lists arrive without a type; lists of strings as list or tuple.
            given[name] = [] if value is None else value
    checked = parameters_from({**(defaults or {}), **given})
    for name, (_, constraint) in constraints().items():
        value = getattr(checked, name)
        if node.has_parameter(name):
            # Declared from an override, it has neither description nor range, and could be set to no effect.
            node.undeclare_parameter(name)
        stored = list(value) if isinstance(value, tuple) else value
        node.declare_parameter(name, stored, _descriptor(constraint, value), ignore_override=True)
    return checked


def _descriptor(constraint: Constraint, value: Value) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(description=constraint.description, read_only=True, dynamic_typing=True)
    if constraint.choices:
        descriptor.additional_constraints = "one of: " + ", ".join(constraint.choices)
    if math.isfinite(constraint.minimum) and isinstance(value, float):
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=constraint.minimum, to_value=constraint.maximum)
        ]
    elif math.isfinite(constraint.minimum) and isinstance(value, int) and not isinstance(value, bool):
        descriptor.integer_range = [
            IntegerRange(from_value=int(constraint.minimum), to_value=int(constraint.maximum))
        ]
    return descriptor
