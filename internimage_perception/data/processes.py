"""Work shared among processes, its results in order."""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import cv2

from internimage_perception.errors import PerceptionError

Task = TypeVar("Task")
Result = TypeVar("Result")

# What this worker process does with a task.
_do: Callable[[Any], Any] | None = None


def results_in_order(
    prepare: Callable[[], Callable[[Task], Result]],
    tasks: Sequence[Task],
    workers: int,
    *,
    ahead: int,
    name: str = "process",
) -> Iterator[Result]:
    """Yield what becomes of each task, in order, done here or by worker processes.

    Args:
        prepare: returns what does a task; every process calls it once. For several processes it is pickled,
            as are tasks and results.
        tasks: to do.
        workers: processes; up to one, and for a single task, the work is done here.
        ahead: tasks per process that are begun before their results are asked for: they keep every process
            busy, and fill the memory.
        name: of a process, for the complaint.

    Raises:
        PerceptionError: a process ended without an answer.
    """
    if workers <= 1 or len(tasks) <= 1:
        yield from map(prepare(), tasks)
        return
    # Spawned, not forked: Embree and OpenCV have threads that a fork would lose.
    context = multiprocessing.get_context("spawn")
    count = min(workers, len(tasks))
    with ProcessPoolExecutor(count, context, _start, (prepare,)) as pool:
        begun: deque[Future[Result]] = deque()
        try:
            for task in tasks:
                begun.append(pool.submit(_do_in_worker, task))
                if len(begun) > ahead * count:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        except BrokenProcessPool as error:
            message = f"a {name} ended unexpectedly (memory?); run again to go on, with fewer workers"
            raise PerceptionError(message) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _start(prepare: Callable[[], Callable[[Any], Any]]) -> None:
    global _do  # noqa: PLW0603  # multiprocessing gives a worker no other place for what it keeps
    cv2.setNumThreads(1)
    _do = prepare()


def _do_in_worker(task: Any) -> Any:  # noqa: ANN401  # what `_do` takes and returns
    if _do is None:
        raise RuntimeError
    return _do(task)
