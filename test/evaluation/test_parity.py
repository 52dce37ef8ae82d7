"""Backends beside each other: exact figures on answers that are known."""

import numpy as np
import pytest

from internimage_perception.errors import BackendError
from internimage_perception.evaluation.parity import Answers, agreement, ask

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


def ranked(ids, probabilities) -> Answers:
    """One frame of a classifier."""
    values = {
        "class_ids": np.array([ids], np.int32), "probabilities": np.array([probabilities], np.float32)
    }  # fmt: skip
    return Answers("a", [values], [2.0])


def test_probabilities_are_taken_as_they_are():
    found = agreement(ranked([1, 2], [0.5, 0.1]), ranked([1, 2], [0.75, 0.1]))
    assert (found.max_difference, found.mean_difference) == pytest.approx((0.25, 0.125))


def test_a_classifiers_ranks_count_by_class():
    usual = ranked([4, 7, 1], [0.5, 0.3, 0.1])
    # The last ranks may come in any order.
    tail = agreement(usual, ranked([4, 1, 7], [0.5, 0.25, 0.2]))
    assert (tail.identical, tail.least) == (1.0, 1.0) and tail.max_difference == pytest.approx(0.15)
    assert agreement(usual, ranked([7, 4, 1], [0.5, 0.3, 0.1])).identical == 0.0
    # Half a percent apart, either may be first.
    assert agreement(ranked([4, 7], [0.4, 0.398]), ranked([7, 4], [0.4, 0.398])).identical == 1.0
    assert agreement(ranked([4, 7], [0.4, 0.39]), ranked([7, 4], [0.4, 0.39])).identical == 0.0
    # A class that only one of them names has at most the other's last probability.
    unnamed = agreement(usual, ranked([4, 7, 9], [0.5, 0.3, 0.15]))
    assert unnamed.max_difference == pytest.approx(0.05) and unnamed.mean_difference == pytest.approx(0.0125)


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


def test_calls_are_filled_with_frames_of_one_size():
    batches = []

    class Seen(Known):
        def run(self, images):
            batches.append(images[:, 0, 0, 0].tolist())
            return super().run(images)

    frames = [*FRAMES, np.full((4, 4, 3), 99, np.uint8), *(np.full((2, 4, 3), v, np.uint8) for v in (40, 50))]
    answers = ask(Seen(), "a", frames, least_calls=1, per_call=4)
    assert batches[2:] == [[10, 20, 30, 40], [50, 10, 20, 30], [99, 99, 99, 99]]
    assert [item["class_ids"].shape for item in answers.outputs] == [(1, 2, 4)] * 3 + [(1, 4, 4)] + [
        (1, 2, 4)
    ] * 2
    assert [item["class_ids"].flat[0] for item in answers.outputs] == [10, 20, 30, 99, 40, 50]


def test_milliseconds_are_of_a_frame():
    outputs = ask(Known(), "a", FRAMES).outputs
    row = agreement(Answers("one", outputs, [30.0]), Answers("four", outputs, [80.0, 80.0], 4))
    assert (row.frames_per_call, row.median_ms, row.p95_ms, row.faster) == (4, 20.0, 20.0, 1.5)
