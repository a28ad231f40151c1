"""Behaviour written once for sync and async code: a generator yields its calls and waits, and a driver makes them.

The idea is that of "sans-io" protocol libraries: what is decided is kept apart from how it waits.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator
from typing import Any, NamedTuple, TypeVar, cast

from langchain_core.runnables import Runnable, RunnableConfig

from plan_execute.agent.llm.timeout import CallEndedError, acall_within, call_within

T = TypeVar("T")


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
                result = _take(step)
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
                result = await _atake(step)
            except Exception as error:  # noqa: BLE001 - see `drive`
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        return cast("T", end.value)


class Node(Runnable[Any, Any]):
    """A graph's node or edge that is a plain function of the state: it runs on the event loop, untraced.

    LangGraph would make a function without a coroutine wait for a thread in async code, and LangChain would trace it
    inside the node's own span.
    """

    def __init__(self, function: Callable[[Any], Any], name: str | None = None) -> None:
        """Take a function that does not block; its name is the node's, unless another is given."""
        self.function = function
        self.name = name or function.__name__

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002 - its name
        """Call the function."""
        return self.function(input)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """Call the function."""
        return self.function(input)


def _take(step: Call | Wait) -> Any:
    if isinstance(step, Wait):
        return time.sleep(step.seconds)
    return step.run() if step.seconds is None else call_within(step.seconds, step.run)


async def _atake(step: Call | Wait) -> Any:
    if isinstance(step, Wait):
        return await asyncio.sleep(step.seconds)
    if step.arun is None:
        return await asyncio.to_thread(step.run)
    if step.seconds is not None:
        return await acall_within(step.seconds, step.arun())
    try:
        return await step.arun()
    except SystemExit:  # from a task it would end the event loop
        raise CallEndedError("SystemExit") from None
