"""A run of the command: shown until it ends, waits for a person, or is stopped."""

import queue
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphDrained
from langgraph.runtime import RunControl
from langgraph.types import Command, Interrupt

from plan_execute.agent.context import Context
from plan_execute.agent.errors import PlanExecuteError
from plan_execute.agent.interrupts import REVIEW_PLAN
from plan_execute.agent.state import RunState
from plan_execute.graphs.cli.command import COMPLETED, UNFINISHED, StopRequest, document, exit_now, print_json, refuse
from plan_execute.graphs.cli.display import Line, Screen
from plan_execute.graphs.cli.options import Options, resume_command, stored_options
from plan_execute.graphs.cli.terminal_prompts import TerminalPrompts
from plan_execute.graphs.persistence.checkpointer import describe_storage_error, storage_errors
from plan_execute.graphs.plan_execute import PlanExecuteAgent


def run_until_done(
    agent: PlanExecuteAgent,
    given: Any,
    options: Options,
    screen: Screen,
    *,
    context: Context | None = None,
    dialog: TerminalPrompts | None = None,
) -> int:
    """Pursue a run with a ready agent (it needs a checkpointer) until it ends or waits, and give the exit status.

    Args:
        agent: The agent.
        given: What the run begins with; None to go on with one that was interrupted.
        options: What was asked for.
        screen: Where the run is shown.
        context: Settings that are to win over those frozen when the run began.
        dialog: How a person is asked what the run waits for; None where nobody can be.
    """
    thread: dict[str, Any] = {"thread_id": options.thread or "request"}
    config: RunnableConfig = {"configurable": thread, "metadata": stored_options(options)}
    seconds = 0.0
    try:
        while True:
            begun = time.monotonic()
            _follow(agent, given, config, context, screen, may_resume=options.thread is not None)
            seconds += time.monotonic() - begun
            snapshot = agent.get_state(config)
            state: RunState = snapshot.values  # type: ignore[assignment]  # LangGraph types it as a plain dict
            if not snapshot.interrupts:
                break
            answers = dialog and _ask(dialog, snapshot.interrupts)
            if not answers:
                return _leave_waiting(snapshot.interrupts, state, options)
            given = Command(resume=answers)
    except (KeyboardInterrupt, OSError) as stop:
        exit_now(stop, _where_it_stopped(screen, options), as_json=options.json, thread=options.thread)
    except PlanExecuteError as error:
        return refuse(error, as_json=options.json)
    except storage_errors() as error:
        how = f" {_how_to_resume(options)} goes on with what was." if options.thread else ""
        words = f"The run could not be stored: {describe_storage_error(error)}.{how}"
        return refuse(words, as_json=options.json, code="storage", status=UNFINISHED)
    if options.json:
        print_json(document(state, options.thread))
    else:
        screen.end(state, seconds)
    return COMPLETED if state["status"] == "completed" else UNFINISHED


def _ask(dialog: TerminalPrompts, interrupts: Sequence[Interrupt]) -> dict[str, Any] | None:
    """A person's answer to all that a run waits for, by its id; None if he leaves before the last."""
    answers = {}
    for waiting in interrupts:
        verdict = dialog.judge(waiting.value["action_requests"][0])
        if verdict is None:
            return None
        answers[waiting.id] = {"decisions": [verdict]}
    return answers


def _leave_waiting(interrupts: Sequence[Interrupt], state: RunState, options: Options) -> int:
    """Say that the run stops here because nobody answers, and how it goes on."""
    if options.json:
        print_json({**document(state, options.thread), "waiting": [waiting.value for waiting in interrupts]})
    actions = {waiting.value["action_requests"][0]["name"] for waiting in interrupts}
    what = "The plan waits for review" if actions == {REVIEW_PLAN} else "The run waits for an answer"
    how = f"{_how_to_resume(options)} goes on." if options.thread else "it is not kept, because --thread names nothing."
    print(f"plan-execute: {what}: {how}", file=sys.stderr)
    return UNFINISHED


def _follow(
    agent: PlanExecuteAgent,
    given: Any,
    config: RunnableConfig,
    context: Context | None,
    screen: Screen,
    *,
    may_resume: bool,
) -> None:
    """Show a run until it ends or waits; if it can be resumed, a wish to stop is granted at its next checkpoint.

    Raises:
        KeyboardInterrupt: It was stopped.
    """
    control = RunControl()
    stopping = StopRequest(control.request_drain)
    try:
        with screen, stopping.heard() if may_resume else nullcontext():
            for event in _events(agent, given, config, context, control):
                if event is None:
                    screen.refresh()
                else:
                    screen.take(event)
                if words := stopping.news():
                    screen.say(Line(words, style="yellow"))
    except GraphDrained:
        raise stopping.wish or KeyboardInterrupt from None


def _events(
    agent: PlanExecuteAgent,
    given: Any,
    config: RunnableConfig,
    context: Context | None,
    control: RunControl,
) -> Iterator[dict[str, Any] | None]:
    """The run's events, and None whenever a tenth of a second brought none.

    The run has a thread of its own, so that Ctrl-C is heard whatever it is waiting for.
    """
    news: queue.SimpleQueue[Any] = queue.SimpleQueue()
    over = object()

    def run() -> None:
        try:
            streamed = agent.stream(
                given,
                config,
                context=context,
                stream_mode="custom",
                subgraphs=True,
                durability="sync",
                control=control,
            )
            for _, event in streamed:
                news.put(event)
        except Exception as error:  # noqa: BLE001 - raised again in the thread that shows it
            news.put(error)
        else:
            news.put(over)

    threading.Thread(target=run, daemon=True).start()
    while True:
        try:
            item = news.get(timeout=0.1)
        except queue.Empty:
            yield None
            continue
        if item is over:
            return
        if isinstance(item, Exception):
            raise item
        if isinstance(item, dict):
            yield item


def _where_it_stopped(screen: Screen, options: Options) -> str:
    progress = screen.progress
    done = f"{', '.join(progress.finished)} finished" if progress.finished else "no milestone finished"
    running = f", {', '.join(progress.running)} not" if progress.running else ""
    how = f" {_how_to_resume(options)} goes on." if options.thread else ""
    return f"Interrupted: {done}{running}.{how}"


def _how_to_resume(options: Options) -> str:
    return resume_command(options.thread or "", options.checkpointer)
