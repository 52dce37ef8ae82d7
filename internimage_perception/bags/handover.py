"""A queue between two stages of the replay: bounded, closable, carrying failures along."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Handover(Generic[_T]):
    """Passes items from one thread to another.

    Args:
        size: items that may wait.
        on_drop: when given, the oldest item gives way to a new one in a full queue, and is handed here
            (a vehicle that cannot keep up); otherwise the giver waits (a file to be read to its end).
    """

    def __init__(self, size: int, on_drop: Callable[[_T], None] | None = None) -> None:
        self._size = size
        self._on_drop = on_drop
        self._items: deque[_T] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._failure: BaseException | None = None

    @property
    def closed(self) -> bool:
        """Whether one side has ended the queue."""
        return self._closed

    def put(self, item: _T) -> bool:
        """Give an item; returns False when the taker is gone."""
        with self._changed:
            while len(self._items) >= self._size and not self._closed:
                if self._on_drop is not None:
                    self._on_drop(self._items.popleft())
                else:
                    self._changed.wait()
            if self._closed:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def close(self, failure: BaseException | None = None) -> None:
        """End the queue; what waits is still handed out, then `failure` is raised at the taker."""
        with self._changed:
            self._closed = True
            self._failure = self._failure or failure
            self._changed.notify_all()

    def abandon(self) -> None:
        """End the queue from the taker's side; the giver learns it from `put`."""
        with self._changed:
            self._items.clear()
            self._closed = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[_T]:
        """Yield items until the queue is closed and empty."""
        while True:
            with self._changed:
                while not self._items and not self._closed:
                    self._changed.wait()
                if not self._items:
                    if self._failure is not None:
                        raise self._failure
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item
