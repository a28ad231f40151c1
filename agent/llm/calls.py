"""Behaviour written once for sync and async code: generators that yield calls, and drivers that make them in time.

The idea is that of "sans-io" protocol libraries: what is decided is separate from how the calls are made and awaited.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Generator
from contextvars import copy_context
from typing import Any, NamedTuple, TypeVar, cast

T = TypeVar("T")

GRACE = 1.0
"""Seconds that a cancelled call has to clean up."""


class Call(NamedTuple):
    """One call; its result is sent to the generator, and what it raises is raised in the generator."""

    run: Callable[[], Any]
    arun: Callable[[], Awaitable[Any]] | None = None
    """The same call as a coroutine; None for one that only blocks, which async code makes in a thread."""
    seconds: float | None = None
    """Seconds to wait for it; None for no limit."""


class Wait(NamedTuple):
    """A pause of so many seconds."""

    seconds: float


Steps = Generator[Call | Wait, Any, T]


def drive(steps: Steps[T]) -> T:
    """Make the calls of a generator in sync code and return what it returns.

    What a call raises is raised in the generator, which must let through what stops the graph: `GraphBubbleUp`, for
    example an interrupt.
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
            except Exception as error:  # noqa: BLE001 - raised in the generator
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        return cast("T", end.value)


async def adrive(steps: Steps[T]) -> T:
    """Make the calls of a generator in async code and return what it returns; see `drive`."""
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
            except SystemExit:  # in a task it would end the event loop
                step = steps.throw(CallEndedError("SystemExit"))
            except Exception as error:  # noqa: BLE001 - see `drive`
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        return cast("T", end.value)


class CallAbandonedError(TimeoutError):
    """A call ran out of time; it may still be running, and whether it had an effect is unknown."""


class CallEndedError(RuntimeError):
    """A call raised what would end its process or task, such as SystemExit."""


def call_within(seconds: float, call: Callable[[], T]) -> T:
    """Make a sync call in a thread of its own and wait at most so many seconds.

    Raises:
        CallAbandonedError: It took longer; its daemon thread goes on.
        CallEndedError: It raised SystemExit or the like.
    """
    outcome: list[T] = []
    raised: list[Exception] = []

    def run() -> None:
        try:
            outcome.append(context.run(call))
        except Exception as error:  # noqa: BLE001 - raised in the caller's thread
            raised.append(error)
        except BaseException as error:  # noqa: BLE001 - it ends this call only
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
    """Await a call for at most so many seconds, then cancel it; one that resists is left running.

    Raises:
        CallAbandonedError: It took longer.
        CallEndedError: It raised SystemExit or the like; a cancellation from outside stays one.
    """

    async def run() -> T:
        try:
            return await call
        except SystemExit:  # in a task it would end the event loop
            raise CallEndedError("SystemExit") from None

    task = asyncio.ensure_future(run())
    task.add_done_callback(
        lambda ended: ended.cancelled() or ended.exception()
    )  # or asyncio warns that it was never retrieved
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
    """Cancel a task and give it time to clean up."""
    task.cancel()
    await asyncio.wait({task}, timeout=GRACE)
