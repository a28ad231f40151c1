"""An MCP server with three tools: ask the agent, answer what a run waits for, list the threads."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import anyio
from langgraph.types import Command
from mcp.server.fastmcp import Context, FastMCP
from mcp.server.fastmcp.exceptions import ToolError
from mcp.types import ToolAnnotations

from plan_execute.agent.errors import PlanExecuteError
from plan_execute.agent.state import new_id
from plan_execute.graphs.adapters import describe_output
from plan_execute.graphs.persistence.checkpointer import Saver, describe_storage_error, storage_errors
from plan_execute.graphs.persistence.thread_lock import lock_thread
from plan_execute.graphs.persistence.threads import config_of, find_threads, read_snapshot
from plan_execute.graphs.plan_execute import PlanExecuteAgent

INSTRUCTIONS = (
    "Works on requests that take several steps: it plans them, carries the steps out with tools of its own, checks and "
    "answers. A run that waits for a person says what for; pass the person's answer on with `resume`."
)
Report = Callable[[float, float | None, str], None]
"""Takes how many milestones are done, of how many, and a sentence."""


def make_server(agent: PlanExecuteAgent, checkpointer: Saver, metadata: Mapping[str, Any]) -> FastMCP:
    """Make the server.

    Args:
        agent: The agent, with that checkpointer.
        checkpointer: A sync one, where its threads are stored.
        metadata: What is stored with each run.

    Returns:
        A server; `run("stdio")` serves one client until it leaves.
    """
    server: FastMCP = FastMCP("plan-execute", instructions=INSTRUCTIONS)
    runs = _Runs(agent, checkpointer, metadata)

    @server.tool(annotations=ToolAnnotations(readOnlyHint=False, destructiveHint=True))
    async def ask(request: str, context: Context[Any, Any, Any], thread: str | None = None) -> str:
        """Work on a request that takes several steps; it has to say everything that matters.

        `thread` continues the conversation of that name; without one the request begins a new thread.
        """
        name = thread or f"mcp-{new_id()}"
        given = {"messages": [("user", request)], "plan": None}
        return await _call(context, lambda report: runs.run(name, given, report))

    @server.tool(annotations=ToolAnnotations(readOnlyHint=False, destructiveHint=True))
    async def resume(thread: str, context: Context[Any, Any, Any], answer: str = "") -> str:
        """Answer what a thread waits for, or go on with a run that was interrupted.

        `answer` is "approve", "reject", "reject: why", words for a question or about a plan, or a decision as JSON.
        """
        return await _call(context, lambda report: runs.resume(thread, answer, report))

    @server.tool(annotations=ToolAnnotations(readOnlyHint=True, openWorldHint=False))
    async def threads() -> str:
        """List the stored threads, newest first, as JSON: objective, status, and whether each waits for an answer."""
        return await _call(None, lambda _: json.dumps(find_threads(checkpointer), ensure_ascii=False))

    return server


class _Runs:
    """Runs of the agent, one at a time on a thread."""

    def __init__(self, agent: PlanExecuteAgent, checkpointer: Saver, metadata: Mapping[str, Any]) -> None:
        self._agent = agent
        self._checkpointer = checkpointer
        self._metadata = dict(metadata)

    def run(self, thread: str, given: Any, report: Report) -> str:
        with lock_thread(self._checkpointer, thread):
            return self._follow(thread, given, report)

    def resume(self, thread: str, answer: str, report: Report) -> str:
        with lock_thread(self._checkpointer, thread):
            if (before := read_snapshot(self._checkpointer, thread)).finished:
                return f"Thread {thread!r} has nothing to resume. {describe_output(before.state)}"
            waiting = self._agent.get_state(config_of(thread)).interrupts
            if not waiting:
                return self._follow(thread, None, report)
            if not answer.strip():
                raise ToolError(f"Thread {thread!r} waits for an answer. {_describe_waiting(thread, waiting)}")
            return self._follow(thread, Command(resume={waiting[0].id: answer}), report)

    def _follow(self, thread: str, given: Any, report: Report) -> str:
        config: Any = {**config_of(thread), "metadata": self._metadata}
        planned, done = 0, 0
        events: Any = self._agent.stream(given, config, stream_mode="custom", durability="sync")
        for event in events:
            match event:
                case {"type": "plan_created" | "plan_revised", "added": added, "plan": {"strategy": strategy}}:
                    planned = done + len(added)
                    report(done, planned, f"Plan: {strategy}")
                case {"type": "milestone_finished", "status": status, "milestone": key}:
                    done += status == "completed"
                    report(done, planned or None, f"{key} {status}")
        state = self._agent.get_state(config_of(thread))
        if state.interrupts:
            return _describe_waiting(thread, state.interrupts)
        return f"{describe_output(state.values)}\n\n(Thread {thread!r}.)"


def _describe_waiting(thread: str, waiting: Any) -> str:
    value = waiting[0].value
    allowed = value["review_configs"][0]["allowed_decisions"] if "review_configs" in value else ["respond"]
    asked = value["action_requests"][0]["description"] if "action_requests" in value else str(value)
    more = f" ({len(waiting)} questions wait; this is the first.)" if len(waiting) > 1 else ""
    return (
        f"The run waits for a person's decision: {', '.join(allowed)}.{more}\n\n{asked}\n\n"
        f"(Thread {thread!r}: pass the answer on with `resume`.)"
    )


async def _call(context: Context[Any, Any, Any] | None, work: Callable[[Report], str]) -> str:
    """Do something in a thread of its own, and tell the client how it goes.

    Raises:
        ToolError: It cannot be done; one sentence says why.
    """

    def report(done: float, planned: float | None, text: str) -> None:
        if context is not None:
            anyio.from_thread.run(context.report_progress, done, planned, text)

    try:
        return await anyio.to_thread.run_sync(lambda: work(report), abandon_on_cancel=True)
    except PlanExecuteError as error:
        raise ToolError(str(error)) from None
    except storage_errors() as error:
        raise ToolError(f"The thread could not be stored: {describe_storage_error(error)}") from None
