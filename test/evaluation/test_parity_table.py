"""What a comparison proves, in words: every row names its bundle, nothing passes by being absent."""

from pathlib import Path

import pytest

from internimage_perception.evaluation.parity import Agreement
from internimage_perception.evaluation.parity_table import (
    Comparison,
    Missing,
    Row,
    as_document,
    failures,
    table,
)
from internimage_perception.evaluation.subject import Subject
from internimage_perception.inference.bundle import Bundle, ClassSpec, ExportSpec, InputSpec, OutputSpec


def subject(folder: str, spec: ExportSpec | None = None) -> Subject:
    """A bundle of the same name as all others here."""
    classes = (ClassSpec(0, "Road"),)
    return Subject(
        Bundle(
            Path(folder), "nano", "segmentation", {}, classes, InputSpec(480, 640), OutputSpec(), export=spec,
            provenance={"from": folder},
        ),
        folder,
    )  # fmt: skip


MODEL = subject("nano")
HALF = subject("e16", ExportSpec("fp16", (4, 4, 4), (480, 480, 480), (640, 640, 640)))
FREE = subject("edyn", ExportSpec("fp32", (1, 1, 8), (240, 480, 1440), (320, 640, 1920)))
WHOLE = subject("e8", ExportSpec("int8", (1, 1, 1), (480, 480, 480), (640, 640, 640)))


def row(item: Subject, backend: str, least: float = 1.0) -> Row:
    label = f"{item.label} {backend}"
    return Row(item, backend, Agreement(label, least, least, 0.1, 0.01, item.per_call, 20.0, 30.0, 1.5))


def test_exports_of_one_model_are_told_apart():
    items = (MODEL, HALF, FREE, WHOLE)
    assert [item.label for item in items] == [
        "nano",
        "e16 (fp16, 4 frames of 640x480)",
        "edyn (fp32, 1 to 8 frames of 320x240 to 1920x1440)",
        "e8 (int8, 1 frame of 640x480)",
    ]
    assert [item.per_call for item in items] == [1, 4, 1, 1]
    found = Comparison(
        [row(item, "onnxruntime-cpu") for item in items],
        [Missing(item, "tensorrt", f"none for {item.folder}") for item in items],
    )
    document = as_document(found)
    for key in ("backends", "not_run"):
        assert [item["bundle"] for item in document[key]] == ["nano", "e16", "edyn", "e8"]
        assert [item["identity"] for item in document[key]] == [item.bundle.identity() for item in items]
        assert len({item["identity"] for item in document[key]}) == 4
    assert [item["reason"] for item in document["not_run"]][1] == "none for e16"
    assert [item["frames_per_call"] for item in document["backends"]] == [1, 4, 1, 1]


def test_the_table_names_bundle_and_frames_per_call():
    found = Comparison(
        [row(MODEL, "torch-cpu"), row(HALF, "onnxruntime-cpu")], [Missing(HALF, "tensorrt", "none here")]
    )
    lines = table(found).splitlines()
    heads = "bundle backend same ids least max diff. mean diff. frames/call ms/frame p95 ms/frame faster"
    assert " ".join(lines[0].split()) == heads
    assert lines[1].startswith("nano  ") and lines[2].startswith("e16 (fp16, 4 frames of 640x480)  onnx")
    assert lines[2].split()[-4:] == ["4", "20.0", "30.0", "1.50x"]
    assert lines[3:] == ["e16 (fp16, 4 frames of 640x480) tensorrt: none here"]


def test_one_backend_alone_is_no_proof():
    found = Comparison([row(WHOLE, "tensorrt")], [], [row(WHOLE, "tensorrt", 0.97)])
    said = table(found)
    assert "NO INDEPENDENT REFERENCE: tensorrt alone ran here" in said
    assert "beside PyTorch's answers" in said and "97.0000%" in said
    assert as_document(found)["independent_reference"] is False
    assert list(failures(found, [WHOLE], [], 0.9)) == []
    (below,) = failures(found, [WHOLE], [], 0.99)
    assert below == "e8 (int8, 1 frame of 640x480) tensorrt falls below 99.0000%: 97.0000%"
    both = Comparison([row(WHOLE, "torch-cpu"), row(WHOLE, "tensorrt")])
    assert "NO INDEPENDENT" not in table(both) and as_document(both)["independent_reference"] is True


@pytest.mark.parametrize("least", [0.0, 0.99])
def test_least_needs_something_to_compare_with(least):
    alone = Comparison([row(WHOLE, "tensorrt")])
    (said,) = failures(alone, [WHOLE], [], least)
    assert said.startswith("nothing was compared with anything but itself")
    assert "only e8 (int8, 1 frame of 640x480) tensorrt ran" in said
    assert list(failures(alone, [WHOLE], [], None)) == []


def test_what_was_asked_for_must_have_run():
    found = Comparison(
        [row(MODEL, "onnxruntime-cpu"), row(MODEL, "torch-cpu")],
        [
            Missing(MODEL, "tensorrt", "no GPU"),
            Missing(HALF, "tensorrt", "no GPU"),
            Missing(HALF, "torch-cpu", "no weights"),
        ],
    )
    assert list(failures(found, [MODEL], ["onnxruntime-cpu", "torch-cpu"], 0.9)) == []
    assert list(failures(found, [MODEL, HALF], ["tensorrt", "torch-cpu"], None)) == [
        "tensorrt, named by --backends, ran for no bundle: no GPU",
        "e16 (fp16, 4 frames of 640x480) ran on no backend: tensorrt: no GPU; torch-cpu: no weights",
    ]
