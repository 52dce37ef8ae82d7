"""Which pixels of each camera show the world: what a rig file or a CameraInfo says of its lens."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from internimage_perception.errors import CalibrationError
from internimage_perception.geometry import CameraModel, Rig, RigCamera

Mask = npt.NDArray[np.uint8]


class LensMasks:
    """Blind pixels (outside the valid region, ego body) of a rig's cameras, at any output size.

    A camera of the rig file comes first; where the file has none, a CameraInfo learned later serves.

    Args:
        rig: the rig, or None when only topics are known.
    """

    def __init__(self, rig: Rig | None = None) -> None:
        self._rig = rig
        self._models: dict[str, CameraModel] = {}
        self._from_rig: set[str] = set()
        self._cache: dict[tuple[str, int, int, int, int], Mask] = {}
        if rig is not None:
            for name, camera in rig.cameras.items():
                if camera.camera is not None:
                    self._models[name] = camera.camera
                    self._from_rig.add(name)

    @property
    def models(self) -> Mapping[str, CameraModel]:
        """Camera models known by now."""
        return self._models

    def learn(self, camera: str, model: CameraModel) -> bool:
        """Take a model from CameraInfo; returns whether it changed anything (the rig file goes first).

        The rig's `theta_max` narrows it: CameraInfo cannot tell a lens's field of view.
        """
        known = self._rig.cameras.get(camera) if self._rig is not None else None
        if known is not None and known.theta_max is not None:
            model = dataclasses.replace(model, theta_max=min(model.theta_max, known.theta_max))
        if camera in self._from_rig or self._models.get(camera) == model:
            return False
        self._models[camera] = model
        # A copy of the keys, made in one step: a worker may be adding one.
        for key in tuple(self._cache):
            if key[0] == camera:
                self._cache.pop(key, None)
        return True

    def blind(self, camera: str, image_hw: tuple[int, int], out_hw: tuple[int, int]) -> Mask | None:
        """Return uint8 (h, w): 255 where the lens sees nothing, 0 elsewhere; None when nothing is known.

        Args:
            camera: name in the rig.
            image_hw: (rows, columns) of the camera's image.
            out_hw: (rows, columns) of the answer, which covers the whole image.

        Raises:
            CalibrationError: when the calibration was made for images of another shape.
        """
        key = (camera, *image_hw, *out_hw)
        if (known := self._cache.get(key)) is not None:
            return known
        model = self._models.get(camera)
        in_rig = self._rig is not None and camera in self._rig.cameras
        if model is not None:
            # The same lens at another resolution is fine, another shape means another crop or camera.
            height, width = image_hw
            if abs(width * model.height - height * model.width) > max(model.width, model.height):
                message = (
                    f"camera {camera}: images are {width}x{height}, but its calibration is for "
                    f"{model.width}x{model.height}; give the rig or CameraInfo that belongs to these images"
                )
                raise CalibrationError(message)
        if self._rig is not None and in_rig and (model is None or camera in self._from_rig):
            visible = self._rig.visible_mask(camera, out_hw[1], out_hw[0])
        elif model is not None:
            # Sampled like the rig's, so that one lens has one edge, wherever it was described.
            visible = RigCamera(name=camera, image_topic="", camera=model).visible_mask(out_hw[1], out_hw[0])
            if self._rig is not None and in_rig:
                visible = visible & self._rig.visible_mask(camera, out_hw[1], out_hw[0])
        else:
            return None
        blind = np.where(visible, np.uint8(0), np.uint8(255))
        if self._models.get(camera) is model:
            # Unless another lens was learned meanwhile.
            self._cache[key] = blind
        return blind
