"""A server that speaks OpenAI's protocol and misbehaves on cue, in front of the real ChatOpenAI, for each role.

The table of outcomes is printed at the end: `pytest -s tests/agent/llm/test_openai_faults.py`.
"""

import json
import time
from collections.abc import Iterator
from functools import cache
from typing import Any, Literal

import httpx
import pytest
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, SecretStr

from plan_execute.agent import prompts
from plan_execute.agent.state import PlanExecuteInput
from plan_execute.graphs import create_plan_execute_agent
from plan_execute.graphs.plan_execute import PlanExecuteAgent
from tests.fakes import milestone, plan, synthesis
from tests.faulty_openai import (
    ANSWER_FAULTS,
    FAULTS,
    TRANSPORT_FAULTS,
    Completion,
    Cue,
    Fault,
    FaultyServer,
    Raw,
    serve_faulty_openai,
)
from tests.openai_server import Answer, Asked, Call

ASKED: PlanExecuteInput = {"messages": [{"role": "user", "content": "What is known about x?"}]}
ROLES = {"planner": prompts.PLANNER, "executor": prompts.EXECUTOR, "synthesizer": prompts.SYNTHESIZER}
HEAVY = ("planner", "synthesizer")
METHODS: dict[str, dict[str, Any]] = {
    "json_schema": {"model": "gpt-4o"},
    "function_calling": {"model": "own-model", "profile": {"tool_calling": True}},
    "prompt": {"model": "own-model", "profile": {"tool_calling": False}},
}
"""Which model makes a heavy role ask in which way."""
KEY = SecretStr("x")
MOST_REQUESTS = 40
"""More than any run below may take; a healthy one takes four."""
HARMLESS = {("duplicate ids", role) for role in ROLES} | {("said twice", role) for role in HEAVY}
"""What leaves the work done although it never stops."""
CODES = {
    "planner": {"planner_unavailable", "plan_unparsable", "plan_invalid"},
    "executor": {"max_replans", "no_progress", "executor_unavailable"},
    "synthesizer": {"synthesis_failed", "unmet_requirements", "max_replans", "no_progress"},
}
"""What a run may end with where this role never gets anything through."""

table: dict[tuple[str, str], dict[str, str]] = {}


@tool
def look_up(subject: str) -> str:
    """Look a subject up."""
    return f"about {subject}"


def healthy(asked: Asked) -> Answer:
    prompt = str(asked.messages[0]["content"])
    if prompt.startswith(prompts.EXECUTOR):
        if asked.messages[-1]["role"] == "tool" and "about x" in asked.text:
            return Call("MilestoneReport", {"status": "succeeded", "result": "x is known"})
        return Call("look_up", {"subject": "x"})
    fields = plan(milestone("Find x.")) if prompt.startswith(prompts.PLANNER) else synthesis("x is known.")
    return fields if asked.schema else json.dumps(fields)


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyServer]:
    with serve_faulty_openai(healthy) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def _table() -> Iterator[None]:
    yield
    print()
    for (fault, role), row in sorted(table.items()):
        print(f"{fault:25}| {role:31}| {row.get('once', ''):50}| {row.get('for ever', '')}")


def cue_for(role: str, fault: Fault, first: int, last: float) -> Cue:
    return lambda prompt, number: fault if prompt.startswith(ROLES[role]) and first <= number <= last else None


def agent_for(server: FaultyServer, method: str, fault: str = "") -> PlanExecuteAgent:
    return _agent(server, method, milestone_timeout=3 if fault == "response that never ends" else 600)


@cache
def _agent(server: FaultyServer, method: str, *, milestone_timeout: float) -> PlanExecuteAgent:
    """An agent that is patient with every response, however slow the machine, but the one that never comes."""

    def be_impatient(request: httpx.Request) -> None:
        if server.fault_for(json.loads(request.content)) is FAULTS["no response"]:
            request.extensions["timeout"] = httpx.Timeout(0.5).as_dict()

    async def be_impatient_too(request: httpx.Request) -> None:
        be_impatient(request)

    model = ChatOpenAI(
        base_url=server.url,
        api_key=KEY,
        timeout=60,
        max_retries=0,
        http_client=httpx.Client(event_hooks={"request": [be_impatient]}),
        http_async_client=httpx.AsyncClient(event_hooks={"request": [be_impatient_too]}),
        **METHODS[method],
    )
    context = {"max_replans": 1, "max_model_calls": 8, "milestone_timeout": milestone_timeout}
    return create_plan_execute_agent(model, model, [look_up], context=context)


def judge(server: FaultyServer, output: dict[str, Any], fault: str, role: str, row: str, column: str) -> None:
    """What holds however a run went; and its line in the table."""
    status, error = output["status"], output["error"]
    requests = len(server.bodies)
    code = error["code"] if error else "-"
    failures = {m["failure"]["code"] for m in output["milestones"].values() if m["failure"]}
    found = f"{status}/{code}" + (f" ({', '.join(sorted(failures))})" if failures else "")
    table.setdefault((fault, row), {})[column] = f"{found}, {requests} requests"
    assert requests <= MOST_REQUESTS
    assert status in {"completed", "partial", "aborted"}
    assert (error is None) == (status == "completed")
    if status == "completed":
        assert output["answer"] == "x is known."
        assert any(
            m["status"] == "completed" and any(call["ok"] for call in m["tool_calls"])
            for m in output["milestones"].values()
        )
        assert output["plan"]["requirements"][0]["met"]
    if column == "once" or (fault, role) in HARMLESS:
        assert status == "completed", error
    else:
        assert status != "completed"
        assert code in CODES[role]


CASES: list[tuple[str, str, str]] = [
    *((f, role, "function_calling") for f in TRANSPORT_FAULTS for role in ROLES),
    *((f, "planner", method) for f in ANSWER_FAULTS for method in METHODS),
    *((f, "synthesizer", method) for f in ANSWER_FAULTS for method in ("json_schema", "function_calling")),
    *((f, "executor", "function_calling") for f in ANSWER_FAULTS),
]


@pytest.mark.parametrize(("fault", "role", "method"), CASES)
def test_run_gets_over_a_single_fault(server: FaultyServer, fault: str, role: str, method: str) -> None:
    server.begin(cue_for(role, FAULTS[fault], 0, 0))
    output = agent_for(server, method, fault).invoke(ASKED)
    judge(server, output, fault, role, f"{role} ({method})", "once")
    if role in HEAVY and fault in ANSWER_FAULTS and (fault, role) not in HARMLESS:
        again = [body for body in server.bodies if body["messages"][0]["content"].startswith(ROLES[role])][1]
        assert "cannot be used" in again["messages"][-1]["content"]


CASES_FOR_EVER = [
    case
    for case in CASES
    if case[0] in TRANSPORT_FAULTS or case[2] == ("json_schema" if case[1] == "synthesizer" else "function_calling")
]


@pytest.mark.parametrize(("fault", "role", "method"), CASES_FOR_EVER)
def test_run_ends_in_time_with_a_typed_status_when_a_fault_never_stops(
    server: FaultyServer, fault: str, role: str, method: str
) -> None:
    server.begin(cue_for(role, FAULTS[fault], 0, float("inf")))
    output = agent_for(server, method, fault).invoke(ASKED)
    judge(server, output, fault, role, f"{role} ({method})", "for ever")


@pytest.mark.parametrize("fault", [*ANSWER_FAULTS, "connection reset"])
def test_run_gets_over_a_fault_in_the_report(server: FaultyServer, fault: str) -> None:
    server.begin(cue_for("executor", FAULTS[fault], 1, 1))
    output = agent_for(server, "function_calling", fault).invoke(ASKED)
    judge(server, output, fault, "executor", "executor (report)", "once")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("fault", "method"), [("500", "prompt"), ("connection reset", "function_calling")])
async def test_run_gets_over_a_lost_response_in_async_too(
    server: FaultyServer, fault: str, role: str, method: str
) -> None:
    server.begin(cue_for(role, FAULTS[fault], 0, 0))
    output = await agent_for(server, method, fault).ainvoke(ASKED)
    judge(server, output, fault, role, f"{role} ({method}, async)", "once")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("fault", ["truncated JSON", "finish_reason=length", "refusal", "429 with Retry-After"])
async def test_run_ends_typed_in_async_too(server: FaultyServer, fault: str, role: str) -> None:
    server.begin(cue_for(role, FAULTS[fault], 0, float("inf")))
    output = await agent_for(server, "json_schema", fault).ainvoke(ASKED)
    judge(server, output, fault, role, f"{role} (json_schema, async)", "for ever")


async def test_executor_does_not_wait_for_a_response_that_never_ends_in_async_either(server: FaultyServer) -> None:
    fault = "response that never ends"
    server.begin(cue_for("executor", FAULTS[fault], 0, float("inf")))
    output = await agent_for(server, "function_calling", fault).ainvoke(ASKED)
    judge(server, output, fault, "executor", "executor (async)", "for ever")
    assert {m["failure"]["code"] for m in output["milestones"].values()} == {"timeout"}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("fault", ["truncated JSON", "finish_reason=length", "connection reset", "empty content"])
def test_run_gets_over_a_fault_in_a_stream(server: FaultyServer, fault: str, method: str) -> None:
    server.begin(cue_for("planner", FAULTS[fault], 0, 0))
    parts = list(agent_for(server, method, fault).stream(ASKED, stream_mode=["messages", "values"]))
    assert all(body["stream"] for body in server.bodies)
    output = next(part for mode, part in reversed(parts) if mode == "values")
    judge(server, output, fault, "planner", f"planner ({method}, stream)", "once")


@pytest.mark.parametrize("role", ROLES)
def test_service_is_left_alone_as_long_as_it_asks(server: FaultyServer, role: str) -> None:
    over: list[float] = []

    def fault(completion: Completion) -> Completion | Raw:
        over.append(time.monotonic() + 0.6)
        busy = time.monotonic() < over[0]
        return Raw(429, "{}", {"Retry-After": "0.7"}) if busy else completion

    server.begin(cue_for(role, fault, 0, float("inf")))
    output = agent_for(server, "function_calling").invoke(ASKED)
    assert output["status"] == "completed"
    assert len(server.bodies) == 5


@pytest.mark.parametrize("date", ["Wed, 21 Oct 2015 07:28:00 -0000", "Wed, 21 Oct 2015 07:28:00 GMT", "soon", "nan"])
def test_odd_retry_after_does_no_harm(server: FaultyServer, date: str) -> None:
    server.begin(cue_for("executor", lambda _: Raw(429, "{}", {"Retry-After": date}), 0, 0))
    assert agent_for(server, "function_calling").invoke(ASKED)["status"] == "completed"


def test_retry_of_the_client_itself_is_no_call_of_ours(server: FaultyServer) -> None:
    server.begin(cue_for("planner", FAULTS["500"], 0, 0))
    model = ChatOpenAI(model="own-model", base_url=server.url, api_key=KEY, timeout=60, max_retries=1)
    output = create_plan_execute_agent(model, tools=[look_up]).invoke(ASKED)
    assert (output["status"], output["usage"]["planner"]["calls"], len(server.bodies)) == ("completed", 1, 5)


@pytest.mark.parametrize("refused", [{"response_format"}, {"response_format", "tools"}])
@pytest.mark.parametrize("model_name", ["gpt-4o", "own-model"])
def test_heavy_roles_ask_in_another_way_where_the_server_does_not_take_this_one(
    server: FaultyServer, refused: set[str], model_name: str
) -> None:
    def cue(prompt: str, _: int) -> Fault | None:
        takes = prompt.startswith(prompts.EXECUTOR) or not refused & server.bodies[-1].keys()
        return None if takes else lambda _: Raw(400, '{"error": {"message": "not supported"}}')

    server.begin(cue)
    # A model of its own: what a server does not take is remembered with the model.
    model = ChatOpenAI(model=model_name, base_url=server.url, api_key=KEY, max_retries=0)
    agent = create_plan_execute_agent(model, tools=[look_up])
    for requests in (4 + len(refused), 8 + len(refused)):
        output = agent.invoke(ASKED)
        assert (output["status"], len(server.bodies)) == ("completed", requests)
        assert output["usage"]["planner"]["calls"] == output["usage"]["synthesizer"]["calls"] == 1


@pytest.mark.parametrize("ignored", [{"response_format"}, {"response_format", "tools"}])
def test_form_that_a_server_ignores_is_not_asked_for_again(server: FaultyServer, ignored: set[str]) -> None:
    def cue(prompt: str, _: int) -> Fault | None:
        obeys = prompt.startswith(prompts.EXECUTOR) or not ignored & server.bodies[-1].keys()
        return None if obeys else _says_prose

    server.begin(cue)
    model = ChatOpenAI(model="own-model", base_url=server.url, api_key=KEY, max_retries=0)
    agent = create_plan_execute_agent(model, tools=[look_up])
    for requests in (4 + len(ignored), 8 + len(ignored)):
        output = agent.invoke(ASKED)
        assert (output["status"], len(server.bodies)) == ("completed", requests)


def _says_prose(completion: dict[str, Any]) -> dict[str, Any]:
    completion["choices"][0] |= {"message": {"role": "assistant", "content": "Sure!"}, "finish_reason": "stop"}
    return completion


def test_native_schema_is_strict_also_where_a_field_has_a_default(server: FaultyServer) -> None:
    server.begin(lambda _prompt, _number: None)
    agent_for(server, "json_schema").invoke(ASKED)
    plan_form, answer_form = (b["response_format"]["json_schema"] for b in server.bodies if "response_format" in b)
    assert (plan_form["name"], answer_form["name"]) == ("PlanDraft", "Synthesis")
    for form in (plan_form, answer_form):
        assert form["strict"] is True
        for part in (form["schema"], *form["schema"]["$defs"].values()):
            assert part["required"] == list(part["properties"])
            assert part["additionalProperties"] is False
    draft = plan_form["schema"]["$defs"]["MilestoneDraft"]
    assert {"calls", "yields"} <= draft["properties"].keys()


class Part(BaseModel):
    """A part of an answer, with what strict providers do not take: a default."""

    default: int = 3


class Whole(BaseModel):
    """An answer of the user's own form."""

    parts: list[Part] = []
    kind: Literal["a", "b"] = "a"


def test_form_of_the_user_is_made_strict_through_and_through(server: FaultyServer) -> None:
    server.begin(lambda _prompt, _number: None)
    model = ChatOpenAI(base_url=server.url, api_key=KEY, max_retries=0, **METHODS["json_schema"])
    agent = create_plan_execute_agent(model, tools=[look_up], response_format=Whole, context={"max_replans": 0})
    agent.invoke(ASKED)
    form = server.bodies[-1]["response_format"]["json_schema"]["schema"]
    assert form["required"] == ["answer", "requirements", "structured_response"]
    assert form["$defs"]["Whole"]["required"] == ["parts", "kind"]
    assert form["$defs"]["Part"]["properties"] == {"default": {"title": "Default", "type": "integer"}}


def test_tools_of_the_user_are_not_made_strict(server: FaultyServer) -> None:
    server.begin(lambda _prompt, _number: None)
    agent_for(server, "json_schema").invoke(ASKED)
    bodies = [body for body in server.bodies if body["messages"][0]["content"].startswith(prompts.EXECUTOR)]
    offered = [tool["function"] for body in bodies for tool in body["tools"]]
    assert {function["name"] for function in offered} == {"look_up", "MilestoneReport"}
    assert not any(function.get("strict") for function in offered)
    assert not any("response_format" in body for body in bodies)
