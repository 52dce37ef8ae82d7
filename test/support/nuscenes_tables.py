"""Tables of nuScenes with one key frame, made of cameras and boxes."""

import json
from pathlib import Path

import numpy as np

from internimage_perception.geometry.poses import matrix_to_quaternion

CATEGORIES = {
    "car": "vehicle.car", "truck": "vehicle.truck", "trailer": "vehicle.trailer", "bus": "vehicle.bus.rigid",
    "construction_vehicle": "vehicle.construction", "bicycle": "vehicle.bicycle",
    "motorcycle": "vehicle.motorcycle", "pedestrian": "human.pedestrian.adult",
    "traffic_cone": "movable_object.trafficcone", "barrier": "movable_object.barrier",
    "other": "static_object.bicycle_rack",
}  # fmt: skip


def save(root: Path, tables: dict[str, list[dict]]) -> Path:
    folder = root / "v1.0-mini"
    folder.mkdir(parents=True, exist_ok=True)
    for name, records in tables.items():
        (folder / f"{name}.json").write_text(json.dumps(records))
    return root


def placed(matrix: np.ndarray) -> dict:
    x, y, z, w = matrix_to_quaternion(matrix[:3, :3]).tolist()
    return {"translation": matrix[:3, 3].tolist(), "rotation": [w, x, y, z]}


def tables_of(cameras: list[dict], boxes: list[dict]) -> dict[str, list[dict]]:
    """Return tables of one scene with one key frame.

    Args:
        cameras: file, channel, k, base_from_camera, global_from_base, size.
        boxes: category, global_from_box, wlh, points.
    """
    data, calibrations, sensors, poses = [], [], [], []
    for number, item in enumerate(cameras):
        token = f"{number}"
        sensors.append({"token": token, "channel": item["channel"], "modality": "camera"})
        calibrations.append(
            {
                "token": token,
                "sensor_token": token,
                "camera_intrinsic": item["k"],
                **placed(item["base_from_camera"]),
            }
        )
        poses.append({"token": token, "timestamp": number, **placed(item["global_from_base"])})
        data.append(
            {
                "token": token, "sample_token": "s", "ego_pose_token": token,
                "calibrated_sensor_token": token, "timestamp": number, "fileformat": "jpg",
                "is_key_frame": item.get("key", True), "filename": item["file"],
                "height": item["size"][0], "width": item["size"][1],
            }
        )  # fmt: skip
    annotations, instances = [], []
    for number, item in enumerate(boxes):
        instances.append({"token": f"i{number}", "category_token": item["category"]})
        annotations.append(
            {
                "token": f"a{number}", "sample_token": "s", "instance_token": f"i{number}",
                "size": item["wlh"], "num_lidar_pts": item["points"], "num_radar_pts": 0,
                **placed(item["global_from_box"]),
            }
        )  # fmt: skip
    names = sorted({item["category"] for item in boxes} | {"vehicle.car"})
    return {
        "sample_data": data, "calibrated_sensor": calibrations, "sensor": sensors, "ego_pose": poses,
        "sample": [{"token": "s", "scene_token": "c", "timestamp": 0}],
        "scene": [{"token": "c", "name": "scene-0061"}],
        "category": [{"token": name, "name": name} for name in names],
        "instance": instances, "sample_annotation": annotations,
    }  # fmt: skip
