"""Camera perception for vehicles with fisheye lenses.

This module stays free of imports: ROS tools import it whenever they load one of the package's messages.
"""

__version__ = "0.1.0"
