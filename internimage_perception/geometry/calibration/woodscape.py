"""The JSON file that the WoodScape data set has for each image."""

import yaml

from internimage_perception.geometry import poses
from internimage_perception.geometry.calibration.calibration import CalibratedCamera, Wanted
from internimage_perception.geometry.calibration.document import Document, keys_of
from internimage_perception.geometry.calibration.values import build, pixel_count
from internimage_perception.geometry.fisheye import WoodScapeCamera
from internimage_perception.geometry.yaml_section import Section

NAME = "WoodScape"
SIGNS = "intrinsic with k1, cx_offset, ..."


def matches(outline: dict[str, yaml.Node]) -> bool:
    """Return whether the top-level keys are those of this format."""
    return bool({"cx_offset", "aspect_ratio", "poly_order"} & keys_of(outline.get("intrinsic")).keys())


def read(document: Document, wanted: Wanted) -> list[CalibratedCamera]:
    """Return the camera; its pose is in the frame `vehicle`: ISO 8855, rear axle, on the ground.

    u = (k1 theta + k2 theta^2 + k3 theta^3 + k4 theta^4) x / rho + cx_offset + width / 2 - 1/2, likewise v
    with the radius times aspect_ratio.
    """
    top = document.section(NAME)
    lens = top.section("intrinsic")
    if "model" in lens and (model := lens.text("model")) != "radial_poly":
        raise lens.error("model", f"is {model!r}; only radial_poly is known")
    if "poly_order" in lens and (order := lens.number("poly_order")) != 4:
        raise lens.error("poly_order", f"is {order:g}; only polynomials with k1 to k4 are known")
    k1, k2, k3, k4 = (lens.number(key) for key in ("k1", "k2", "k3", "k4"))
    if k1 <= 0.0:
        raise lens.error("k1", f"must be greater than 0, not {k1:g}")
    aspect = lens.number("aspect_ratio")
    width, height = pixel_count(lens, "width"), pixel_count(lens, "height")
    parameters = {
        "width": width, "height": height, "fx": k1, "fy": k1 * aspect,
        "cx": lens.number("cx_offset") + width / 2 - 0.5,
        "cy": lens.number("cy_offset") + height / 2 - 0.5,
        "d": (k2 / k1, k3 / k1, k4 / k1),
    }  # fmt: skip
    places = {"fy": "aspect_ratio", "d": "k1", "": ""}
    camera = build(lens, WoodScapeCamera, parameters, places)
    return [
        CalibratedCamera(
            name=top.text("name", wanted.stem),
            camera=camera,
            poses={"vehicle": _pose(top.section("extrinsic"))} if "extrinsic" in top else {},
        )
    ]


def _pose(section: Section) -> poses.Floats:
    try:
        rotation = poses.quaternion_to_matrix(section.numbers("quaternion", 4))
    except poses.PoseError as error:
        raise section.error("quaternion", str(error)) from error
    return poses.pose(section.numbers("translation", 3), rotation)
