"""A run's events as lines of text: its plans, milestones, tool calls and decisions."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from plan_execute.agent.events import now
from plan_execute.agent.state import RunState
from plan_execute.graphs.formatting import duration, one_line, seconds_between

ARGS_WIDTH = 100
"""Most characters shown of a tool call's arguments."""
RESULT_WIDTH = 160
"""Most characters shown of a tool's result."""
STRATEGY_WIDTH = 400
"""Most characters shown of a plan's strategy."""


class Line(NamedTuple):
    """One line of output: the mark before it, its indent and its colour."""

    text: str
    mark: str = ""
    style: str = ""
    indent: int = 0
    cut: bool = False
    """Whether a terminal truncates it at its right edge instead of wrapping it."""


class Marks(NamedTuple):
    """The marks in front of lines."""

    done: str = "✓"
    failed: str = "✗"
    started: str = "▸"
    again: str = "↻"
    result: str = "→"
    unknown: str = "?"


ASCII = Marks("+", "x", ">", "~", "->")
"""For streams whose encoding has no others."""


@dataclass
class Activity:
    """A milestone in progress."""

    goal: str
    at: str
    """When it began by the run's clock, ISO 8601."""
    since: float
    """The same by this process's monotonic clock, in seconds."""
    calls: dict[str, str] = field(default_factory=dict)
    """Tool calls without a result yet, as they are shown, by their ids."""


class Progress:
    """Follows a run by its events, and describes each in lines."""

    def __init__(self, marks: Marks = Marks()) -> None:  # noqa: B008 - immutable
        """Begin before the first plan."""
        self.marks = marks
        self.phase = "Planning"
        self.since = time.monotonic()
        self.running: dict[str, Activity] = {}
        self.finished: list[str] = []
        self.thinking = ""
        """How far a local model is with its answer."""

    def take(self, event: Mapping[str, Any]) -> list[Line]:
        """Take in an event and give the lines that tell it; none for one that only the live display shows."""
        self.thinking = ""
        match event.get("type"):
            case "model_progress":
                self.thinking = f"{event['tokens']:,} tokens"
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
                again = event["rule"] in {"respond", "reject"}
                self.phase, self.since = "Planning again" if again else "Writing the answer", time.monotonic()
        return []

    def restore(self, state: RunState) -> None:
        """Take in what a run did before its resume, of which there are no events."""
        self.phase = "Resuming"
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
            activity.calls[event["call"]] = describe_call(event["tool"], event["args"])
        return []

    def _returned(self, event: Mapping[str, Any]) -> list[Line]:
        activity = self.running.get(event["milestone"])
        unknown = f"{one_line(event['tool'])}()"  # it began before a resume
        call = activity.calls.pop(event["call"], unknown) if activity else unknown
        milestone = f"{event['milestone']} " if len(self.running) > 1 else ""
        result = one_line(event["result"], RESULT_WIDTH) or "(nothing)"
        mark = self.marks.result if event["ok"] else self.marks.failed
        return [
            Line(f"{milestone}{call}", style="dim", indent=2, cut=True),
            Line(result, mark, style="dim" if event["ok"] else "red", indent=4, cut=event["ok"]),
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


def describe_call(tool: str, args: Mapping[str, Any]) -> str:
    """Write a tool call for a person: texts without quotes, a single argument without its name."""
    texts = {name: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for name, v in args.items()}
    named = [text if len(texts) == 1 else f"{name}={text}" for name, text in texts.items()]
    return f"{one_line(tool)}({one_line(', '.join(named), ARGS_WIDTH)})"
