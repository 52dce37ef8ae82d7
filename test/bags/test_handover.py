"""The queue between stages: order, bounds, closing from either side, failures."""

import threading

import pytest

from internimage_perception.bags.handover import Handover


def test_items_pass_in_order_and_the_giver_waits() -> None:
    queue: Handover[int] = Handover(2)
    given: list[int] = []

    def give() -> None:
        for number in range(50):
            assert queue.put(number)
            given.append(number)
        queue.close()

    thread = threading.Thread(target=give)
    thread.start()
    taken = []
    for number in queue:
        # At most what fits into the queue is ahead, and one on its way.
        assert len(given) <= number + 4
        taken.append(number)
    thread.join()
    assert taken == list(range(50))


def test_a_failure_comes_after_what_waits() -> None:
    queue: Handover[int] = Handover(5)
    queue.put(1)
    queue.close(ValueError("broken"))
    found = iter(queue)
    assert next(found) == 1
    with pytest.raises(ValueError, match="broken"):
        next(found)
    assert not queue.put(2)


def test_the_giver_learns_that_the_taker_is_gone() -> None:
    queue: Handover[int] = Handover(1)
    assert queue.put(1)
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(queue.put(2)))
    thread.start()
    queue.abandon()
    thread.join(5)
    assert answers == [False] and queue.closed
    assert list(queue) == []


def test_the_oldest_gives_way() -> None:
    dropped: list[int] = []
    queue: Handover[int] = Handover(2, on_drop=dropped.append)
    for number in range(5):
        assert queue.put(number)
    queue.close()
    assert list(queue) == [3, 4] and dropped == [0, 1, 2]
