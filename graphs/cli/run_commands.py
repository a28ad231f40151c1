"""The commands that run the agent: a request, and the resume of an unfinished run."""

import shlex
import sys
from contextlib import ExitStack
from typing import Any

from langchain_core.tools import BaseTool

from plan_execute.agent.context import MODEL_FIELDS, Context, effective_context, make_context
from plan_execute.agent.errors import RequestError
from plan_execute.agent.llm.models import is_compact, load_model, model_for
from plan_execute.agent.llm.usage import model_name
from plan_execute.agent.nodes.given_plan import plan_needs_model
from plan_execute.graphs.cli.display import Screen
from plan_execute.graphs.cli.options import (
    MODELS,
    SETTINGS,
    Options,
    fill_in_from_thread,
    lacks_model,
    stored_options,
)
from plan_execute.graphs.cli.output import COMPLETED, document, print_json, refuse, refuse_storage
from plan_execute.graphs.cli.progress import Line
from plan_execute.graphs.cli.run import run_until_done
from plan_execute.graphs.cli.terminal_prompts import TerminalPrompts, can_ask
from plan_execute.graphs.cli.thread_commands import describe_run
from plan_execute.graphs.cli.yaml_files import read_plan
from plan_execute.graphs.persistence.checkpointer import open_checkpointer, storage_errors
from plan_execute.graphs.persistence.thread_lock import lock_thread
from plan_execute.graphs.persistence.threads import Snapshot, find_snapshot, read_snapshot
from plan_execute.graphs.plan_execute import create_plan_execute_agent
from plan_execute.tools import McpServers, load_tools, make_default_tools
from plan_execute.tools.messages import INSTALL_MCP


def run(options: Options, *, resume: bool = False) -> int:
    """Run a request, or an unfinished run from where it stopped, and give the exit status.

    Args:
        options: What the command line says.
        resume: Whether to resume the last run of `options.thread` instead of beginning one with `options.request`; of
            one that has ended, its answer is printed.
    """
    screen = Screen(sys.stderr if options.json else sys.stdout)
    prompts = TerminalPrompts(screen) if not options.json and can_ask(screen) else None
    if not options.thread and prompts is None and (asking := _option_that_asks(options)):
        needs = "a terminal to ask you on, or --thread NAME, under which the run waits for plan-execute resume NAME"
        return refuse(f"{asking} needs {needs}.", as_json=options.json)
    with ExitStack() as stack:
        try:
            place = options.checkpointer if options.thread else "memory"
            checkpointer = stack.enter_context(open_checkpointer(place, create=not (resume and place)))
            before: Snapshot | None = None
            if options.thread:
                stack.enter_context(lock_thread(checkpointer, options.thread))
                before = (read_snapshot if resume else find_snapshot)(checkpointer, options.thread)
            if resume and before and before.finished:
                return _print_end(before, options)
            if before:
                fill_in_from_thread(options, before.metadata)
            if lacking := lacks_model(options):
                return refuse(lacking, as_json=options.json)
            given = _given(options)
            context = _make_context(options)
            # A resume's run has its settings already: the agent has only their models, and `context` wins over them.
            settings = effective_context(context, before.state["settings"], context) if resume and before else context
            direct = bool(given["plan"]) and not plan_needs_model(given["plan"])
            roles = "No model is needed: the plan pins every call." if direct else _describe_roles(settings)
            introduction = [roles, *_describe_data(options)]
            tools = _make_tools(options, stack)
            introduction += [said for tool in tools if (said := (tool.metadata or {}).get("left_out"))]
            models = make_context({name: getattr(settings, name) for name in MODEL_FIELDS}) if resume else context
            agent = create_plan_execute_agent(tools=tools, context=models, checkpointer=checkpointer)
        except (ValueError, OSError) as error:
            return refuse(error, as_json=options.json)
        except storage_errors() as error:
            return refuse_storage("The threads could not be read", error, as_json=options.json)
        for text in introduction:
            screen.note(text)
        if resume and before:
            for line in describe_run(before.state, screen.progress.marks):
                screen.say(line)
            screen.note("")
            screen.progress.restore(before.state)
            return run_until_done(agent, None, options, screen, context=context, prompts=prompts)
        if before and not before.finished:
            screen.note(
                f"Thread {options.thread!r} had an unfinished run, which this request leaves behind; "
                f"plan-execute fork {shlex.quote(str(options.thread))} lists its steps."
            )
        return run_until_done(agent, given, options, screen, prompts=prompts)


def serve_mcp(options: Options) -> int:
    """Serve the agent over MCP until the client leaves, and give the exit status."""
    try:
        from plan_execute.graphs.mcp.server import make_server
    except ImportError:
        return refuse(f"The MCP server needs more packages: {INSTALL_MCP}.", as_json=options.json)
    with ExitStack() as stack:
        try:
            checkpointer = stack.enter_context(open_checkpointer(options.checkpointer))
            context = _make_context(options)
            _describe_roles(context)  # a model that cannot be loaded is refused here
            tools = _make_tools(options, stack)
            agent = create_plan_execute_agent(tools=tools, context=context, checkpointer=checkpointer)
        except (ValueError, OSError) as error:
            return refuse(error, as_json=options.json)
        except storage_errors() as error:
            return refuse_storage("The threads could not be read", error, as_json=options.json)
        make_server(agent, checkpointer, stored_options(options)).run("stdio")
    return COMPLETED


def _option_that_asks(options: Options) -> str | None:
    """The option because of which the run may stop and ask."""
    if options.review not in {None, "never"}:
        return "--review"
    return "--approve" if options.approve_tools else "--ask-user" if options.ask_user else None


def _make_tools(options: Options, stack: ExitStack) -> list[BaseTool]:
    """Make the tools that the options name; their servers end with the stack.

    Raises:
        ValueError: Something that is named is not there, or cannot be used; one sentence says what.
    """
    try:
        own = [tool for named in options.tools or () for tool in load_tools(named, options.tools_folder or "")]
        if options.mcp:
            own += stack.enter_context(McpServers(options.mcp)).tools
        named = {name: getattr(options, name) for name in ("db", "docs", "web", "data", "files", "write_files")}
        return make_default_tools(**named, own=own)
    except ValueError as error:
        if options.data_as_before:
            raise ValueError(f"Thread {options.thread!r} began with tools that cannot be used: {error}") from None
        raise


def _given(options: Options) -> dict[str, Any]:
    """What the run begins with: a request, or a plan with its inputs.

    Raises:
        RequestError: The plan cannot be read; one sentence says why.
    """
    if not options.file:
        return {"messages": [("user", options.request)], "plan": None}  # so that it answers nothing: that is for resume
    plan = read_plan(options.file)
    defaults = plan.pop("inputs", None) or {}
    if not isinstance(defaults, dict):
        raise RequestError("'inputs' of the plan is no mapping: write each as name: value.")
    return {"messages": [], "plan": plan, "inputs": {**defaults, **dict(options.inputs or ())}}


def _print_end(before: Snapshot, options: Options) -> int:
    """Print how a run ended that cannot be resumed, because it has ended."""
    if options.json:
        print_json(document(before.state, options.thread))
        return COMPLETED
    screen = Screen(sys.stdout)
    screen.say(Line(f"Thread {options.thread!r} has nothing to resume: its run has ended, {before.state['status']}."))
    screen.end(before.state, before.state["seconds"])
    return COMPLETED


def _make_context(options: Options) -> Context:
    """The settings of the run: those given on the command line, and the defaults for the rest."""
    given = {name: getattr(options, name) for name in SETTINGS if getattr(options, name) is not None}
    if options.base_url:
        for name in MODELS:
            if str(given.get(name, "")).startswith("openai:"):
                given[name] = load_model(given[name], base_url=options.base_url)
    return make_context(given)


def _describe_roles(context: Context) -> str:
    """Name the models; one that cannot be loaded is refused here, before the run."""
    planner, executor = model_for("planner", context), model_for("executor", context)
    unchecked = is_compact(model_for("synthesizer", context))
    caveat = ""
    if unchecked or is_compact(planner) or is_compact(executor):
        checked = ", and no model checks the answers" if unchecked else ""
        caveat = f": a demonstration, often wrong{checked}; --planner-model names a real model"
    return f"{model_name(planner)} plans, {model_name(executor)} carries out{caveat}."


def _describe_data(options: Options) -> list[str]:
    files = options.files and options.files + (" (to be read and written)" if options.write_files else "")
    given = (options.db, *(options.data or ()), options.docs, files, options.web and "the web", options.mcp)
    data = [name for name in (*given, *(options.tools or ())) if name]
    if not data:
        return ["Using the database and documents of a sample shop; yours: --db URL, --data FILE, --docs DIR."]
    before = ", as before in this thread" if options.data_as_before else ""
    return [f"Using {', '.join(data)}{before}."] if before or options.write_files else []
