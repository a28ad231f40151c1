"""The oracle: the plan that a perfect planner makes of a task's expected calls, before any of it has run.

It writes into a call only what the user said or what it makes up itself (a subject, an end an hour after a start). What
has to be found out becomes a typed value that an earlier milestone yields: reading milestones read with a model, calls
that act are pinned in milestones of their own.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agentdojo.functions_runtime import FunctionCall, FunctionsRuntime

from tests.benchmarks.agentdojo.suites import Episode, as_text, is_acting

Call = tuple[str, dict[str, Any]]


@dataclass
class Step:
    """A milestone: its calls, what they returned in an environment without attacks, the values it yields."""

    id: str
    acting: bool
    calls: list[Call] = field(default_factory=list)
    pinned: list[dict[str, Any]] = field(default_factory=list)
    """The arguments of the calls, with references in them."""
    results: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    found: set[str] = field(default_factory=set)
    """Names of the values that stand in the results as they are."""

    @property
    def goal(self) -> str:
        """What its executor is told."""
        told = "; ".join(f"{tool} {json.dumps(args, ensure_ascii=False, default=str)}" for tool, args in self.calls)
        return f"Step {self.id}: {told}" if not self.acting else f"Step {self.id}: make the pinned calls."

    def draft(self, covers: list[int]) -> dict[str, Any]:
        """The milestone as a planner writes it."""
        calls = [
            {"tool": tool, "args": json.dumps(args, ensure_ascii=False, default=str)}
            for (tool, _), args in zip(self.calls, self.pinned, strict=True)
        ]
        return {
            "id": self.id,
            "goal": self.goal,
            "done_when": "",
            "tools": list(dict.fromkeys(tool for tool, _ in self.calls)),
            "calls": calls if self.acting else [],
            "yields": [{"name": name, **kind_of(value), "path": None} for name, value in self.values.items()],
            "depends_on": [],
            "covers": covers,
            "pitfalls": [],
        }


def plan_of(episode: Episode) -> list[Step]:
    """Make the steps of a task."""
    prompt, steps = str(episode.task.PROMPT), list[Step]()
    environment = episode.environment()
    runtime = FunctionsRuntime(episode.suite.tools)
    for call in episode.expected:
        acting, args = is_acting(call.function), _args_of(call)
        alone = acting and call.function == "get_webpage"
        if not steps or steps[-1].acting != acting or alone or (acting and steps[-1].calls[-1][0] == "get_webpage"):
            steps.append(Step(f"m{len(steps) + 1}", acting))
        step = steps[-1]
        step.calls.append((call.function, args))
        step.pinned.append({name: _pinned(value, prompt, steps) for name, value in args.items()} if acting else args)
        result, _ = runtime.run_function(environment, call.function, args)
        step.results.append(as_text(result))
    if not steps:
        return steps
    if answer := str(getattr(episode.task, "GROUND_TRUTH_OUTPUT", "") or ""):
        readers = [step for step in steps if not step.acting or step.calls[-1][0] == "get_webpage"]
        _yield(answer, (readers or steps)[-1], "answer")
    return steps


def kind_of(value: Any) -> dict[str, Any]:
    """The narrowest kind of a value, as a planner may know it."""
    if isinstance(value, bool):
        return {"kind": "boolean", "options": []}
    if isinstance(value, int | float):
        return {"kind": "number", "options": []}
    text = str(value)
    for kind, form in (
        ("email", r"[\w.+-]+@[\w-]+(\.[\w-]+)+"),
        ("number", r"-?\d+(\.\d+)?"),
        ("date", r"\d{4}-\d\d-\d\d"),
        ("id", r"[\w.:/@#+=?&-]{1,60}"),
    ):
        if re.fullmatch(form, text):
            return {"kind": "id" if kind == "number" else kind, "options": []}
    return {"kind": "text", "options": []}


def _args_of(call: FunctionCall) -> dict[str, Any]:
    return {name: value for name, value in call.args.items() if value is not None}


def _pinned(value: Any, prompt: str, steps: list[Step]) -> Any:
    """Return what a planner writes for a value: itself where it may know it, else a reference."""
    if isinstance(value, list):
        return [_pinned(item, prompt, steps) for item in value]
    if isinstance(value, Mapping):
        return {name: _pinned(item, prompt, steps) for name, item in value.items()}
    text = str(value)
    written = {text, text.removesuffix(".0"), text.removesuffix("0")} if isinstance(value, float) else {text}
    if isinstance(value, bool) or (len(text) <= 2 and not text.isdigit()) or any(t in prompt for t in written):
        return value
    earlier = [step for step in steps[:-1] if step.results]
    for step in reversed(earlier):
        if any(_stands_in(value, result) for result in step.results):
            return f"${step.id}.{_yield(value, step, found=True)}"
    if earlier and (isinstance(value, int | float) or "<" in text or text == "..."):
        reader = next((s for s in reversed(earlier) if not s.acting or s.calls[-1][0] == "get_webpage"), earlier[-1])
        return f"${reader.id}.{_yield(value, reader)}"
    return value


def _stands_in(value: Any, result: str) -> bool:
    texts = [str(value), json.dumps(value, ensure_ascii=False, default=str).strip('"')]
    if isinstance(value, float) and value.is_integer():
        texts.append(str(int(value)))
    return any(re.search(rf"(?<![\w.]){re.escape(text)}(?!\w)", result) for text in texts)


def _yield(value: Any, step: Step, name: str = "", *, found: bool = False) -> str:
    """Let a step yield a value, and return the name under which it does."""
    for known, other in step.values.items():
        if other == value and type(other) is type(value):
            return known
    name = name or f"v{len(step.values) + 1}"
    step.values[name] = value
    if found:
        step.found.add(name)
    return name
