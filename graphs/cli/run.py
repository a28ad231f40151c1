"""Shows a run until it ends, waits for a person, or is stopped."""

import queue
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
from plan_execute.graphs.cli.display import Screen
from plan_execute.graphs.cli.options import Options, resume_command, stored_options
from plan_execute.graphs.cli.output import COMPLETED, UNFINISHED, document, print_json, refuse, refuse_storage, warn
from plan_execute.graphs.cli.progress import Line
from plan_execute.graphs.cli.signals import StopRequest, exit_now
from plan_execute.graphs.cli.terminal_prompts import TerminalPrompts
from plan_execute.graphs.persistence.checkpointer import storage_errors
from plan_execute.graphs.plan_execute import PlanExecuteAgent


def run_until_done(
    agent: PlanExecuteAgent,
    given: Any,
    options: Options,
    screen: Screen,
    *,
    context: Context | None = None,
    prompts: TerminalPrompts | None = None,
) -> int:
    """Run an agent until the run ends or waits, show it, and give the exit status.

    Args:
        agent: The agent; it needs a checkpointer.
        given: What the run begins with; None to resume one.
        options: What the command line says.
        screen: Where the run is shown.
        context: Settings that override those frozen when the run began.
        prompts: How to ask a person for their decisions; None where nobody can be asked.
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
            answers = prompts and _ask(prompts, snapshot.interrupts)
            if not answers:
                return _print_waiting(snapshot.interrupts, state, options)
            given = Command(resume=answers)
    except (KeyboardInterrupt, OSError) as stop:
        exit_now(stop, _describe_interruption(screen, options), as_json=options.json, thread=options.thread)
    except PlanExecuteError as error:
        return refuse(error, as_json=options.json)
    except storage_errors() as error:
        advice = f" {_resume_command(options)} resumes it at its last checkpoint." if options.thread else ""
        return refuse_storage("The run could not be stored", error, advice, as_json=options.json)
    if options.json:
        print_json(document(state, options.thread))
    else:
        screen.end(state, seconds)
    return COMPLETED if state["status"] == "completed" else UNFINISHED


def _ask(prompts: TerminalPrompts, interrupts: Sequence[Interrupt]) -> dict[str, Any] | None:
    """A person's decisions on all interrupts, by their ids; None if they leave before the last."""
    answers = {}
    for waiting in interrupts:
        decision = prompts.decide(waiting.value["action_requests"][0])
        if decision is None:
            return None
        answers[waiting.id] = {"decisions": [decision]}
    return answers


def _print_waiting(interrupts: Sequence[Interrupt], state: RunState, options: Options) -> int:
    """Print that the run waits for a person, and how to resume it."""
    if options.json:
        print_json({**document(state, options.thread), "waiting": [waiting.value for waiting in interrupts]})
    actions = {waiting.value["action_requests"][0]["name"] for waiting in interrupts}
    what = "The plan waits for review" if actions == {REVIEW_PLAN} else "The run waits for an answer"
    how = f"{_resume_command(options)} asks you." if options.thread else "it is not stored; --thread NAME stores a run."
    warn(f"plan-execute: {what}: {how}")
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
    """Show a run until it ends or waits; one that can be resumed stops at its next checkpoint when a signal asks it to.

    Raises:
        KeyboardInterrupt: It was stopped.
    """
    control = RunControl()
    stop = StopRequest(control.request_drain)
    try:
        with screen, stop.handle_signals() if may_resume else nullcontext():
            for event in _events(agent, given, config, context, control):
                if event is None:
                    screen.refresh()
                else:
                    screen.take(event)
                if message := stop.announcement():
                    screen.say(Line(message, style="yellow"))
    except GraphDrained:
        raise stop.signal or KeyboardInterrupt from None


def _events(
    agent: PlanExecuteAgent, given: Any, config: RunnableConfig, context: Context | None, control: RunControl
) -> Iterator[dict[str, Any] | None]:
    """The run's events, and None after every tenth of a second without one.

    The run is in a Python thread of its own, so that Ctrl-C works whatever it waits for.
    """
    arrived: queue.SimpleQueue[Any] = queue.SimpleQueue()
    end = object()

    def run() -> None:
        try:
            how: Any = {"stream_mode": "custom", "subgraphs": True, "durability": "sync"}
            streamed = agent.stream(given, config, context=context, control=control, **how)
            for _, event in streamed:
                arrived.put(event)
        except Exception as error:  # noqa: BLE001 - raised again in the thread that shows it
            arrived.put(error)
        else:
            arrived.put(end)

    threading.Thread(target=run, daemon=True).start()
    while True:
        try:
            item = arrived.get(timeout=0.1)
        except queue.Empty:
            yield None
            continue
        if item is end:
            return
        if isinstance(item, Exception):
            raise item
        if isinstance(item, dict):
            yield item


def _describe_interruption(screen: Screen, options: Options) -> str:
    progress = screen.progress
    done = f"{', '.join(progress.finished)} finished" if progress.finished else "no milestone finished"
    running = f", {', '.join(progress.running)} not" if progress.running else ""
    how = f" {_resume_command(options)} resumes it." if options.thread else ""
    return f"Interrupted: {done}{running}.{how}"


def _resume_command(options: Options) -> str:
    return resume_command(options.thread or "", options.checkpointer)
