"""What a real small model gets right in this project and in LangChain's `create_agent`, on the same server.

    python -m tests.benchmarks.bench_real_model MODEL [ARM ...] [--tuned] [-v]

MODEL is the URL of a server of OpenAI's protocol, such as http://127.0.0.1:8080/v1, or the name of a model as
`load_model` takes it, such as local:model.gguf. The arms, of which the default is all:

    goals            one milestone each, given to the executor
    run              a request each, from planning to the answer
    create_agent     the same requests, LangChain's ReAct agent with the same tools
    goals-unread, run-unread        the same without reading tool calls that the model wrote as text
    create_agent-read               the ReAct agent with that reading around its model

An answer is right if it has all that was expected; wrong if the run ends as `completed` (or, with `create_agent`, with
any text) without it. The rest ended without an answer that claims to be one, and says why.
"""

import json
import re
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ModelCallLimitMiddleware, ModelRequest, ModelResponse
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import BaseTool

from plan_execute.agent.executor import middleware
from plan_execute.agent.llm.models import load_model
from plan_execute.agent.llm.parsing import read_textual_calls
from plan_execute.agent.schemas import MilestoneReport
from plan_execute.graphs import create_executor, create_plan_execute_agent
from plan_execute.tools import calculate, database_tools, document_tools, sample_database, sample_documents
from tests.benchmarks.real_model_cases import (
    TUNED_GOALS,
    TUNED_REQUESTS,
    UNTUNED_GOALS,
    UNTUNED_REQUESTS,
    Case,
)

MOST_CALLS = 12
"""Most model calls of a milestone, and of a request in `create_agent`."""
MOST_TOKENS = 800
"""Most tokens of one reply, in all arms: a small model that starts to repeat itself goes on to its limit."""


class Outcome(NamedTuple):
    """How one case ended: what was answered, whether as an answer that claims to be one, at what cost."""

    answer: str
    claimed: bool
    ended: str
    tokens: int
    calls: int


Arm = Callable[[Case, BaseChatModel], Outcome]


def tools_of(kinds: str = "database documents calculator") -> list[BaseTool]:
    """The tools of the sample shop, by kind."""
    tools: list[BaseTool] = []
    if "database" in kinds:
        tools += database_tools(sample_database())
    if "documents" in kinds:
        tools += document_tools(sample_documents(), outline=True)
    if "calculator" in kinds:
        tools.append(calculate)
    return tools


def model_of(name_or_url: str) -> BaseChatModel:
    """Make the model anew for each case, so that nothing learnt of it in one helps the next."""
    if not name_or_url.startswith("http"):
        return load_model(name_or_url, temperature=0, max_tokens=MOST_TOKENS)
    options = {"base_url": name_or_url, "api_key": "none", "timeout": 600, "max_retries": 0}
    return load_model("openai:any", temperature=0, max_completion_tokens=MOST_TOKENS, **options)


def run_goal(case: Case, model: BaseChatModel) -> Outcome:
    """Carry out one milestone."""
    tools = tools_of(case.kinds)
    executor = create_executor(model, tools, context={"max_model_calls": MOST_CALLS})
    output = executor.invoke({"brief": {"goal": case.text, "tools": [tool.name for tool in tools]}})
    (ended,) = output["milestones"].values()
    failure = ended["failure"]
    how = f"{failure['code']}: {failure['message'][:150]}" if failure else "completed"
    return Outcome(ended["result"], failure is None, how, *_spent(output["usage"]))


def run_request(case: Case, model: BaseChatModel) -> Outcome:
    """Plan and execute a request."""
    agent = create_plan_execute_agent(model, model, tools_of(), context={"max_model_calls": MOST_CALLS})
    output = agent.invoke({"messages": [{"role": "user", "content": case.text}]})
    error = output["error"]
    how = f"{output['status']} {error['code']}: {error['message'][:200]}" if error else output["status"]
    return Outcome(output["answer"] or "", output["status"] == "completed", how, *_spent(output["usage"]))


def run_react(case: Case, model: BaseChatModel, *more: AgentMiddleware[Any, Any]) -> Outcome:
    """Give a request to `create_agent`; what its tools refuse goes to the model, as it does in this project."""
    limit = ModelCallLimitMiddleware(run_limit=MOST_CALLS)
    tools = [tool.model_copy(update={"handle_tool_error": True}) for tool in tools_of()]
    agent = create_agent(model, tools, middleware=[*more, limit])
    output = agent.invoke({"messages": [HumanMessage(case.text)]})
    said = [message for message in output["messages"] if isinstance(message, AIMessage)]
    usage = [message.usage_metadata["total_tokens"] for message in said if message.usage_metadata]
    last = said[-1].text
    limited = "limits exceeded" in last
    return Outcome(last, bool(last.strip()) and not limited, "limit" if limited else "said", sum(usage), len(usage))


class Reading(AgentMiddleware[Any, Any]):
    """Reads tool calls that a model wrote as text, as this project's executor does."""

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Read the reply."""
        response = handler(request)
        names = [tool.name for tool in request.tools if isinstance(tool, BaseTool)]
        result = [
            read_textual_calls(m, names, MilestoneReport) if isinstance(m, AIMessage) else m for m in response.result
        ]
        return ModelResponse(result)


@contextmanager
def unread() -> Iterator[None]:
    """Leave calls written as text as they are."""
    with patch.object(middleware, "read_textual_calls", lambda message, *_: message):
        yield


def without_reading(arm: Arm) -> Arm:
    """Make an arm that leaves calls written as text as they are."""

    def run(case: Case, model: BaseChatModel) -> Outcome:
        with unread():
            return arm(case, model)

    return run


ARMS: dict[str, Arm] = {
    "goals": run_goal,
    "run": run_request,
    "create_agent": run_react,
    "goals-unread": without_reading(run_goal),
    "run-unread": without_reading(run_request),
    "create_agent-read": lambda case, model: run_react(case, model, Reading()),
}


def is_right(case: Case, answer: str) -> bool:
    """Tell whether an answer has all that was expected of it."""
    told = re.sub(r"(?<=\d),(?=\d{3})", "", answer).casefold()
    return all(any(_has(told, choice) for choice in _value(expected).split("|")) for expected in case.expected)


def _value(expected: str) -> str:
    if not expected.startswith("SELECT"):
        return expected
    with sqlite3.connect(sample_database().removeprefix("sqlite:///")) as connection:
        return str(connection.execute(expected).fetchone()[0])


def _has(told: str, expected: str) -> bool:
    wanted = re.escape(re.sub(r"\.0$", "", expected.replace(",", "")).casefold())
    return re.search(rf"(?<![\w.]){wanted}(?![\w]|\.[1-9])", told) is not None


def _spent(usage: dict[str, Any]) -> tuple[int, int]:
    roles = usage.values()
    return sum(r["input_tokens"] + r["output_tokens"] for r in roles), sum(r["calls"] for r in roles)


def main(arguments: Sequence[str]) -> None:
    """Run the arms and print a line for each."""
    options = [argument for argument in arguments if argument.startswith("-")]
    name_or_url, *names = [argument for argument in arguments if not argument.startswith("-")]
    tuned = "--tuned" in options
    print(f"{'arm':20}{'right':>8}{'wrong':>8}{'none':>8}{'tokens':>10}{'calls':>8}{'seconds':>9}  a case")
    for name in names or ARMS:
        goals, requests = (TUNED_GOALS, TUNED_REQUESTS) if tuned else (UNTUNED_GOALS, UNTUNED_REQUESTS)
        cases = goals if name.startswith("goals") else requests
        counted: Counter[str] = Counter()
        tokens, calls, began = 0, 0, time.perf_counter()
        for case in cases:
            model = model_of(name_or_url)
            started = time.perf_counter()
            try:
                outcome = ARMS[name](case, model)
            except Exception as error:  # noqa: BLE001 - a peer may raise anything
                outcome = Outcome("", False, f"raised {error!r}"[:200], 0, 0)
            right = is_right(case, outcome.answer) and bool(outcome.answer.strip())
            mark = "right" if right else "wrong" if outcome.claimed else "none"
            counted[mark] += 1
            tokens, calls = tokens + outcome.tokens, calls + outcome.calls
            if "-v" in options:
                seconds = time.perf_counter() - started
                shown = json.dumps(outcome.answer[:150])
                print(
                    f"  {mark:6}{seconds:6.0f} s{outcome.calls:4} {case.text[:70]} -> {shown} [{outcome.ended}]",
                    flush=True,
                )
        n = len(cases)
        seconds = time.perf_counter() - began
        shares = "".join(f"{counted[mark]:>5}/{n:<2}" for mark in ("right", "wrong", "none"))
        print(f"{name:20}{shares}{tokens / n:>10.0f}{calls / n:>8.1f}{seconds / n:>9.1f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
