"""Verdicts on a vehicle computer, and their reasons; ONNX Runtime takes the place of TensorRT."""

import dataclasses
import shutil

import numpy as np
import pytest
import yaml

from internimage_perception.errors import BackendError, BundleError
from internimage_perception.evaluation.acceptance import REFERENCE, TARGET, Demand, judge
from internimage_perception.evaluation.subject import Subject
from internimage_perception.inference.backends import create_backend
from internimage_perception.inference.bundle import Bundle, InputSpec, sha256_of
from internimage_perception.inference.check_frames import CHECK, patterned_frames, stored_check

FRAMES = list(patterned_frames(np.random.default_rng(3), (3, 40, 48, 3)))


class Wrong:
    """A backend that calls the first pixels of each frame something else."""

    prefers_batch = False

    def __init__(self, backend, pixels: int) -> None:
        self.name, self._backend, self._pixels = "wrong", backend, pixels

    def run(self, images):
        answers = self._backend.run(images)
        ids = answers["class_ids"].copy()
        ids.reshape(len(ids), -1)[:, : self._pixels] ^= 1
        return {**answers, "class_ids": ids}


def creator(wrong: int = 0, lacking: str = ""):
    def create(name: str, bundle: Bundle):
        if name == lacking:
            raise BackendError(f"{name} is not installed")
        backend = create_backend("onnxruntime-cpu", bundle)
        return Wrong(backend, wrong) if wrong and name == TARGET else backend

    return create


@pytest.fixture
def checked(brightness_bundle, tmp_path):
    """A bundle that brings frames and answers along, as exports do."""
    root = shutil.copytree(brightness_bundle, tmp_path / "checked")
    frames = np.stack(FRAMES)
    answers = create_backend("onnxruntime-cpu", Bundle.load(root)).run(frames)
    np.savez_compressed(root / CHECK, frames=frames, **answers)
    manifest = yaml.safe_load((root / "model.yaml").read_text())
    manifest["files"][CHECK] = sha256_of(root / CHECK)
    (root / "model.yaml").write_text(yaml.safe_dump(manifest))
    return Subject.load(root)


def test_the_same_answers_are_accepted(brightness_bundle):
    verdict = judge(Subject.load(brightness_bundle), Demand(cameras=4), creator(), FRAMES)
    assert verdict.reasons == [] and verdict.agreement.least == 1.0
    assert verdict.frames == "3 of the given bags" and verdict.least == 0.999
    assert 0 < verdict.set_ms[0] <= verdict.set_ms[1] and verdict.ready_s >= 0
    document = verdict.to_dict()
    assert document["accepted"] is True and document["set_ms"]["p95"] == verdict.set_ms[1]
    assert document["limits"] == {"least": 0.999, "set_p95_ms": None}


def test_a_verdict_names_folder_identity_and_frames(checked):
    manifest = yaml.safe_load((checked.bundle.root / "model.yaml").read_text())
    manifest["export"] = {
        "precision": "int8", "batch": [1, 2, 4], "height": [40, 40, 40], "width": [48, 48, 48],
    }  # fmt: skip
    (checked.bundle.root / "model.yaml").write_text(yaml.safe_dump(manifest))
    export = Subject.load(checked.bundle.root)
    document = judge(export, Demand(rate_hz=0.5), creator(wrong=40)).to_dict()
    assert document["bundle"] == document["path"] == str(checked.bundle.root)
    assert (document["name"], document["precision"]) == ("brightness", "int8")
    assert document["identity"] == Bundle.load(checked.bundle.root).identity()
    assert document["export"] == {"batch": [1, 2, 4], "height": [40, 40, 40], "width": [48, 48, 48]}
    # 40 of 1920 pixels: too many for fp32, few enough for int8.
    assert document["limits"] == {"least": 0.95, "set_p95_ms": 2000.0} and document["reasons"] == []
    strict = judge(export, Demand(least=0.999), creator(wrong=40))
    assert strict.to_dict()["limits"]["least"] == 0.999 and "99.900% are asked for" in strict.reasons[0]


def test_a_classifiers_patterns_have_its_inputs_size(brightness_bundle):
    shapes = []

    class Seen(Wrong):
        def run(self, images):
            shapes.append(images.shape)
            return super().run(images)

    bundle = Bundle.load(brightness_bundle)
    ranking = dataclasses.replace(bundle, task="classification", input=InputSpec(24, 32))
    create = lambda *_: Seen(create_backend("onnxruntime-cpu", bundle), 0)
    verdict = judge(Subject(ranking, "ranking"), Demand(), create)
    assert set(shapes) == {(1, 24, 32, 3)} and verdict.frames.startswith("4 patterns of 32x24")


def test_too_many_wrong_pixels_are_not(brightness_bundle):
    bundle = Subject.load(brightness_bundle)
    few = judge(bundle, Demand(), creator(wrong=1), FRAMES)
    assert few.reasons == [] and few.agreement.least == pytest.approx(1 - 1 / (40 * 48))
    many = judge(bundle, Demand(), creator(wrong=4), FRAMES)
    assert many.reasons == [
        "only 99.792% of a frame's class ids are those of onnxruntime-cpu, 99.900% are asked for"
    ]
    assert judge(bundle, Demand(least=0.9), creator(wrong=4), FRAMES).reasons == []


def test_too_slow_is_not(brightness_bundle):
    verdict = judge(Subject.load(brightness_bundle), Demand(cameras=2, rate_hz=1e9), creator(), FRAMES)
    assert len(verdict.reasons) == 1 and verdict.reasons[0].startswith("2 frames take ")
    assert judge(Subject.load(brightness_bundle), Demand(rate_hz=0.001), creator(), FRAMES).reasons == []


def test_stored_answers_serve_without_the_reference(checked):
    verdict = judge(checked, Demand(), creator(lacking=REFERENCE))
    assert verdict.frames == "3 stored with the export" and verdict.reasons == []
    assert verdict.agreement.least == 1.0 and verdict.agreement.faster is None
    wrong = judge(checked, Demand(), creator(wrong=9, lacking=REFERENCE))
    assert "those of PyTorch, stored" in wrong.reasons[0]


def test_what_is_missing_is_a_reason(brightness_bundle):
    bundle = Subject.load(brightness_bundle)
    verdict = judge(bundle, Demand(), creator(lacking=TARGET), FRAMES)
    assert verdict.reasons == ["no engine: tensorrt is not installed"] and verdict.agreement is None
    verdict = judge(bundle, Demand(), creator(lacking=REFERENCE), FRAMES)
    assert verdict.reasons == ["nothing to compare with: onnxruntime-cpu is not installed"]
    assert verdict.set_ms is not None


def test_damaged_stored_frames_are_named(checked):
    path = checked.bundle.root / CHECK
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(BundleError, match=r"check\.npz cannot be read"):
        stored_check(checked.bundle)
    np.savez_compressed(path, frames=np.stack(FRAMES), class_ids=np.zeros((2, 4, 4), np.uint8))
    with pytest.raises(BundleError, match="do not fit each other"):
        stored_check(checked.bundle)
