"""Help for small models: the roles in a compact form that a few hundred million parameters can fill in.

Whoever uses a big model can skip this file and its four companions `compact_*`. A small model never writes a text that
matters: goals are spans of the request, arguments are put together from choices, answers copy results. What is left to
it are choices between options, which is what it can do; with nothing but one option there is no question.
"""

import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolCall, ToolMessage
from langchain_core.messages.ai import UsageMetadata, add_usage
from langchain_core.tools import BaseTool

from plan_execute.agent.llm.structured_output import Dialogue
from plan_execute.agent.schemas import MilestoneReport
from plan_execute.agent.small_models import sql as compact_sql
from plan_execute.agent.small_models.arguments import argument_of, can_form, form_arguments, language_of
from plan_execute.agent.small_models.choice import Form, choose
from plan_execute.agent.small_models.words import (
    ANAPHORA,
    content_words,
    deed,
    nearest_sentences,
    operands,
    overlap,
    refers_back,
    sentences,
    stem,
    stems,
)
from plan_execute.agent.state import Brief, Milestone, Requirement

REPORT = MilestoneReport.__name__
"""The tool a milestone ends with."""

KIND = Form(
    "Say what the message is: a task, or just talk.",
    question="Message",
    answer="It is",
    examples=(
        ("Good morning!", "talk"),
        ("How many nurses work in the Leeds ward?", "task"),
        ("Who are you?", "talk"),
        ("Divide 90 by 5", "task"),
        ("Thanks a lot", "talk"),
        ("Look up the opening hours", "task"),
    ),
)
STEPS = Form(
    "Say whether the words around | are one step or two steps.",
    question="Request",
    answer="It is",
    examples=(
        ("Count the pilots in Rome | and add 5 to that number", "two steps"),
        ("the ships in Oslo | and Bergen", "one step"),
        ("How old is Ann Lee, | and what is twice her age?", "two steps"),
        ("Add 4 | and 9", "one step"),
        ("What are the rules for dogs | and cats?", "one step"),
        ("Which ward is the largest | and what do the rules say about visitors?", "two steps"),
        ("the sum of 30, 12 | and 8", "one step"),
        ("Find the fee for late books | and multiply it by 3", "two steps"),
        ("What is the sum of 4 and 9, | and how many pilots are old", "two steps"),
        ("What do nurses | and pilots earn", "one step"),
    ),
)
TOOL = Form(
    "Say which tool answers the request: calculate (arithmetic with given numbers), "
    "database (rows and counts of records), search (text of documents, rules, explanations).",
    examples=(
        ("What is 18 times 4?", "calculate"),
        ("How many nurses work in the Leeds ward?", "database"),
        ("How long may a visitor stay at the ward?", "search"),
        ("Take 30% off 250", "calculate"),
        ("What do the rules say about smoking?", "search"),
        ("Which pilot has the most flights?", "database"),
        ("the sum of 12 and 9 divided by 3", "calculate"),
        ("Find out how to reset the alarm", "search"),
        ("List the planes built in 1998", "database"),
        ("How much is the fine for late books?", "search"),
        ("average age of the pilots", "database"),
        ("add 5 to that number", "calculate"),
    ),
)
SENTENCE = Form(
    "Copy the sentence that answers the question.",
    answer="Sentence",
    examples=(
        (
            "How long may visitors stay? (Visitors sign in at the desk. / Visitors may stay for two hours.)",
            "Visitors may stay for two hours.",
        ),
        (
            "What is the fine for a late book? (A late book costs 20 cents a day. / Books are lent for three weeks.)",
            "A late book costs 20 cents a day.",
        ),
    ),
)
ALONE = (
    "A model in compact form does not converse and does not look back at earlier turns: "
    "it answers a whole request with the tools it has."
)
"""What is said instead of small talk, and where a request makes no sense without the turns before it."""
LABELS = {"arithmetic": "calculate", "sql": "database", "keywords": "search"}
"""What a tool is called when the model chooses, by the language of its argument; others by their own name."""


def draft_plan(
    model: BaseChatModel,
    objective: str,
    tools: Sequence[BaseTool],
    *,
    objections: Sequence[str] = (),
    milestones: Mapping[str, Milestone] | None = None,
) -> Dialogue[dict[str, Any]]:
    """Cut the request into milestones and choose a tool for each; talk gets the same direct answer every time.

    What no tool can do becomes a milestone without tools, which its executor reports as blocked. In a replan, finished
    goals are left out and a tool that failed a goal is not offered for it again.

    Args:
        model: The planner's model.
        objective: The request.
        tools: The catalogue.
        objections: What was wrong with the draft before; the same questions would get the same answers, so a
            refused draft is followed by a single milestone with the whole request.
        milestones: Those of earlier revisions, by id.

    Returns:
        A dict that `PlanDraft` accepts.
    """
    if (yield from choose(model, KIND, objective, _kinds(objective, tools))) == "talk":
        names = ", ".join(tool.name for tool in tools) or "none"
        return {"answer": f"{ALONE} Its tools: {names}. Nothing was looked up or done.", "milestones": []}
    goals = [objective.strip()] if objections else (yield from _split(model, objective))
    past = milestones or {}
    done = {milestone["goal"]: f"done:{key}" for key, milestone in past.items() if milestone["status"] == "completed"}
    tried = {(m["goal"], name) for m in past.values() if m["status"] in {"failed", "blocked"} for name in m["tools"]}
    drafted: list[dict[str, Any]] = []
    before = ""
    for number, goal in enumerate(goals, start=1):
        needs = before
        before = done.get(goal, f"m{number}")
        if goal in done:
            continue
        able = _able(tools, goal, follows=bool(needs))
        offered = [tool for tool in able if can_form(tool, goal, {}, follows=bool(needs))]
        untried = [tool for tool in offered if (goal, tool.name) not in tried]
        chosen = [(yield from _choose_tool(model, goal, untried or offered))] if offered else []
        pointing = ANAPHORA.search(goal) or refers_back(goal)
        depends = needs and (pointing or not all(can_form(tool, goal, {}) for tool in chosen))
        drafted.append(
            {
                "id": f"m{number}",
                "goal": goal,
                "done_when": "Its tool has given the answer.",
                "tools": [tool.name for tool in chosen],
                "depends_on": [needs] if depends else [],
                "covers": [number],
            }
        )
    strategy = "One step after the other, each with the one tool that fits it."
    return {"strategy": strategy, "requirements": goals, "answer": None, "milestones": drafted}


def next_turn(
    model: BaseChatModel, brief: Brief, tools: Sequence[BaseTool], scratchpad: Sequence[BaseMessage]
) -> Dialogue[AIMessage]:
    """The next message of a milestone: a tool call, or the report once a tool has answered.

    A database is asked twice: first for the stored texts that the goal names, then with the query itself.

    Args:
        model: The executor's model.
        brief: The milestone.
        tools: What it may use now; none of them means that it has to report.
        scratchpad: The messages so far.

    Returns:
        A message with one call; `response_metadata["unasked"]` tells that there was nothing to ask the model.
    """
    counted = _Counted()
    call = yield from counted.of(_next_call(model, brief, tools, scratchpad))
    unasked = not counted.usage["total_tokens"]
    return AIMessage("", tool_calls=[call], usage_metadata=counted.usage, response_metadata={"unasked": unasked})


def synthesize(
    model: BaseChatModel,  # noqa: ARG001 - a role like the others
    objective: str,  # noqa: ARG001
    requirements: Sequence[Requirement],
    milestones: Mapping[str, Milestone],
) -> Dialogue[dict[str, Any]]:
    """Put the results together as they are; a requirement is met when a finished milestone covers it.

    Returns:
        A dict that `Synthesis` accepts.
    """
    done = {key: milestone for key, milestone in milestones.items() if milestone["status"] == "completed"}
    lines = [f"{_as_heading(milestone['goal'])}: {milestone['result']}" for milestone in done.values()]
    answer = next(iter(done.values()))["result"] if len(done) == 1 else "\n".join(lines)
    verdicts = []
    for requirement in requirements:
        number = requirement["number"]
        covering = [key for key, milestone in milestones.items() if number in milestone["covers"]]
        met = any(key in done for key in covering)
        note = None if met else "No milestone that covers it was completed."
        supporting = [key for key in covering if key in done] or covering
        verdicts.append({"number": number, "met": met, "milestones": supporting, "note": note})
    return {"answer": answer or "Nothing was found.", "requirements": verdicts}
    yield  # a dialogue without a question, so far


class _Counted:
    """Sums what the questions of a dialogue cost."""

    def __init__(self) -> None:
        self.usage = UsageMetadata(input_tokens=0, output_tokens=0, total_tokens=0)

    def of(self, dialogue: Dialogue[Any]) -> Dialogue[Any]:
        """Hold the dialogue, reading the usage of each reply."""
        try:
            question = next(dialogue)
            while True:
                reply = yield question
                if reply.message is not None:
                    self.usage = add_usage(self.usage, reply.message.usage_metadata)
                question = dialogue.send(reply)
        except StopIteration as end:
            return end.value


def _next_call(
    model: BaseChatModel, brief: Brief, tools: Sequence[BaseTool], scratchpad: Sequence[BaseMessage]
) -> Dialogue[ToolCall]:
    answers = [m for m in scratchpad if isinstance(m, ToolMessage) and m.name != REPORT]
    asked = {call["id"]: str(call["args"]) for m in scratchpad if isinstance(m, AIMessage) for call in m.tool_calls}
    looked_up = [m for m in answers if compact_sql.LOOKUP in asked.get(m.tool_call_id, "")]
    found = [m for m in answers if m not in looked_up]
    goal, inputs = brief["goal"], brief["inputs"]
    if good := [m for m in found if m.status != "error"]:
        kind = next((language_of(tool) for tool in tools if tool.name == good[-1].name), None)
        if kind == "sql" and not compact_sql.has_value(good[-1].text):
            return _report("failed", f"The database has nothing that answers: {goal}")
        if kind == "keywords" and not _is_about(good[-1].text, goal):
            return _report("failed", f"The texts that were found do not answer: {goal}")
        return _report("succeeded", (yield from _digest(model, goal, good[-1].text, kind)))
    if answers and answers[-1].status == "error":
        return _report("failed", answers[-1].text)
    able = _able(tools, goal, follows=bool(inputs))
    if not able:
        lonely = refers_back(goal) and not inputs
        return _report("blocked", "", missing=ALONE if lonely else f"A tool for: {goal}")
    tool = yield from _choose_tool(model, goal, [tool for tool in able if can_form(tool, goal, inputs)] or able)
    values: dict[str, list[str]] = {}
    if language_of(tool) == "sql":
        schema = (tool.metadata or {}).get("schema", {})
        lookup = compact_sql.lookup_query(goal, schema)
        if not looked_up and lookup is not None:
            return _call(tool.name, {argument_of(tool, "sql"): lookup})
        values = compact_sql.read_lookup(goal, looked_up[-1].text, schema) if looked_up else {}
        if unknown := compact_sql.unknown_names(goal, values, schema):
            return _report("blocked", "", missing=f"The database has no {' and no '.join(unknown)}.")
    return _call(tool.name, (yield from form_arguments(model, tool, goal, inputs, values)))


def _choose_tool(model: BaseChatModel, goal: str, tools: Sequence[BaseTool]) -> Dialogue[BaseTool]:
    labels = [LABELS.get(language_of(tool) or "", tool.name.replace("_", " ")) for tool in tools]
    named = {
        tool.name.replace("_", " ") if labels.count(label) > 1 else label: tool
        for label, tool in zip(labels, tools, strict=True)
    }
    return named[(yield from choose(model, TOOL, goal, list(named)))]


def _kinds(objective: str, tools: Sequence[BaseTool]) -> list[str]:
    """Deeds, numbers to reckon with and names of tables are no small talk; words without content are nothing else."""
    exact = [tool for tool in tools if language_of(tool) in {"sql", "arithmetic"}]
    if deed(objective) or any(can_form(tool, objective, {}) for tool in exact):
        return ["task"]
    return ["task", "talk"] if content_words(objective) else ["talk"]


def _able(tools: Sequence[BaseTool], goal: str, *, follows: bool) -> list[BaseTool]:
    """Tools that a goal may go to: none if it needs an earlier turn, only one of its name if it wants a deed done."""
    if refers_back(goal) and not follows:
        return []
    verb = deed(goal)
    return [tool for tool in tools if verb is None or verb in stems(tool.name)]


def _is_about(answer: str, goal: str) -> bool:
    """Whether a text has the names in a goal, and a sentence with half of the goal's words, not all of them names."""
    words = {stem(word) for word in content_words(goal)}
    plain = [word for word in content_words(goal) if word.islower()]
    near = [s for s in sentences(answer) if 2 * overlap(words, s) >= len(words) and (not plain or overlap(plain, s))]
    return bool(near) and not compact_sql.unknown_names(goal, [answer], {})


def _split(model: BaseChatModel, objective: str) -> Dialogue[list[str]]:
    """Cut at the ends of sentences and at "then"; at a mere "and" or comma the model says if it parts two steps."""
    goals = []
    for part in re.split(r"(?<=[.?!;])\s+|,?\s+(?:and\s+)?then\s+", objective.strip()):
        left = ""
        rest = part
        while match := re.search(r"(?:,\s+and|,|\s+and)\s+", rest):
            head, tail = f"{left}{rest[: match.start()]}", rest[match.end() :]
            joint = rest[match.start() : match.end()]
            is_two = False
            if len(content_words(head)) > 1 and len(tail.split()) > 2:
                next_words = re.split(r",? and |, ", tail)[0]
                shown = f"{head}{',' * (',' in joint)} | {'and ' * ('and' in joint)}{next_words}"
                is_two = (yield from choose(model, STEPS, shown, ["one step", "two steps"])) == "two steps"
            if is_two:
                goals.append(head)
                left = ""
            else:
                left = f"{head}{joint}"
            rest = tail
        goals.append(f"{left}{rest}")
    return [goal for goal in (goal.strip(" ,;") for goal in goals) if content_words(goal) or operands(goal)] or [
        objective
    ]


def _digest(model: BaseChatModel, goal: str, answer: str, kind: str | None) -> Dialogue[str]:
    """What a tool answered, short enough to be read and passed on: copied, never rewritten."""
    if kind == "sql" and (rows := compact_sql.read_rows(answer)):
        return "; ".join(_as_line(row) for row in rows[:20])
    if kind != "keywords":
        return answer.strip()[:1_000]
    candidates = nearest_sentences(goal, answer)
    if not candidates:
        return answer.strip()[:1_000]
    return (yield from choose(model, SENTENCE, f"{goal} ({' / '.join(candidates)})", candidates))


def _as_line(row: Mapping[str, Any]) -> str:
    if len(row) == 1:
        return str(next(iter(row.values())))
    return ", ".join(f"{column}: {value}" for column, value in row.items())


def _as_heading(goal: str) -> str:
    heading = goal.strip().rstrip("?.!:")
    return heading[:1].upper() + heading[1:]


def _report(status: str, result: str, missing: str | None = None) -> ToolCall:
    return _call(REPORT, {"status": status, "result": result, "missing": missing, "surprise": None, "values": []})


def _call(name: str, arguments: dict[str, Any]) -> ToolCall:
    return ToolCall(name=name, args=arguments, id=f"call_{uuid.uuid4().hex[:12]}")
