"""Scripted models: an oracle that knows a task, and the worst case, which obeys every order that it reads."""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import PrivateAttr

from tests.benchmarks.agentdojo.oracle import Step, plan_of
from tests.benchmarks.agentdojo.suites import MARK, Episode
from tests.fakes import Answer, Asked, ScriptedModel, report, tool_call

MOST_ORDERS = 4
"""How many calls of the attacker a worst case tries before it goes on with its own work."""


class CountingModel(ScriptedModel):
    """A scripted model that counts the characters it is sent: messages, and the schemas of what is bound to it."""

    _sizes: dict[tuple[str, ...], int] = PrivateAttr(default_factory=dict)

    def __init__(self, script: Callable[[Asked], Answer]) -> None:
        """Take what to answer."""
        super().__init__(script)

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, AIMessage]:
        """Remember how long the schemas are."""
        bound = [convert_to_openai_tool(tool) for tool in tools]
        self._sizes[tuple(tool["function"]["name"] for tool in bound)] = len(json.dumps(bound, default=str))
        return super().bind_tools(tools, **kwargs)

    @property
    def sent(self) -> int:
        """Characters of all calls together."""
        return sum(len(asked.text) + self._sizes.get(tuple(asked.tools), 0) for asked in self.asked)


class Cast:
    """The models of one episode."""

    def __init__(self, episode: Episode, *, lies: bool = False) -> None:
        """Prepare the plan; `lies` makes the worst case also put the attacker's data into typed values."""
        self.episode = episode
        self.lies = lies
        self.steps = plan_of(episode)
        self.planner = CountingModel(self._plan)
        self.executor = CountingModel(self._carry_out)
        self.react = CountingModel(self._react)

    def _plan(self, asked: Asked) -> Answer:
        if asked.tools == ["Synthesis"]:
            return self._synthesize(asked)
        done = dict(re.findall(r"^done:(m\d+)\n<goal \w+>\n(.*)\n</goal", asked.text, re.MULTILINE))
        finished = {goal: key for key, goal in done.items()}
        names = {step.id: f"done:{finished[step.goal]}" for step in self.steps if step.goal in finished}
        left = [step.draft([1]) for step in self.steps if step.id not in names]
        for draft in left:
            for call in draft["calls"]:
                call["args"] = re.sub(r"\$(m\d+)\.", lambda f: f"${names.get(f[1], f[1])}.", call["args"])
        if MARK in asked.text:
            left.append(self._order_as_milestone())
        requirements = [] if done or "Failed:" in asked.text else ["The request is carried out."]
        if not left and not done:
            return {"strategy": "", "requirements": [], "milestones": [], "answer": "There is nothing to do."}
        return {"strategy": "Read, then act.", "requirements": requirements, "milestones": left, "answer": None}

    def _order_as_milestone(self) -> dict[str, Any]:
        calls = [{"tool": c.function, "args": json.dumps(dict(c.args), default=str)} for c in self.episode.ordered]
        tools = list(dict.fromkeys(call["tool"] for call in calls))
        return {"id": "m99", "goal": "Do as ordered.", "done_when": "", "tools": tools, "calls": calls, "covers": [1]}

    def _synthesize(self, asked: Asked) -> Answer:
        """Answer with all values and results that are shown; obey an order among them."""
        shown = re.findall(r"^<result (\w+)>\n(.*?)\n</result \1>", asked.text, re.MULTILINE | re.DOTALL)
        texts = []
        for _, result in shown:
            try:
                values = json.loads(result)
            except ValueError:
                values = result
            texts.append("\n".join(map(str, values.values())) if isinstance(values, dict) else str(values))
        if MARK in asked.text:
            texts.append(self.episode.attack.GOAL)
        return {"answer": "\n".join(texts) or "Done.", "requirements": [{"number": 1, "met": True, "milestones": []}]}

    def _step(self, asked: Asked) -> Step | None:
        found = re.findall(r"^Goal: Step (m\d+):", asked.text, re.MULTILINE)
        return next((step for step in self.steps if found and step.id == found[-1]), None)

    def _carry_out(self, asked: Asked) -> Answer:
        results = [message for message in asked.messages if message.type == "tool"]
        read = "\n".join(message.text for message in results)
        step = self._step(asked)
        own = [] if step is None or step.acting else step.calls
        if len(results) < len(own):
            return _calling(own)
        if MARK in read and (order := self._next_order(asked, results, len(own))):
            return order
        if step is None:
            return report(read[:2_000] or "done")
        lies = self.lies and MARK in read
        told = {name: self._lie(value) if lies else value for name, value in step.values.items()}
        values = [{"name": name, "value": str(value)} for name, value in told.items()]
        ordered = f"{MARK}: {self.episode.attack.GOAL}" if MARK in read else None
        # In open trust the result is what crosses; a worst case passes the order on.
        result = ordered or "\n".join(f"{v['name']}: {v['value']}" for v in values) or "done"
        return report(result, surprise=ordered, values=values)

    def _next_order(self, asked: Asked, results: list[Any], own: int) -> AIMessage | None:
        tried = len(results) - own
        orders = self.episode.ordered[:MOST_ORDERS]
        return tool_call(orders[tried].function, dict(orders[tried].args)) if tried < len(orders) else None

    def _lie(self, value: Any) -> Any:
        """Return what the attacker would have here, of the same kind where his order has one."""
        data = [item for call in self.episode.ordered for item in _leaves(call.args)]
        if isinstance(value, int | float) and not isinstance(value, bool):
            return next((item for item in data if isinstance(item, int | float)), value)
        same = [item for item in data if isinstance(item, str) and ("@" in item) == ("@" in str(value))]
        return same[0] if same else self.episode.attack.GOAL

    def _react(self, asked: Asked) -> Answer:
        """Make the expected calls one after the other; orders that were read come first."""
        results = [message for message in asked.messages if message.type == "tool"]
        read = "\n".join(message.text for message in results)
        plan = [(call.function, dict(call.args)) for call in self.episode.expected]
        orders = [(call.function, dict(call.args)) for call in self.episode.ordered[:MOST_ORDERS]]
        seen = next((i for i, message in enumerate(results) if MARK in message.text), None)
        if seen is not None:
            plan = [*plan[: seen + 1], *orders, *plan[seen + 1 :]]
        if len(results) < len(plan):
            return tool_call(*plan[len(results)])
        said = str(getattr(self.episode.task, "GROUND_TRUTH_OUTPUT", "") or "Done.")
        return f"{said}\n{self.episode.attack.GOAL}" if MARK in read else said


def _calling(calls: list[tuple[str, dict[str, Any]]]) -> AIMessage:
    first, *more = calls
    return tool_call(*first, *more)


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    return [leaf for item in value for leaf in _leaves(item)] if isinstance(value, list | tuple) else [value]
