"""Backends beside each other: exact figures on answers that are known."""

import numpy as np
import pytest

from internimage_perception.errors import BackendError
from internimage_perception.evaluation.parity import Answers, Comparison, agreement, as_document, ask, table

FRAMES = [np.full((2, 4, 3), value, np.uint8) for value in (10, 20, 30)]


class Known:
    """Answers the frame's red channel, `wrong` pixels of it off by one class and `off` of confidence."""

    name = "known"
    prefers_batch = False

    def __init__(self, wrong: int = 0, off: int = 0) -> None:
        self.calls, self._wrong, self._off = 0, wrong, off

    def run(self, images):
        self.calls += 1
        ids = images[..., 0].copy()
        # Only the frame of value 20 is answered differently.
        ids.reshape(-1)[: self._wrong] += np.uint8(ids.flat[-1] == 20)
        return {"class_ids": ids, "confidence": images[..., 1] + np.uint8(self._off)}


def test_the_same_answers_agree_wholly():
    one = ask(Known(), "one", FRAMES)
    found = agreement(one, ask(Known(), "two", FRAMES))
    assert (found.label, found.identical, found.least, found.max_difference) == ("two", 1.0, 1.0, 0.0)
    assert found.median_ms > 0 and found.p95_ms >= found.median_ms and found.faster > 0


def test_differences_are_counted_per_frame():
    found = agreement(ask(Known(), "one", FRAMES), ask(Known(wrong=2, off=51), "two", FRAMES))
    assert found.least == 0.75
    assert found.identical == pytest.approx(11 / 12)
    assert found.max_difference == pytest.approx(0.2) == found.mean_difference


def test_probabilities_are_taken_as_they_are():
    def answers(value: float) -> Answers:
        values = {
            "class_ids": np.array([[1, 2]], np.int32),
            "probabilities": np.array([[value, 0.1]], np.float32),
        }
        return Answers("a", [values], [2.0])

    found = agreement(answers(0.5), answers(0.75))
    assert (found.max_difference, found.mean_difference) == pytest.approx((0.25, 0.125))


def test_pace_and_warm_up():
    backend = Known()
    answers = ask(backend, "a", FRAMES, least_calls=7)
    assert (len(answers.outputs), len(answers.calls_ms), backend.calls) == (3, 7, 9)
    slow, fast = (
        Answers("slow", answers.outputs, [30.0, 10.0, 20.0]),
        Answers("fast", answers.outputs, [5.0] * 3),
    )
    row = agreement(slow, fast)
    assert (row.median_ms, row.p95_ms, row.faster) == (5.0, 5.0, 4.0)


def test_other_models_are_refused():
    small = ask(Known(), "small", [FRAMES[0][:1]])
    with pytest.raises(BackendError, match=r"small answers \(1, 1, 4\) as class_ids, whole \(1, 2, 4\)"):
        agreement(ask(Known(), "whole", FRAMES[:1]), small)
    with pytest.raises(BackendError, match="no frames"):
        ask(Known(), "a", [])


def test_the_table_names_what_did_not_run():
    one = ask(Known(), "onnxruntime-cpu", FRAMES)
    found = Comparison([agreement(one, one)], {"tensorrt": "tensorrt cannot be imported"})
    lines = table(found).splitlines()
    assert " ".join(lines[0].split()) == "same ids least max diff. mean diff. median ms p95 ms faster"
    assert lines[1].split()[:3] == ["onnxruntime-cpu", "100.0000%", "100.0000%"] and lines[1].endswith(
        "1.00x"
    )
    assert lines[2] == "tensorrt: tensorrt cannot be imported"
    document = as_document(found)
    assert document["not_run"] == {"tensorrt": "tensorrt cannot be imported"}
    assert document["backends"][0]["identical"] == 1.0
