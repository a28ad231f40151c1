"""How Ctrl-C and SIGTERM end the command: at the run's next checkpoint, or at once."""

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from types import FrameType
from typing import NoReturn

from plan_execute.graphs.cli.output import UNFINISHED, failure, print_json, warn

INTERRUPTED, TERMINATED, BROKEN_PIPE = 130, 143, 141
"""Exit status after a signal, as a shell counts it."""

GRACE_SECONDS = 8
"""How long SIGTERM waits for the call under way: a little less than the 10 s after which a container is killed."""


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived."""


class StopRequest:
    """A request to stop a run: the first signal asks it to end at its next checkpoint, the second ends the process."""

    def __init__(self, ask: Callable[[], None]) -> None:
        """Take what asks the run to end; it is called between any two instructions, so it may do next to nothing."""
        self.signal: KeyboardInterrupt | None = None
        """The first signal that arrived."""
        self._ask = ask
        self._deadline = math.inf
        self._announced = False

    def handle_signals(self) -> AbstractContextManager[None]:
        """Handle both signals while the block lasts."""
        return handle(self._handle, signal.SIGINT, signal.SIGTERM)

    def announcement(self) -> str | None:
        """What to say of a request that is new.

        Raises:
            KeyboardInterrupt: The time that SIGTERM leaves is up.
        """
        if self.signal and time.monotonic() > self._deadline:
            raise self.signal
        if self.signal is None or self._announced:
            return None
        self._announced = True
        if isinstance(self.signal, Terminated):
            return f"Stopping after the call under way, or in {GRACE_SECONDS} s."
        return "Stopping after the call under way; Ctrl-C again stops at once."

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        stop = Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
        if self.signal is not None:
            raise stop
        self.signal = stop
        if number == signal.SIGTERM:
            self._deadline = time.monotonic() + GRACE_SECONDS
        self._ask()


@contextmanager
def handle(handler: Callable[[int, FrameType | None], None], *numbers: int) -> Iterator[None]:
    """Handle signals while the block lasts; outside the main thread they are the host's, and ignored ones stay so."""
    ours = threading.current_thread() is threading.main_thread()
    numbers = tuple(number for number in numbers if ours and signal.getsignal(number) != signal.SIG_IGN)
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def sigterm_as_interrupt() -> AbstractContextManager[None]:
    """Make SIGTERM end the run as Ctrl-C does, while the block lasts."""
    return handle(_terminate, signal.SIGTERM)


def exit_now(
    stop: KeyboardInterrupt | OSError, message: str = "Interrupted.", *, as_json: bool, thread: str | None = None
) -> NoReturn:
    """End the process at once, because threads that wait for a model or for the checkpointer cannot be stopped."""
    with suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if isinstance(stop, KeyboardInterrupt):
        status = TERMINATED if isinstance(stop, Terminated) else INTERRUPTED
    elif isinstance(stop, BrokenPipeError):
        status, as_json, message = BROKEN_PIPE, False, ""
    else:
        status, as_json = UNFINISHED, False
        message = f"plan-execute: reading or writing failed: {stop.strerror or stop}"
    with suppress(OSError):
        if as_json:
            print_json(failure("interrupted", message, status="interrupted", thread=thread))
        if message:
            # A terminal has just echoed ^C.
            warn(f"\n{message}" if sys.stderr.isatty() else message)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    if servers := sys.modules.get("plan_execute.tools.mcp.servers"):
        servers.close_all()
    os._exit(status)


def _terminate(_signum: int, _frame: FrameType | None) -> NoReturn:
    raise Terminated
