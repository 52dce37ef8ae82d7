"""Ctrl-C and a shutdown's SIGTERM, raised as KeyboardInterrupt where no lock gets lost by it."""

import _thread
import signal
import time
from types import FrameType

_LOCKING = frozenset({"threading", "multiprocessing.synchronize"})
_TAKING = frozenset(
    {"__enter__", "__exit__", "_acquire_restore", "_release_save", "_is_owned", "notify", "notify_all"}
)
_PATIENCE_S = 2.0
_RETRY_S = 0.005


class Interrupts:
    """Handlers of SIGINT and SIGTERM for a command; `install` in the main thread.

    Python may raise KeyboardInterrupt between the moment a condition variable's lock is taken and the
    moment its `with` block begins. The lock is then never given back, and whoever closes the queue behind
    it, as TensorBoard's writer does, waits for ever. An interrupt that comes there is raised a moment later.
    """

    def __init__(self) -> None:
        self._since: float | None = None

    def install(self) -> None:
        """Heed SIGTERM from now on, and SIGINT unless it is ignored, as in a script's background jobs."""
        if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
            signal.signal(signal.SIGINT, self.interrupt)
        # A shutdown's SIGTERM is to keep and mark finished parts as Ctrl-C does.
        signal.signal(signal.SIGTERM, self._terminate)

    def interrupt(self, _number: int, frame: FrameType | None) -> None:
        """Raise KeyboardInterrupt, or try again in a moment where a lock is being taken or given back."""
        now = time.monotonic()
        since = now if self._since is None else self._since
        if _takes_a_lock(frame) and now - since < _PATIENCE_S:
            self._since = since
            # Not `threading`: its own locks may be what was interrupted.
            _thread.start_new_thread(_raise_again, (_thread.get_ident(),))
            return
        self._since = None
        raise KeyboardInterrupt

    def _terminate(self, _number: int, _frame: FrameType | None) -> None:
        # A script's background jobs ignore Ctrl-C; they are to heed a shutdown all the same. Whoever holds
        # Ctrl-C back for a while holds this back, too.
        if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
            signal.signal(signal.SIGINT, self.interrupt)
        signal.raise_signal(signal.SIGINT)


def _takes_a_lock(frame: FrameType | None) -> bool:
    return (
        frame is not None and frame.f_code.co_name in _TAKING and frame.f_globals.get("__name__") in _LOCKING
    )


def _raise_again(main_thread: int) -> None:
    time.sleep(_RETRY_S)
    # To the thread itself: it may have begun to wait for something meanwhile, and is to wake up.
    signal.pthread_kill(main_thread, signal.SIGINT)
