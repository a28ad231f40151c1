"""A call that is abandoned when its time is up."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any, TypeVar

T = TypeVar("T")

GRACE = 1.0
"""Seconds that a cancelled call has for tidying up."""


class CallAbandonedError(TimeoutError):
    """The time for a call ran out; it may still be running, and whether it had an effect is unknown."""


class CallEndedError(RuntimeError):
    """A call raised what would end its whole process or task, such as SystemExit."""


def call_within(seconds: float, call: Callable[[], T]) -> T:
    """Make a sync call on a thread of its own and wait for it at most so long.

    Raises:
        CallAbandonedError: It took longer; the thread is left to itself and keeps no process alive.
        CallEndedError: It raised SystemExit or the like.
    """
    outcome: list[T] = []
    raised: list[Exception] = []

    def run() -> None:
        try:
            outcome.append(context.run(call))
        except Exception as error:  # noqa: BLE001 - handed over to the caller's thread
            raised.append(error)
        except BaseException as error:  # noqa: BLE001 - what ends a process or a task ends this call and no more
            raised.append(CallEndedError(type(error).__name__))

    context = copy_context()
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(max(seconds, 0))
    if raised:
        raise raised[0]
    if not outcome:
        raise CallAbandonedError(f"abandoned after {seconds:.1f} s")
    return outcome[0]


async def acall_within(seconds: float, call: Awaitable[T]) -> T:
    """Await a call at most so long; it is cancelled then, and left to itself if it does not let itself be cancelled.

    Raises:
        CallAbandonedError: It took longer.
        CallEndedError: It raised SystemExit or the like; being cancelled from outside stays a cancellation.
    """

    async def run() -> T:
        try:
            return await call
        except SystemExit:  # from a task it would end the loop
            raise CallEndedError("SystemExit") from None

    task = asyncio.ensure_future(run())
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # or asyncio warns that nobody looked
    try:
        done, _ = await asyncio.wait({task}, timeout=max(seconds, 0))
    except asyncio.CancelledError:
        await _cancel(task)
        raise
    if not done:
        await _cancel(task)
        raise CallAbandonedError(f"abandoned after {seconds:.1f} s")
    if task.cancelled():
        raise CallEndedError("CancelledError")
    return task.result()


async def _cancel(task: asyncio.Future[Any]) -> None:
    """Cancel a task and give it the time to tidy up."""
    task.cancel()
    await asyncio.wait({task}, timeout=GRACE)
