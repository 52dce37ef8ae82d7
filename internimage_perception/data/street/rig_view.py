"""The own car under a rig: a body that no camera is inside of, and how it looks from each camera."""

import dataclasses

import numpy as np
import numpy.typing as npt

from internimage_perception.data.street.classes import StreetClass
from internimage_perception.data.street.materials import Material
from internimage_perception.data.street.render import render
from internimage_perception.data.street.street import moment_of
from internimage_perception.data.street.vehicles import EgoShape, ego_body
from internimage_perception.errors import CalibrationError
from internimage_perception.geometry import CameraModel, Rig, RigCamera

Floats = npt.NDArray[np.float64]

_CLEAR_M = 0.05


def lens_of(camera: RigCamera) -> tuple[CameraModel, Floats]:
    """Return lens and pose of a rig's camera. Raises CalibrationError where one is missing or underground."""
    if camera.camera is None or camera.base_from_camera is None:
        raise CalibrationError(f"camera {camera.name!r}: a street needs its lens and its base_from_camera")
    if camera.base_from_camera[2, 3] <= 0.0:
        raise CalibrationError(f"camera {camera.name!r}: base_from_camera puts it below the ground")
    return camera.camera, camera.base_from_camera


def fit_ego(rig: Rig) -> EgoShape:
    """Return the usual body, cut back wherever a camera of the rig would be inside of it."""
    shape = EgoShape()
    for camera in rig.cameras.values():
        x, y, z = lens_of(camera)[1][:3, 3].tolist()
        within = shape.rear - _CLEAR_M < x < shape.front + _CLEAR_M and abs(y) < shape.half_width + _CLEAR_M
        if not within or z > shape.roof + _CLEAR_M:
            continue
        # The cheapest cut: front, rear, sides or, above the bonnet, the roof.
        cuts = {
            shape.front - x: {"front": x - _CLEAR_M}, x - shape.rear: {"rear": x + _CLEAR_M},
            shape.half_width - abs(y): {"half_width": abs(y) - _CLEAR_M},
            shape.roof - z: {"roof": z - _CLEAR_M, "bonnet": min(shape.bonnet, z - 0.06 - _CLEAR_M)},
        }  # fmt: skip
        for _, change in sorted(cuts.items(), key=lambda item: item[0]):
            cut = dataclasses.replace(shape, **change)
            if cut.front - cut.rear > 2.2 and cut.half_width > 0.4 and cut.bonnet > 0.4:
                shape = cut
                break
    return shape


def with_ego_masks(rig: Rig) -> Rig:
    """Return the rig with the ego masks of `fit_ego`'s body instead of its own."""
    plain = Material(color=(0.5, 0.5, 0.5))
    body = moment_of([(piece, 0) for piece in ego_body(fit_ego(rig), plain, plain)])
    cameras = {}
    for name, camera in rig.cameras.items():
        frame = render(body, *lens_of(camera), samples=1)
        cameras[name] = dataclasses.replace(camera, ego_mask=frame.class_ids == StreetClass.BACKGROUND)
    return Rig(cameras, rig.base_frame)
