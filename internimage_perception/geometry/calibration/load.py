"""`load_calibration`: read a calibration file of another tool, whose format is told from its content."""

from pathlib import Path
from types import ModuleType

import yaml

from internimage_perception.errors import CalibrationError
from internimage_perception.geometry.calibration import camodocal, echo, kalibr, opencv, ros, woodscape
from internimage_perception.geometry.calibration.calibration import CalibratedCamera, Calibration, Wanted
from internimage_perception.geometry.calibration.document import Document, keys_of
from internimage_perception.geometry.calibration.opencv import MODEL_NAMES

# The first that matches reads: ROS's keys are a special case of what OpenCV's users write.
_FORMATS = (kalibr, woodscape, camodocal, ros, echo, opencv)


def load_calibration(
    source: str | Path | Document, *, model: str | None = None, size: tuple[int, int] | None = None
) -> Calibration:
    """Read a calibration file, see docs/camera_models.md for the formats.

    Args:
        source: OpenCV YAML, XML or JSON; YAML of ROS's camera_calibration, of Kalibr or of KITTI-360; JSON of
            WoodScape; a printed CameraInfo. A path, or a file parsed already.
        model: `fisheye`, `pinhole` or `mei`, for OpenCV files that do not say; refused where the file says
            otherwise.
        size: (width, height) of the images, for files without it; refused where the file says otherwise.

    Raises:
        CalibrationError: naming the file and, where they are known, line, format, camera and key.
    """
    file = source.file if isinstance(source, Document) else Path(source)
    wanted = Wanted(stem=file.stem, model=_model(model), size=size)
    try:
        document = source if isinstance(source, Document) else Document(file)
        form = _format_of(document)
        if form is None:
            raise CalibrationError(_unknown(document))
        cameras = form.read(document, wanted)
    except yaml.constructor.ConstructorError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        message = f"{file}{line}: {error.problem}"
        raise CalibrationError(message) from error
    except RecursionError as error:
        message = f"{file}: is nested too deeply"
        raise CalibrationError(message) from error
    except OverflowError as error:
        message = f"{file}: a number is too large"
        raise CalibrationError(message) from error
    for camera in cameras:
        _compare(camera, wanted, f"{file}: {form.NAME}: camera {camera.name!r}")
    return Calibration(form.NAME, {camera.name: camera for camera in cameras})


def is_rig(document: Document) -> bool:
    """Return whether a file is one of this package's rigs, be it a faulty one, and no calibration."""
    if "cameras" not in document.outline:
        return False
    try:
        # Others group their cameras under this key too.
        return _names_topics(document) or _format_of(document) is None
    except (yaml.constructor.ConstructorError, RecursionError):
        return True


def _names_topics(document: Document) -> bool:
    """Return whether cameras name their topics, as those of rig files do."""
    cameras = keys_of(document.outline.get("cameras")).values()
    return "image_topic" in {key for camera in cameras for key in keys_of(camera)}


def _format_of(document: Document) -> ModuleType | None:
    return next((form for form in _FORMATS if form.matches(document.outline)), None)


def _model(name: str | None) -> str:
    if name is None:
        return ""
    if (model := MODEL_NAMES.get(name.lower())) is None:
        message = f"unknown model {name!r}; known: {', '.join(sorted(MODEL_NAMES))}"
        raise CalibrationError(message)
    return model


def _compare(camera: CalibratedCamera, wanted: Wanted, where: str) -> None:
    lens = camera.camera
    if wanted.model and lens.model != wanted.model:
        message = f"{where}: is a {lens.model} camera, although model={wanted.model!r} was given"
        raise CalibrationError(message)
    if wanted.size is not None and (lens.width, lens.height) != tuple(wanted.size):
        message = f"{where}: has {lens.width} x {lens.height} pixels, although size={wanted.size} was given"
        raise CalibrationError(message)


def _unknown(document: Document) -> str:
    if _names_topics(document):
        return f"{document.file}: is a rig file of this package, not a calibration; use Rig.load"
    keys = list(document.outline)
    listed = ", ".join(keys[:8]) + (", ..." if len(keys) > 8 else "")
    found = f"{document.kind} with the keys {listed}" if keys else f"{document.kind} without keys"
    known = "; ".join(f"{form.NAME} ({form.SIGNS})" for form in _FORMATS)
    return f"{document.file}: is no calibration of a known format ({found}). Known: {known}"
