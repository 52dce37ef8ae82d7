"""`segmentation_node`: the perception node with segmentation as its one task."""

import sys
from collections.abc import Sequence

from internimage_perception.nodes import perception_node


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until it is shut down; returns the process's exit code."""
    return perception_node.main(args, "segmentation", {"tasks": ("segmentation",)})


if __name__ == "__main__":
    sys.exit(main())
