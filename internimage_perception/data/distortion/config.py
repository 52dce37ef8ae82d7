"""`DistortionConfig`: what an augmentation draws from, checked."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from internimage_perception.data.distortion.resample import INTERPOLATIONS, Interpolation
from internimage_perception.data.sample import IGNORED
from internimage_perception.errors import ConfigError
from internimage_perception.geometry import CameraModel

Range = tuple[float, float]

COEFFICIENTS: Mapping[str, tuple[Range, ...]] = {
    "equidistant": ((-0.08, 0.1), (-0.02, 0.015), (-0.003, 0.003), (-3e-4, 3e-4)),
    "woodscape": ((-0.12, 0.02), (-0.05, 0.15), (-0.03, 0.0)),
    "mei": ((0.8, 1.8), (-0.05, 0.05), (-0.01, 0.01), (-0.002, 0.002), (-0.002, 0.002)),
    "eucm": ((0.55, 0.7), (0.9, 1.3)),
    "double_sphere": ((-0.3, 0.2), (0.5, 0.65)),
    "pinhole": ((-0.05, 0.02), (-0.005, 0.005)),
}
"""Models of lenses that can be drawn, and from where each coefficient is.

equidistant: k1 to k4; woodscape: a2 to a4; mei: xi, k1, k2, p1, p2; eucm: alpha, beta; double_sphere: xi,
alpha; pinhole: k1, k2.
"""


@dataclass(frozen=True, kw_only=True)
class DistortionConfig:
    """What `DistortionAugmentation` draws from; ranges are the lowest and the highest value.

    Attributes:
        warp: "lens" takes the picture through another lens; "division" is that of the preset dacon2023.
        size: columns and rows of the answer; None: those of the picture. Not for "division".
        models: lenses to draw from, see `COEFFICIENTS`.
        cameras: lenses to take instead, resized to the answer.
        camera_jitter: those lenses' focal length (natural logarithm) and centre (shares of width and height)
            vary up to this, plus and minus.
        edge_deg: angle off the axis that a drawn lens shows at its picture's left and right border, degrees;
            of a pinhole at most 55.
        field_of_view_deg: of a drawn lens, rim to rim, degrees.
        coefficients: ranges per model in place of `COEFFICIENTS`.
        aspect: a drawn lens's fy / fx is exp(-aspect) to exp(aspect).
        centre: a drawn lens's centre is off the middle by up to these shares of width and height.
        source_focal: focal length given to pictures of pinholes, in widths of the picture.
        true_pinholes: take pinholes with a known camera for what they are instead.
        rotation_deg: about x (down and up), y (aside) and z (roll) of the target's frame, plus and minus.
        views: further pictures beside the first, to the left and right of it in turn, that fill what those
            before do not show; with pictures of a level pinhole, a fisheye that shows something all around.
        view_step_deg: angle from one view to the next, about the first picture's vertical axis.
        translation: of the target camera off that of a picture with a given focal length, along x, y, z, in
            distances of the plane the picture is taken for; plus and minus; the third below 1.
        interpolation: of the image: "area" (no aliasing), "linear" or "nearest". Labels are always nearest.
        outside_label: class id where the target's lens sends no light.
        ego_label: class id on the own vehicle's body.
        no_source_label: class id where the lens sees what the picture does not show.
        image_fill: colour (r, g, b) of those pixels without a background.
        min_visible: objects of which a smaller share stays visible are dropped.
        vignette: share of the light lost at the rim.
        blur_px: standard deviation of the lens's blur at the rim, in pixels of an answer 1000 wide.
        backgrounds: "random" draws one of the bank, "suffix" takes the one that the number at the end of the
            sample's name says, modulo their count.
        k: strength of "division".
        crop: whether "division" crops.

    Raises:
        ConfigError: a value out of range.
    """

    warp: Literal["lens", "division"] = "lens"
    size: tuple[int, int] | None = None
    models: tuple[str, ...] = ("equidistant",)
    cameras: tuple[CameraModel, ...] = ()
    camera_jitter: tuple[float, float, float] = (0.0, 0.0, 0.0)
    edge_deg: Range = (55.0, 105.0)
    field_of_view_deg: Range = (160.0, 205.0)
    coefficients: Mapping[str, tuple[Range, ...]] = field(default_factory=dict)
    aspect: float = 0.05
    centre: tuple[float, float] = (0.03, 0.03)
    source_focal: Range = (0.12, 0.35)
    true_pinholes: bool = False
    rotation_deg: tuple[float, float, float] = (5.0, 5.0, 10.0)
    views: int = 0
    view_step_deg: Range = (45.0, 75.0)
    translation: tuple[float, float, float] = (0.2, 0.2, 0.2)
    interpolation: Interpolation = "area"
    outside_label: int = IGNORED
    ego_label: int = IGNORED
    no_source_label: int = IGNORED
    image_fill: tuple[int, int, int] = (0, 0, 0)
    min_visible: float = 0.25
    vignette: Range = (0.0, 0.5)
    blur_px: Range = (0.0, 1.5)
    backgrounds: Literal["random", "suffix"] = "random"
    k: float = 1.0
    crop: bool = True

    def __post_init__(self) -> None:
        for key, allowed in _CHOICES.items():
            if (value := getattr(self, key)) not in allowed:
                raise ConfigError(f"{key} is {value!r}; it must be one of: {', '.join(allowed)}")
        for key, (count, low, high) in _NUMBERS.items():
            if (value := getattr(self, key)) is not None or key != "size":
                _check_numbers(key, value, count, low, high)
        for key in _RANGES:
            _check_range(key, getattr(self, key))
        for key in _WHOLE:
            if any(item != int(item) for item in _listed(getattr(self, key) or 0)):
                raise ConfigError(f"{key} is {getattr(self, key)!r}; it must be of whole numbers")
        for key in ("true_pinholes", "crop"):
            if not isinstance(getattr(self, key), bool):
                raise ConfigError(f"{key} is {getattr(self, key)!r}; it must be true or false")
        self._check_models()

    def _check_models(self) -> None:
        if self.views and self.warp == "division":
            raise ConfigError("views are for lenses; the division model moves one picture's pixels")
        if not self.models or any(model not in COEFFICIENTS for model in self.models):
            known = ", ".join(COEFFICIENTS)
            raise ConfigError(f"models is {self.models!r}; it must be a list of one or more of: {known}")
        for model, ranges in self.coefficients.items():
            if len(ranges) != len(COEFFICIENTS.get(model, ())):
                known = ", ".join(f"{name} ({len(own)})" for name, own in COEFFICIENTS.items())
                raise ConfigError(f"coefficients of {model!r}: give a range for each; known models: {known}")
            for item in ranges:
                _check_numbers(f"coefficients of {model!r}", item, 2, -1e3, 1e3)
                _check_range(f"coefficients of {model!r}", item)
        if self.warp == "division" and self.size is not None:
            raise ConfigError(
                "size is given, but the division model decides on the size itself; leave it out"
            )

    def ranges_of(self, model: str) -> tuple[Range, ...]:
        """Return where the coefficients of a model are drawn from."""
        return self.coefficients.get(model) or COEFFICIENTS[model]


_CHOICES: Mapping[str, Sequence[str]] = {
    "warp": ("lens", "division"),
    "interpolation": INTERPOLATIONS,
    "backgrounds": ("random", "suffix"),
}
# How many numbers, the lowest, the highest.
_NUMBERS: Mapping[str, tuple[int, float, float]] = {
    "size": (2, 1, 32_000),
    "camera_jitter": (3, 0.0, 1.0),
    "edge_deg": (2, 1.0, 175.0),
    "field_of_view_deg": (2, 2.0, 359.0),
    "aspect": (1, 0.0, 1.0),
    "centre": (2, 0.0, 0.5),
    "source_focal": (2, 0.01, 100.0),
    "rotation_deg": (3, 0.0, 180.0),
    "views": (1, 0, 8),
    "view_step_deg": (2, 5.0, 180.0),
    "translation": (3, 0.0, 0.99),
    "outside_label": (1, 0, 255),
    "ego_label": (1, 0, 255),
    "no_source_label": (1, 0, 255),
    "image_fill": (3, 0, 255),
    "min_visible": (1, 0.0, 1.0),
    "vignette": (2, 0.0, 1.0),
    "blur_px": (2, 0.0, 20.0),
    "k": (1, 1e-6, 4.0),
}
_WHOLE = ("size", "views", "outside_label", "ego_label", "no_source_label", "image_fill")
_RANGES = ("edge_deg", "field_of_view_deg", "source_focal", "view_step_deg", "vignette", "blur_px")


def _listed(value: Any) -> tuple[Any, ...]:  # noqa: ANN401  # what a file holds, before it is checked
    return value if isinstance(value, tuple) else (value,)


def _check_numbers(key: str, value: object, count: int, low: float, high: float) -> None:
    items: tuple[object, ...] = _listed(value)
    if len(items) != count or (count > 1) != isinstance(value, tuple):
        raise ConfigError(f"{key} is {value!r}; it must be {count} number{'s' if count > 1 else ''}")
    for item in items:
        if isinstance(item, bool) or not isinstance(item, (int, float)) or not math.isfinite(item):
            raise ConfigError(f"{key} is {value!r}; {item!r} is not a number")
        if not low <= item <= high:
            raise ConfigError(f"{key} is {value!r}; {item!r} is not from {low:g} to {high:g}")


def _check_range(key: str, value: Range) -> None:
    if value[0] > value[1]:
        raise ConfigError(f"{key} is {value!r}; the lowest value comes first")
