"""Calls: behaviour written once for sync and async code, whose calls are abandoned when their time is up.

What decides is a generator that yields its calls and waits; a driver makes them. The idea is that of protocol libraries
without input and output ("sans-io"): what is decided is kept apart from how it waits.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Generator
from contextvars import copy_context
from typing import Any, NamedTuple, TypeVar, cast

T = TypeVar("T")

GRACE = 1.0
"""Seconds that a cancelled call has for tidying up."""


class Call(NamedTuple):
    """One call; its result is sent back into the generator, and what it raises is raised there."""

    run: Callable[[], Any]
    arun: Callable[[], Awaitable[Any]] | None = None
    """The same as a coroutine; None for a call that blocks and has none: async code makes it in a thread."""
    seconds: float | None = None
    """How long to wait for it; None for as long as it takes."""


class Wait(NamedTuple):
    """So many seconds before going on."""

    seconds: float


Steps = Generator[Call | Wait, Any, T]


def drive(steps: Steps[T]) -> T:
    """Make the calls of a generator in sync code and return what it returns.

    What a call raises is raised in the generator, also what stops the graph (`GraphBubbleUp`, such as an interrupt),
    which a generator lets through.
    """
    try:
        step = next(steps)
        while True:
            try:
                result: Any = None
                if isinstance(step, Wait):
                    time.sleep(step.seconds)
                else:
                    result = step.run() if step.seconds is None else call_within(step.seconds, step.run)
            except Exception as error:  # noqa: BLE001 - the generator decides what it means
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        return cast("T", end.value)


async def adrive(steps: Steps[T]) -> T:
    """Do what `drive` does, in async code."""
    try:
        step = next(steps)
        while True:
            try:
                result: Any = None
                if isinstance(step, Wait):
                    await asyncio.sleep(step.seconds)
                elif step.arun is None:
                    result = await asyncio.to_thread(step.run)
                elif step.seconds is None:
                    result = await step.arun()
                else:
                    result = await acall_within(step.seconds, step.arun())
            except SystemExit:  # from a task it would end the event loop
                step = steps.throw(CallEndedError("SystemExit"))
            except Exception as error:  # noqa: BLE001 - see `drive`
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        return cast("T", end.value)


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
