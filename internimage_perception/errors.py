"""Errors that are written for people: what was wrong, where, and what to do about it."""


class PerceptionError(Exception):
    """Base of every error this package raises on purpose.

    The command line prints its message without a traceback and exits with a code other than 0;
    nodes log it, throttled, and live on.
    """


class CalibrationError(PerceptionError):
    """A camera model, CameraInfo or rig file is missing, contradictory or out of range."""


class ImageError(PerceptionError):
    """An image message cannot be turned into pixels (encoding, step, size, corrupted file)."""


class BagError(PerceptionError):
    """A bag cannot be read or written, or lacks what was asked for."""


class BundleError(PerceptionError):
    """A model bundle is incomplete, damaged, or does not fit what it is used for."""


class ConfigError(PerceptionError):
    """A parameter, option or configuration file is unknown, of the wrong type or out of range."""


class BackendError(PerceptionError):
    """An inference backend is not installed or refuses the model."""


class DatasetError(PerceptionError):
    """A dataset's folder, picture or label is missing, damaged, or does not fit the others.

    Raised while a single sample is read, it names the file: the others can still be used.
    """
