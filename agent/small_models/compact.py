"""The compact forms of the roles, in which a small model is asked for choices instead of a filled-in schema."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.tools import BaseTool

from plan_execute.agent.llm.structured_output import Dialogue
from plan_execute.agent.llm.usage import model_name
from plan_execute.agent.small_models.chat_model import LocalChatModel
from plan_execute.agent.small_models.choice import choose
from plan_execute.agent.small_models.executor_model import NO_CONVERSATION, CompactExecutor
from plan_execute.agent.small_models.prompts import KIND, STEPS
from plan_execute.agent.small_models.tool_use import able_tools, can_form, choose_tool, fitting_tools, language_of
from plan_execute.agent.small_models.words import (
    ANAPHORA,
    content_words,
    leaves_out,
    left_over,
    operands,
    refers_back,
    requested_action,
)
from plan_execute.agent.state import Brief, Milestone, Requirement

_DROPPED = frozenset(["also", "and", "hello", "hey", "hi", "kindly", "please", "thank", "thanks", "then", "you"])
"""Words that a plan may leave out: joints between its milestones, and courtesy."""


@dataclass(frozen=True)
class CompactForms:
    """What planner, executor and synthesizer do when their model is a small one."""

    model: BaseChatModel

    def draft_plan(
        self,
        objective: str,
        tools: Sequence[BaseTool],
        objections: Sequence[str],
        milestones: Mapping[str, Milestone],
    ) -> Dialogue[dict[str, Any]]:
        """Split the request into milestones and choose a tool for each; small talk is refused.

        What no tool can do becomes a milestone without tools, which its executor reports as blocked. A replan leaves
        out finished goals, and does not offer a tool that failed a goal for that goal again.

        Args:
            objective: The request.
            tools: The tool catalogue.
            objections: What was wrong with the draft before. The same questions would get the same answers, so the
                next draft is a single milestone with the whole request.
            milestones: Those of earlier revisions, by id.

        Returns:
            The fields of a `PlanDraft`; or as `refused` the sentence why there is none: it is small talk, a part of the
            request is in no milestone, or no tool is left that would account for every word of one.

        Raises:
            Exception: Whatever the model's call raised.
        """
        if (yield from choose(self.model, KIND, objective, _kinds(objective, tools))) == "talk":
            names = ", ".join(tool.name for tool in tools) or "none"
            return {"refused": f"{NO_CONVERSATION} Its tools: {names}. Nothing was looked up or done."}
        goals = [objective.strip()] if objections else (yield from self._split(objective))
        if dropped := left_over(objective, goals, _DROPPED):
            return {"refused": self._refuse(objective, str(leaves_out("The plan", dropped)))}
        done = {m["goal"]: f"done:{key}" for key, m in milestones.items() if m["status"] == "completed"}
        failed = [m for m in milestones.values() if m["status"] in {"failed", "blocked"}]
        tried = {(m["goal"], name) for m in failed for name in m["tools"]}
        drafted: list[dict[str, Any]] = []
        key = ""
        for number, goal in enumerate(goals, start=1):
            before, key = key, done.get(goal, f"m{number}")
            if goal in done:
                continue
            offered = fitting_tools(able_tools(tools, goal, follows=bool(before)), goal, {}, follows=bool(before))
            untried = [tool for tool in offered if (goal, tool.name) not in tried]
            if not untried and (reason := _why_not(goal, failed)):
                return {"refused": self._refuse(goal, reason)}
            chosen = [(yield from choose_tool(self.model, goal, untried or offered))] if offered else []
            needs_result = ANAPHORA.search(goal) or refers_back(goal) or not all(can_form(t, goal, {}) for t in chosen)
            drafted.append(
                {
                    "id": key,
                    "goal": goal,
                    "done_when": "Its tool has given the answer.",
                    "tools": [tool.name for tool in chosen],
                    "depends_on": [before] if before and needs_result else [],
                    "covers": [number],
                }
            )
        strategy = "One step after the other, each with the one tool that fits it."
        return {"strategy": strategy, "requirements": goals, "answer": None, "milestones": drafted}

    def executor_model(self, brief: Brief) -> BaseChatModel:
        """Return the chat model that takes the executor's place for a milestone."""
        return CompactExecutor(model=self.model, brief=brief)

    def synthesize(self, requirements: Sequence[Requirement], milestones: Mapping[str, Milestone]) -> dict[str, Any]:
        """Join the results without asking the model, which therefore checks nothing.

        Returns:
            The fields of a `Synthesis`; a verdict is that a finished milestone covers the requirement.
        """
        done = {key: milestone for key, milestone in milestones.items() if milestone["status"] == "completed"}
        lines = [f"{_as_heading(milestone['goal'])}: {milestone['result']}" for milestone in done.values()]
        answer = next(iter(done.values()))["result"] if len(done) == 1 else "\n".join(lines)
        verdicts = []
        for requirement in requirements:
            number = requirement["number"]
            covering = [key for key, milestone in milestones.items() if number in milestone["covers"]]
            supporting = [key for key in covering if key in done]
            note = None if supporting else "No milestone that covers it was completed."
            verdict = {"number": number, "met": bool(supporting), "milestones": supporting or covering, "note": note}
            verdicts.append(verdict)
        return {"answer": answer or "Nothing was found.", "requirements": verdicts}

    def describe(self) -> str:
        """Name the model, and say what it is worth."""
        bundled = isinstance(self.model, LocalChatModel) and self.model.is_bundled
        return f"{model_name(self.model)}, {'a demonstration model' if bundled else 'a model in compact form'}"

    def _refuse(self, goal: str, reason: str) -> str:
        return f"{self.describe()}, cannot answer {goal.strip()!r} as it is asked: {reason}"

    def _split(self, objective: str) -> Dialogue[list[str]]:
        """Split at the ends of sentences and at "then"; at an "and" or a comma where the model says so."""
        goals = []
        for part in re.split(r"(?<=[.?!;])\s+|,?\s+(?:and\s+)?then\s+", objective.strip()):
            left = ""
            rest = part
            while match := re.search(r"(?:,\s+and|,|\s+and)\s+", rest):
                head, joint, rest = f"{left}{rest[: match.start()]}", match[0], rest[match.end() :]
                left = f"{head}{joint}"
                if len(content_words(head)) > 1 and len(rest.split()) > 2:
                    next_words = re.split(r",? and |, ", rest)[0]
                    shown = f"{head}{',' * (',' in joint)} | {'and ' * ('and' in joint)}{next_words}"
                    if (yield from choose(self.model, STEPS, shown, ["one step", "two steps"])) == "two steps":
                        goals.append(head)
                        left = ""
            goals.append(f"{left}{rest}")
        stripped = [goal.strip(" ,;") for goal in goals]
        return [goal for goal in stripped if content_words(goal) or operands(goal)] or [objective]


def _why_not(goal: str, failed: Sequence[Milestone]) -> str | None:
    """Why a goal was not answered the first time; None if it was not tried, or if no tool worked."""
    tried = [
        m.get("report") or {} for m in failed if m["goal"] == goal and all(c["ok"] for c in m.get("tool_calls", []))
    ]
    return next((str(report.get("missing") or report.get("result")) for report in tried if report), None)


def _kinds(objective: str, tools: Sequence[BaseTool]) -> list[str]:
    """What a message may be: a request for an action or with figures is a task, one without content words is talk."""
    exact = [tool for tool in tools if language_of(tool) in {"sql", "arithmetic"}]
    if requested_action(objective) or any(can_form(tool, objective, {}) for tool in exact):
        return ["task"]
    return ["task", "talk"] if content_words(objective) else ["talk"]


def _as_heading(goal: str) -> str:
    heading = goal.strip().rstrip("?.!:")
    return heading[:1].upper() + heading[1:]
