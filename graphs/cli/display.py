"""Shows a run on a stream: live on a terminal, as plain lines everywhere else."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from io import TextIOWrapper
from typing import Any, TextIO

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.markdown import Markdown
from rich.padding import Padding
from rich.panel import Panel
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from plan_execute.agent.state import Plan, RoleUsage, RunState
from plan_execute.graphs.cli.progress import ASCII, Line, Marks, Progress
from plan_execute.graphs.formatting import duration, money, one_line, visible


class Screen:
    """Shows lines on a stream, and while it is entered also what is in progress."""

    def __init__(self, stream: TextIO) -> None:
        """Choose live or plain lines by what the stream is and what the environment asks for."""
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
            # Rich's own refresh comes from another thread: between an event and its lines, it leaves scraps behind.
            self.live = Live(picture, console=console, transient=True, auto_refresh=False)

    def __enter__(self) -> "Screen":
        """Start to show what is in progress."""
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it; the lines stay."""
        if self.live:
            self.live.stop()

    def note(self, text: str) -> None:
        """Print text in a faint colour."""
        self.say(Line(one_line(text, 2_000), style="dim"))

    def print_table(self, rows: Sequence[Sequence[str]], titles: Mapping[int, str] | None = None) -> None:
        """Print rows of text in columns.

        Args:
            rows: The head and the rows, of the same length each.
            titles: Lines that stand above a row, by its index.
        """
        widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
        for index, row in enumerate(rows):
            if titles and index in titles:
                self.say(Line(titles[index], style="bold"))
            self.say(Line("  ".join(map(set_cell_size, row, widths)).rstrip(), cut=True))

    def take(self, event: Mapping[str, Any]) -> None:
        """Show an event."""
        for line in self.progress.take(event):
            self.say(line)

    def refresh(self) -> None:
        """Draw what is in progress anew."""
        if self.live:
            self.live.refresh()

    def end(self, state: RunState, seconds: float) -> None:
        """Show the answer, the requirements and what the run cost."""
        self.__exit__()
        status, reason = state["status"], _reason(state)
        text = state["answer"]
        if text is None:  # the last message is the error's, with what was finished below it
            message = state["messages"][-1].text
            text = message.replace(state["error"]["message"], reason, 1) if state["error"] else message
        answer = visible(text, lines=True)
        title = "Answer" if state["answer"] is not None else "No answer"
        if state["error"] and state["error"]["code"] == "not_checked":
            title = "Answer, not checked"
        if self.live:
            colour = {"completed": "green", "partial": "yellow"}.get(status, "red")
            self.live.console.print()
            body = _markdown(answer)
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
            text = visible(line.text, lines=True)
            self.stream.write(f"{' ' * line.indent}{mark}{text}".rstrip(" ") + "\n")
            self.stream.flush()


class _Picture:
    """What is in progress, drawn anew at each refresh."""

    def __init__(self, progress: Progress, spinner: str) -> None:
        self.progress = progress
        self.spinner = Spinner(spinner, style="cyan")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        now = time.monotonic()
        lines = [
            "  ".join([f"{key} {activity.goal}", duration(now - activity.since), *list(activity.calls.values())[-1:]])
            for key, activity in list(self.progress.running.items())
        ] or [f"{self.progress.phase}  {duration(now - self.progress.since)}"]
        frame = self.spinner.render(console.get_time())
        for line in lines:
            thinking = f"  {self.progress.thinking}" if self.progress.thinking else ""
            words = visible(f"{line}{thinking}")
            text = Text.assemble(frame if isinstance(frame, Text) else "", " ", words, style="cyan")
            # room for the ^C that a terminal echoes: it must not begin a new line
            text.truncate(options.max_width - 3, overflow="ellipsis")
            yield text


def summary(state: RunState, seconds: float, marks: Marks) -> Iterator[Line]:
    """Tell which requirements are met, how the run ended, and what it cost."""
    for requirement in (state["plan"] or Plan(requirements=[]))["requirements"]:  # type: ignore[typeddict-item]
        met = requirement["met"]
        mark = marks.unknown if met is None else marks.done if met else marks.failed
        support = f" ({', '.join(map(one_line, requirement['milestones']))})" if requirement["milestones"] else ""
        words = requirement["note"] or ("not checked" if met is None and state["status"] != "running" else "")
        note = f": {one_line(words)}" if words else ""
        style = "yellow" if met is None else "green" if met else "red"
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
    """Write what a role cost, without what no provider reported."""
    calls = f"{usage['calls']:,} {'call' if usage['calls'] == 1 else 'calls'}"
    tokens = f", {usage['input_tokens']:,} tokens in, {usage['output_tokens']:,} out"
    known = usage["input_tokens"] or usage["output_tokens"]
    price = f", {money(usage['usd'])}" if usage["usd"] is not None else ""
    by = f" ({', '.join(map(one_line, usage['models']))})" if usage["models"] else ""
    return f"{calls}{tokens if known else ''}{price}{by}"


def is_live(stream: TextIO) -> bool:
    """Whether a stream is a terminal on which lines may move and have colours."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") in {"dumb", "unknown"}
    return stream.isatty() and not plain


def _markdown(text: str) -> Markdown:
    """Set an answer as Markdown; a link is its text and its target, and no more than that."""
    body = Markdown(text.replace("\n", "  \n"), hyperlinks=False)  # two spaces: each line end stays one
    tokens = list(body.parsed)
    for token in tokens:
        token.content = visible(token.content, lines=True)  # references such as &#8238; have become characters
        tokens += token.children or ()
    return body


def _rich(line: Line) -> Padding:
    grid = Table.grid(padding=(0, 1))
    style = "" if line.style == "plan" else line.style
    text = Text(
        visible(line.text, lines=True), style=style, no_wrap=line.cut, overflow="ellipsis" if line.cut else "fold"
    )
    if line.mark:
        grid.add_row(Text(line.mark, style="cyan" if line.style == "plan" else style), text)
    else:
        grid.add_row(text)
    return Padding(grid, (0, 0, 0, line.indent))
