"""QoS profiles: what to subscribe and publish with."""

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy


def profile(*, reliable: bool, depth: int, latched: bool = False) -> QoSProfile:
    """Return a keep-last profile."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def publishers_of(node: Node, topic: str) -> tuple[int, bool, set[str]]:
    """Return (number of publishers, whether all of them offer reliable, their message types)."""
    found = node.get_publishers_info_by_topic(topic)
    reliable = bool(found) and all(
        item.qos_profile.reliability == ReliabilityPolicy.RELIABLE for item in found
    )
    return len(found), reliable, {item.topic_type for item in found}


def all_latched(node: Node, topic: str) -> bool | None:
    """Return whether all publishers of `topic` keep their last message for later comers; None without any."""
    found = [item.qos_profile for item in node.get_publishers_info_by_topic(topic)]
    if not found:
        return None
    return all(
        offer.durability == DurabilityPolicy.TRANSIENT_LOCAL
        and offer.reliability == ReliabilityPolicy.RELIABLE
        for offer in found
    )
