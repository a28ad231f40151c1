"""Behaviour written once for sync and async code: generators that yield calls, and drivers that make them in time.

The idea is that of "sans-io" protocol libraries: what is decided is separate from how the calls are made and awaited.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar, cast

from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda

T = TypeVar("T")
_E = TypeVar("_E", bound=BaseException)

GRACE = 1.0
"""Seconds that a cancelled call has to clean up."""


class Call(NamedTuple):
    """One call; its result is sent to the generator, and what it raises is raised in the generator."""

    run: Callable[[], Any]
    arun: Callable[[], Awaitable[Any]] | None = None
    """The same call as a coroutine; None for one that only blocks, which async code makes in a thread of its own."""
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
                    time.sleep(max(step.seconds, 0))
                else:
                    result = step.run() if step.seconds is None else call_within(step.seconds, step.run)
            except Exception as error:  # noqa: BLE001 - raised in the generator
                step = steps.throw(_as_raisable(error))
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
                    await asyncio.sleep(max(step.seconds, 0))
                else:
                    made = in_thread(step.run) if step.arun is None else step.arun()
                    result = await (made if step.seconds is None else acall_within(step.seconds, made))
            except SystemExit:  # in a task it would end the event loop
                step = steps.throw(CallEndedError("SystemExit"))
            except Exception as error:  # noqa: BLE001 - see `drive`
                step = steps.throw(_as_raisable(error))
            else:
                step = steps.send(result)
    except StopIteration as end:
        return cast("T", end.value)


class SubgraphNode(RunnableLambda[Any, Any]):
    """A node that runs a subgraph: a `RunnableLambda`, in which LangGraph finds it, but without a trace of its own."""

    def __init__(
        self, subgraph: Runnable[Any, Any], steps: Callable[[Any, RunnableConfig], Steps[Any]], name: str
    ) -> None:
        """Wrap a subgraph.

        Args:
            subgraph: What the steps call.
            steps: The node, given its input and its config.
            name: The node's.
        """
        super().__init__(lambda _: subgraph, name=name)
        self._steps = steps

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002 - its name
        """Drive the steps in sync code."""
        return drive(self._steps(input, config or {}))

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """Drive the steps in async code."""
        return await adrive(self._steps(input, config or {}))

    # Those of `RunnableLambda` would stream the subgraph itself, past what the node does around it.
    stream, astream, transform, atransform = Runnable.stream, Runnable.astream, Runnable.transform, Runnable.atransform


class CallAbandonedError(TimeoutError):
    """A call ran out of time; it may still be running, and whether it had an effect is unknown."""


class NoTimeLeftError(CallAbandonedError):
    """A call was not made, because it would have to wait for longer than there is time."""

    def __init__(self, wait: float, left: float, cause: str = "") -> None:
        """Take the seconds to wait, the seconds left, and what the last try ended with."""
        said = f"{cause} " if cause else ""
        super().__init__(f"{said}(another try has to wait {wait:g} s, and {max(left, 0):.3g} s are left)")


class CallEndedError(RuntimeError):
    """A call raised what would end its process or task, such as SystemExit."""


def call_within(seconds: float, call: Callable[[], T]) -> T:
    """Make a sync call in a thread of its own and wait at most so many seconds.

    Raises:
        CallAbandonedError: It took longer; its daemon thread goes on.
        CallEndedError: It raised SystemExit or the like.
        KeyboardInterrupt: It raised that, which ends the run as Ctrl-C does.
    """
    ended = threading.Event()
    outcome = _start(call, ended.set)
    if not ended.wait(min(max(seconds, 0), threading.TIMEOUT_MAX)):
        raise CallAbandonedError(f"abandoned after {seconds:.1f} s")
    return outcome.result()


async def in_thread(call: Callable[[], T]) -> T:
    """Make a sync call in a thread of its own and await it.

    Not in the event loop's executor, where LangChain runs sync tools and models: calls that hang would fill its few
    threads, hold up whatever else the loop runs, and keep the program from ending.

    Raises:
        CallEndedError: It raised SystemExit or the like.
        KeyboardInterrupt: It raised that.
    """
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def tell() -> None:
        with suppress(RuntimeError):  # nobody waits any more: the loop is closed
            loop.call_soon_threadsafe(ended.set)

    outcome = _start(call, tell)
    await ended.wait()
    return outcome.result()


@dataclass
class _Outcome(Generic[T]):
    """What became of a call in a thread."""

    value: T | None = None
    error: BaseException | None = None

    def result(self) -> T:
        """Return what the call returned, or raise what it raised."""
        if self.error is not None:
            raise self.error
        return cast("T", self.value)


def _start(call: Callable[[], T], tell: Callable[[], None]) -> _Outcome[T]:
    """Start a call in a daemon thread, in the caller's context; `tell` is called when the outcome is there."""
    outcome, context = _Outcome[T](), copy_context()

    def run() -> None:
        try:
            outcome.value = context.run(call)
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - raised where the call was made
            outcome.error = _as_raisable(error)
        except BaseException as error:  # noqa: BLE001 - it ends this call only
            outcome.error = CallEndedError(type(error).__name__)
        tell()

    threading.Thread(target=run, daemon=True).start()
    return outcome


def _as_raisable(error: _E) -> _E | RuntimeError:
    """Return an error that generators and coroutines let through: to them StopIteration means that they are done."""
    if isinstance(error, StopIteration | StopAsyncIteration):
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


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
