"""Ctrl-C never costs a lock, always ends what runs, and comes through while something waits."""

import functools
import queue
import signal
import subprocess
import sys
import threading
import time

import pytest

from internimage_perception.cli.interrupts import Interrupts


@pytest.fixture
def handlers():
    """Give a function that installs handlers; put the former ones back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield lambda: Interrupts().install()
    for number, handler in before.items():
        signal.signal(number, handler)


class PressedWhileTaken:
    """A lock that is never taken, and whose taking is the very moment of a Ctrl-C."""

    __enter__ = staticmethod(functools.partial(signal.raise_signal, signal.SIGINT))

    def __init__(self):
        self.given_back = 0

    def acquire(self, *_):
        return True

    def release(self):
        """Give it back; `threading.Condition` wants it."""

    def __exit__(self, *_):
        self.given_back += 1


def run_into_it(body):
    lock = PressedWhileTaken()
    with pytest.raises(KeyboardInterrupt):
        wait_inside(threading.Condition(lock), body)
    return lock


def wait_inside(condition, body):
    with condition:
        body.append("begun")
        time.sleep(20)


def test_a_lock_that_is_being_taken_is_given_back(handlers):
    handlers()
    began, body = time.monotonic(), []
    assert run_into_it(body).given_back == 1
    # The interrupt came inside the block, and woke it up.
    assert body == ["begun"] and time.monotonic() - began < 15


@pytest.mark.usefixtures("handlers")
def test_without_these_handlers_it_is_lost():
    signal.signal(signal.SIGINT, signal.default_int_handler)
    body = []
    assert run_into_it(body).given_back == 0
    assert body == []


def test_elsewhere_it_comes_at_once(handlers):
    handlers()
    for number in (signal.SIGINT, signal.SIGTERM):
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)


def test_what_waits_for_a_lock_that_never_comes_is_ended(handlers, monkeypatch):
    monkeypatch.setattr("internimage_perception.cli.interrupts._PATIENCE_S", 0.1)
    handlers()
    lock = threading.Lock()
    lock.acquire()
    threading.Timer(0.1, signal.pthread_kill, (threading.get_ident(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt), threading.Condition(lock):
        pass


def test_queues_survive_many(handlers):
    """Somebody who presses Ctrl-C all the time, while a queue goes in circles."""
    handlers()
    waiting, over = queue.Queue(), threading.Event()
    main = threading.get_ident()

    def press():
        while not over.wait(0.001):
            signal.pthread_kill(main, signal.SIGINT)

    presser = threading.Thread(target=press)
    presser.start()
    pressed, end = 0, time.monotonic() + 3
    try:
        while time.monotonic() < end:
            try:
                while time.monotonic() < end:
                    waiting.put(1)
                    waiting.get()
            except KeyboardInterrupt:
                pressed += 1
                assert waiting.mutex.acquire(timeout=5), "the queue's lock is lost"
                waiting.mutex.release()
    except KeyboardInterrupt:
        pressed += 1
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        over.set()
        presser.join()
        time.sleep(0.1)  # what was put off has come, too
    assert pressed > 10


@pytest.mark.parametrize(
    ("ignored", "number", "code"), [(False, "SIGINT", 9), (True, "SIGTERM", 9), (True, "SIGINT", 0)]
)
def test_background_jobs_heed_shutdowns_alone(ignored, number, code):
    script = (
        "import signal, sys\n"
        f"if {ignored}: signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "else: signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from internimage_perception.cli.interrupts import Interrupts\n"
        "Interrupts().install()\n"
        "try:\n"
        f"    signal.raise_signal(signal.{number})\n"
        "except KeyboardInterrupt:\n"
        "    sys.exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == code
