"""What all commands share: how they end, what they say to somebody who called them wrong, what --json prints.

Imports nothing heavy, so that a command line that makes no sense is refused at once.
"""

import argparse
import json
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

COMPLETED, UNFINISHED, MISUSE = 0, 1, 2
"""Exit status: what was asked for was done; the run was aborted or is partial; the call cannot work."""
INTERRUPTED, TERMINATED, BROKEN_PIPE = 130, 143, 141
"""Exit status after a signal, as a shell counts it."""

GRACE_SECONDS = 8
"""How long SIGTERM waits for what is under way: a little less than the 10 s after which a container is killed."""

KEYS = ("status", "answer", "error", "objective", "plan", "milestones", "usage", "log")
"""What a run's JSON document holds of its state; beside it, the name of the thread."""


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived."""


class StopRequest:
    """The wish to stop a run: the first signal asks it to end at its next checkpoint, the second ends the process."""

    def __init__(self, ask: Callable[[], None]) -> None:
        """Take what asks the run to end; called between any two instructions, so it may do next to nothing."""
        self.wish: KeyboardInterrupt | None = None
        self._ask = ask
        self._until = math.inf
        self._told = False

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Hear the signals; outside the main thread they are somebody else's, and what is ignored stays ignored."""
        heard = threading.current_thread() is threading.main_thread()
        numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if heard and signal.getsignal(n) != signal.SIG_IGN]
        before = {number: signal.signal(number, self._hear) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def news(self) -> str | None:
        """What to say of a wish that is new.

        Raises:
            KeyboardInterrupt: The time that SIGTERM leaves is up.
        """
        if self.wish and time.monotonic() > self._until:
            raise self.wish
        if self.wish is None or self._told:
            return None
        self._told = True
        if isinstance(self.wish, Terminated):
            return f"Stopping after the call under way, or in {GRACE_SECONDS} s."
        return "Stopping after the call under way; Ctrl-C again stops at once."

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        stop = Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
        if self.wish is not None:
            raise stop
        self.wish = stop
        if number == signal.SIGTERM:
            self._until = time.monotonic() + GRACE_SECONDS
        self._ask()


class Parser(argparse.ArgumentParser):
    """Reads a command line; one that makes no sense ends in status 2 with a sentence, if asked for as JSON, too."""

    def __init__(self, *, as_json: bool, **settings: Any) -> None:
        """Take what `argparse` takes, and whether --json is on the command line."""
        super().__init__(**settings, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
        self._as_json = as_json

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        if self._as_json:
            print_json(failure("misuse", message))
        super().error(message)


def document(state: Mapping[str, Any], thread: str | None) -> dict[str, Any]:
    """What --json prints of a run."""
    return {**{key: state.get(key) for key in KEYS}, "thread": thread}


def failure(code: str, message: str, *, status: str | None = None, thread: str | None = None) -> dict[str, Any]:
    """What --json prints where there is no state of a run to print: the same keys, most of them null."""
    error = {"code": code, "message": message, "milestone": None, "replans": 0}
    return document({"status": status, "error": error}, thread)


def print_json(value: object) -> None:
    """Print a JSON document."""
    print(json.dumps(value, indent=2))


def refuse(error: Exception | str, *, as_json: bool, code: str = "misuse", status: int = MISUSE) -> int:
    """Say in one sentence what cannot work, and give the exit status."""
    if as_json:
        print_json(failure(code, str(error)))
    print(f"plan-execute: {error}", file=sys.stderr)
    return status


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Make SIGTERM end the run as Ctrl-C does; outside the main thread the signals are somebody else's."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def exit_now(
    stop: KeyboardInterrupt | OSError, words: str = "Interrupted.", *, as_json: bool, thread: str | None = None
) -> NoReturn:
    """End the process at once, because threads that wait for a model or hold the checkpointer cannot be stopped."""
    with suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if isinstance(stop, KeyboardInterrupt):
        status = TERMINATED if isinstance(stop, Terminated) else INTERRUPTED
    elif isinstance(stop, BrokenPipeError):
        status, as_json, words = BROKEN_PIPE, False, ""
    else:
        status, as_json = UNFINISHED, False
        words = f"plan-execute: reading or writing failed: {stop.strerror or stop}"
    with suppress(OSError):
        if as_json:
            print_json(failure("interrupted", words, status="interrupted", thread=thread))
        if words:
            # A terminal has just echoed ^C.
            print(f"\n{words}" if sys.stderr.isatty() else words, file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(status)


def _terminate(_signum: int, _frame: FrameType | None) -> NoReturn:
    raise Terminated
