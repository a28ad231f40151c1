"""What a person sees of a run: its events as lines, live on a terminal and plain everywhere else."""

import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import TextIOWrapper
from typing import Any, NamedTuple, TextIO

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.markdown import Markdown
from rich.padding import Padding
from rich.panel import Panel
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from plan_execute.agent.events import now
from plan_execute.agent.state import Plan, RoleUsage, RunState
from plan_execute.graphs.formatting import duration, one_line, seconds_between, visible

ARGS_WIDTH = 100
"""Most characters shown of a tool call's arguments."""
RESULT_WIDTH = 160
"""Most characters shown of a tool's result."""
STRATEGY_WIDTH = 400
"""Most characters shown of a plan's strategy."""


class Line(NamedTuple):
    """One line of progress: a mark before it, how far it is set in, how it is coloured."""

    text: str
    mark: str = ""
    style: str = ""
    indent: int = 0
    cut: bool = False
    """Whether a terminal may cut it at its right edge instead of going on below."""


class Marks(NamedTuple):
    """The signs in front of lines."""

    done: str = "✓"
    failed: str = "✗"
    started: str = "▸"
    again: str = "↻"
    gives: str = "→"
    unknown: str = "?"


ASCII = Marks("+", "x", ">", "~", "->")
"""For terminals that have no others."""


@dataclass
class Activity:
    """A milestone in progress."""

    goal: str
    at: str
    """When it began by the run's clock, ISO 8601."""
    since: float
    """The same by this process's monotonic clock, in seconds."""
    calls: list[tuple[str, str]] = field(default_factory=list)
    """Tool calls that have not come back: the id, and the call as it is shown."""


class Progress:
    """Follows a run by its events, and words them."""

    def __init__(self, marks: Marks = Marks()) -> None:  # noqa: B008 - immutable
        """Begin before the first plan."""
        self.marks = marks
        self.phase = "Planning"
        self.since = time.monotonic()
        self.running: dict[str, Activity] = {}
        self.finished: list[str] = []

    def take(self, event: Mapping[str, Any]) -> list[Line]:
        """Note an event and give the lines that tell it; none for one that only matters to the live display."""
        match event.get("type"):
            case "plan_created" | "plan_revised":
                return self._planned(event)
            case "milestone_started":
                return self._started(event)
            case "tool_started":
                return self._called(event)
            case "tool_finished":
                return self._returned(event)
            case "milestone_finished":
                return self._finished(event)
            case "decision":
                return self._decided(event)
            case "plan_reviewed":
                self.phase, self.since = "Planning again", time.monotonic()
        return []

    def recall(self, state: RunState) -> None:
        """Take up a run that began before, of which only the events from here on are seen."""
        self.phase = "Going on"
        for key, milestone in state["milestones"].items():
            if milestone["status"] == "running":
                self.running[key] = Activity(one_line(milestone["goal"]), now(), time.monotonic())
            elif milestone["status"] == "completed":
                self.finished.append(key)

    def _planned(self, event: Mapping[str, Any]) -> list[Line]:
        revision, self.phase, self.since = event["revision"], "Writing the answer", time.monotonic()
        title = "Plan" if revision == 1 else f"Plan, revision {revision}"
        if not event["added"]:
            given_up = f" Given up: {', '.join(event['dropped'])}." if event["dropped"] else ""
            return [Line(f"{title}: nothing is left to do.{given_up}", style="bold")]
        lines = [Line(f"{title}: {one_line(event['plan']['strategy'], STRATEGY_WIDTH)}", style="bold")]
        for key in event["added"]:
            milestone = event["changes"][key]
            needed = milestone["depends_on"]
            after = f" (after {', '.join(needed)})" if needed else ""
            lines.append(Line(f"{one_line(milestone['goal'])}{after}", mark=key, style="plan", indent=2))
        if event["dropped"]:
            lines.append(Line(f"Given up: {', '.join(event['dropped'])}", style="dim", indent=2))
        return [*lines, Line("")]

    def _started(self, event: Mapping[str, Any]) -> list[Line]:
        key, goal = event["milestone"], one_line(event["goal"])
        self.running[key] = Activity(goal, event["at"], time.monotonic())
        again = f" (attempt {event['attempt']})" if event["attempt"] > 1 else ""
        return [Line(f"{key} {goal}{again}", self.marks.started, style="bold cyan", cut=True)]

    def _called(self, event: Mapping[str, Any]) -> list[Line]:
        if activity := self.running.get(event["milestone"]):
            activity.calls.append((event["call"], word_call(event["tool"], event["args"])))
        return []

    def _returned(self, event: Mapping[str, Any]) -> list[Line]:
        activity = self.running.get(event["milestone"])
        call = next((call for call in (activity.calls if activity else []) if call[0] == event["call"]), None)
        if activity and call:
            activity.calls.remove(call)
        shown = call[1] if call else f"{one_line(event['tool'])}()"
        whose = f"{event['milestone']} " if len(self.running) > 1 else ""
        said = one_line(event["result"], RESULT_WIDTH) or "(nothing)"
        mark = self.marks.gives if event["ok"] else self.marks.failed
        return [
            Line(f"{whose}{shown}", style="dim", indent=2, cut=True),
            Line(said, mark, style="dim" if event["ok"] else "red", indent=4, cut=event["ok"]),
        ]

    def _finished(self, event: Mapping[str, Any]) -> list[Line]:
        key = event["milestone"]
        activity = self.running.pop(key, None)
        took = f", {duration(seconds_between(activity.at, event['at']))}" if activity else ""
        if event["status"] == "completed":
            self.finished.append(key)
            return [Line(f"{key} completed{took}", mark=self.marks.done, style="green")]
        code = f" ({event['code']})" if event["code"] not in {None, event["status"]} else ""
        return [Line(f"{key} {event['status']}{code}{took}", mark=self.marks.failed, style="red")]

    def _decided(self, event: Mapping[str, Any]) -> list[Line]:
        reason = one_line(event["reason"], STRATEGY_WIDTH)
        self.since = time.monotonic()
        match event["action"]:
            case "retry":
                return [Line(f"Trying again: {reason}", mark=self.marks.again, style="yellow")]
            case "replan":
                self.phase = "Planning again"
                return [Line(""), Line(f"Replanning: {reason}", mark=self.marks.again, style="bold yellow")]
        return []


class Screen:
    """Shows a run on a stream; to be entered before its first event and left at its end."""

    def __init__(self, stream: TextIO) -> None:
        """Choose live or plain by what the stream is and what the environment asks for."""
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
        encoding = (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "").replace("_", "")
        marks = Marks() if encoding.startswith("utf") else ASCII
        self.progress = Progress(marks)
        self.stream = stream
        self.live: Live | None = None
        if is_live(stream):
            console = Console(file=stream, highlight=False)
            picture = _Picture(self.progress, "dots" if marks != ASCII else "line")
            # No refresh by a thread of Rich's own: one that comes between an event and its lines leaves scraps behind.
            self.live = Live(picture, console=console, transient=True, auto_refresh=False)

    def __enter__(self) -> "Screen":
        """Begin to show what is in progress."""
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take away what showed what was in progress; the lines stay."""
        if self.live:
            self.live.stop()

    def note(self, text: str) -> None:
        """Say something quietly."""
        self.say(Line(visible(text), style="dim"))

    def take(self, event: Mapping[str, Any]) -> None:
        """Show an event."""
        for line in self.progress.take(event):
            self.say(line)

    def refresh(self) -> None:
        """Let the spinner turn and the clock go on."""
        if self.live:
            self.live.refresh()

    def end(self, state: RunState, seconds: float) -> None:
        """Show the answer, the requirements and what the run cost."""
        self.__exit__()
        status, reason = state["status"], _reason(state)
        text = state["answer"]
        if text is None:  # the last message is the error's, with what was finished below it
            said = state["messages"][-1].text
            text = said.replace(state["error"]["message"], reason, 1) if state["error"] else said
        answer = visible(text, lines=True)
        title = "Answer" if state["answer"] is not None else "No answer"
        if self.live:
            colour = {"completed": "green", "partial": "yellow"}.get(status, "red")
            body = Markdown(
                answer.replace("\n", "  \n"), hyperlinks=False
            )  # a line end stays one, as a person wrote it
            self.live.console.print()
            self.live.console.print(Panel(body, title=title, title_align="left", border_style=colour, padding=(1, 2)))
        else:
            self.say(Line(f"\n{title}:\n{answer}\n"))
        for line in summary(state, seconds, self.progress.marks):
            self.say(line)
        if reason and state["answer"] is not None:
            self.say(Line(one_line(reason, 2_000), style="yellow"))

    def say(self, line: Line) -> None:
        """Print a line."""
        if self.live:
            self.live.console.print(_rich(line))
        else:
            mark = f"{line.mark} " if line.mark else ""
            self.stream.write(f"{' ' * line.indent}{mark}{line.text}".rstrip(" ") + "\n")
            self.stream.flush()


class _Picture:
    """What is in progress right now, drawn anew at each refresh."""

    def __init__(self, progress: Progress, spinner: str) -> None:
        self.progress = progress
        self.spinner = Spinner(spinner, style="cyan")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        now = time.monotonic()
        lines = [
            f"{key} {activity.goal}  {duration(now - activity.since)}" + (f"  {calls[-1][1]}" if calls else "")
            for key, activity in list(self.progress.running.items())
            for calls in [list(activity.calls)]
        ] or [f"{self.progress.phase}  {duration(now - self.progress.since)}"]
        frame = self.spinner.render(console.get_time())
        for line in lines:
            text = Text.assemble(frame if isinstance(frame, Text) else "", " ", line, style="cyan")
            # room for the ^C that a terminal echoes: it must not begin a new line
            text.truncate(options.max_width - 3, overflow="ellipsis")
            yield text


def summary(state: RunState, seconds: float, marks: Marks) -> Iterator[Line]:
    """Tell which requirements are met, how the run ended, and what it took."""
    for requirement in (state["plan"] or Plan(requirements=[]))["requirements"]:  # type: ignore[typeddict-item]
        met = requirement["met"]
        mark = marks.unknown if met is None else marks.done if met else marks.failed
        support = f" ({', '.join(map(one_line, requirement['milestones']))})" if requirement["milestones"] else ""
        note = f": {one_line(requirement['note'])}" if requirement["note"] else ""
        style = "" if met is None else "green" if met else "red"
        yield Line(f"{requirement['number']}. {one_line(requirement['text'])}{support}{note}", mark, style)
    code = f" ({state['error']['code']})" if state["error"] else ""
    yield Line(f"{state['status'].capitalize()}{code} in {duration(seconds)}", style="bold")
    for role, usage in state["usage"].items():
        yield Line(f"{role}: {describe_usage(usage)}", style="dim", indent=2)


def _reason(state: RunState) -> str:
    """Why a run did not complete, without the unmet requirements at its end: the summary lists them anyway."""
    message = state["error"]["message"] if state["error"] else ""
    requirements = state["plan"]["requirements"] if state["plan"] else []
    first = next((f"{r['number']}. {r['text']}" for r in requirements if r["met"] is False), None)
    return message.rpartition(f"Unmet: {first}")[0].strip() if first and f"Unmet: {first}" in message else message


def describe_usage(usage: RoleUsage) -> str:
    """Word what a role cost; what nobody reported is left out."""
    calls = f"{usage['calls']:,} {'call' if usage['calls'] == 1 else 'calls'}"
    tokens = f", {usage['input_tokens']:,} tokens in, {usage['output_tokens']:,} out"
    known = usage["input_tokens"] or usage["output_tokens"]
    price = f", ${usage['usd']:.4f}" if usage["usd"] is not None else ""
    return f"{calls}{tokens if known else ''}{price} ({', '.join(map(one_line, usage['models']))})"


def is_live(stream: TextIO) -> bool:
    """Whether a stream is a terminal on which lines may move and have colours."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") in {"dumb", "unknown"}
    return stream.isatty() and not plain


def word_call(tool: str, args: Mapping[str, Any]) -> str:
    """Word a tool call as a person reads it: texts without quotes, a single argument without its name."""
    texts = {name: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for name, v in args.items()}
    named = [text if len(texts) == 1 else f"{name}={text}" for name, text in texts.items()]
    return f"{one_line(tool)}({one_line(', '.join(named), ARGS_WIDTH)})"


def _rich(line: Line) -> Padding:
    grid = Table.grid(padding=(0, 1))
    style = "" if line.style == "plan" else line.style
    text = Text(line.text, style=style, no_wrap=line.cut, overflow="ellipsis" if line.cut else "fold")
    if line.mark:
        grid.add_row(Text(line.mark, style="cyan" if line.style == "plan" else style), text)
    else:
        grid.add_row(text)
    return Padding(grid, (0, 0, 0, line.indent))
