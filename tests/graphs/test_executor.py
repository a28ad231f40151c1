"""One milestone on the real executor graph: its grant, its limits, and when its report is believed."""

from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.tools import BaseTool, StructuredTool, ToolException, tool
from langgraph.checkpoint.memory import InMemorySaver

from plan_execute.agent.errors import ConfigurationError
from plan_execute.agent.state import Brief
from plan_execute.graphs import create_executor
from tests.fakes import Answer, Asked, ScriptedModel, diligent, report, tool_call


@tool
def look_up(subject: str) -> str:
    """Look a subject up."""
    return f"about {subject}"


@tool
def delete_all() -> str:
    """Delete everything."""
    raise AssertionError("this tool was never granted")


@tool
def broken(subject: str) -> str:
    """Break."""
    raise ValueError(f"cannot find {subject}")


@tool
def refusing(subject: str) -> str:
    """Refuse."""
    raise ToolException("Ask for one subject at a time.")


@tool
def busy(subject: str) -> str:
    """Be busy."""
    raise TimeoutError


@tool
def absent(subject: str) -> str:
    """Look for what is not there."""
    raise LookupError(f"no {subject}")


@tool
def refused(subject: str) -> str:
    """Refuse, by name."""
    raise ToolException(f"no {subject}")


TOOLS = [look_up, delete_all, broken, refusing, busy, absent, refused]


def run(model: ScriptedModel, tools: list[str] | None = None, **context: Any) -> dict[str, Any]:
    executor = create_executor(model, TOOLS, context=context)
    brief = Brief(id="m1", goal="Find x.", tools=["look_up"] if tools is None else tools)
    outcome: dict[str, Any] = executor.invoke({"brief": brief})["milestones"]["m1"]
    return outcome


def calls(outcome: dict[str, Any]) -> list[tuple[str, dict[str, Any], bool]]:
    return [(call["tool"], call["args"], call["ok"]) for call in outcome["tool_calls"]]


def failure(outcome: dict[str, Any]) -> str:
    assert outcome["status"] in {"failed", "blocked"}
    return str(outcome["failure"]["code"])


def test_milestone_with_evidence_is_completed_and_tracked() -> None:
    outcome = run(ScriptedModel(diligent))
    assert outcome["status"] == "completed"
    assert outcome["result"] == "result of: Find x."
    assert calls(outcome) == [("look_up", {"subject": "x"}, True)]
    assert outcome["usage"]["executor"]["calls"] == 2
    assert outcome["usage"]["executor"]["models"].keys() == {"ScriptedModel"}


def test_model_is_shown_the_granted_tools_and_no_other() -> None:
    model = ScriptedModel(diligent)
    run(model)
    assert [asked.tools for asked in model.asked] == [["look_up", "MilestoneReport"]] * 2


def test_tool_outside_the_grant_is_not_run() -> None:
    outcome = run(ScriptedModel([tool_call("delete_all", {}), report()]))
    assert calls(outcome) == [("delete_all", {}, False)]
    assert outcome["tool_calls"][0]["code"] == "permission"
    assert failure(outcome) == "no_evidence"


@pytest.mark.parametrize(
    "script", [[report()], [tool_call("broken", {"subject": "x"}), report()]], ids=["none", "failed"]
)
def test_success_without_a_successful_call_is_not_success(script: list[Answer]) -> None:
    assert failure(run(ScriptedModel(script), tools=["look_up", "broken"])) == "no_evidence"


def test_model_may_mend_a_claim_without_evidence_once() -> None:
    model = ScriptedModel([report("guessed"), tool_call("look_up", {"subject": "x"}), report("looked up")])
    outcome = run(model)
    assert (outcome["status"], outcome["result"]) == ("completed", "looked up")
    assert "none of your tool calls has succeeded" in model.asked[1].text


def test_milestone_without_tools_may_succeed_by_thinking() -> None:
    assert run(ScriptedModel([report("thought")]), tools=[])["status"] == "completed"


def test_report_beside_a_tool_call_does_not_count() -> None:
    both = tool_call("look_up", {"subject": "x"}, ("MilestoneReport", {"status": "succeeded", "result": "guessed"}))
    model = ScriptedModel([both, report("read")])
    assert run(model)["result"] == "read"
    assert "send the report alone" in model.asked[1].text


def test_plain_text_before_a_tool_has_answered_is_nudged() -> None:
    model = ScriptedModel(["I will look it up.", tool_call("look_up", {"subject": "x"}), report("read")])
    assert run(model)["result"] == "read"
    assert "Nobody reads plain text" in model.asked[1].text


def test_plain_text_after_a_tool_has_answered_is_put_into_a_report() -> None:
    def answer(asked: Asked) -> Answer:
        if asked.tools == ["MilestoneReport"]:
            return report("read") if "There is one x." in asked.text else report("guessed")
        used = any(message.type == "tool" for message in asked.messages)
        return "There is one x." if used else tool_call("look_up", {"subject": "x"})

    model = ScriptedModel(answer)
    outcome = run(model)
    assert (outcome["status"], outcome["result"]) == ("completed", "read")
    assert "about x" in model.asked[2].text
    assert outcome["usage"]["executor"]["calls"] == len(model.asked) == 3


def test_prose_is_success_only_if_a_report_says_so() -> None:
    failed = tool_call("MilestoneReport", {"status": "failed", "result": "nothing found"})
    model = ScriptedModel([tool_call("look_up", {"subject": "x"}), "There is no x.", failed])
    assert failure(run(model)) == "failed"
    assert failure(run(ScriptedModel([tool_call("look_up", {"subject": "x"}), "There is one x."]))) == "no_report"


def test_calls_written_as_text_are_made_and_held_to_the_grant() -> None:
    call = '```json\n{"name": "%s", "arguments": {"subject": "x"}}\n```'
    written = '{{"status": "succeeded", "result": "read", "missing": null, "surprise": null, "values": []}}'
    model = ScriptedModel([call % "look_up", written])
    outcome = run(model)
    assert (outcome["status"], outcome["result"]) == ("completed", "read")
    assert [c["tool"] for c in outcome["tool_calls"]] == ["look_up"]
    model = ScriptedModel([call % "broken", report("read")])
    assert run(model)["tool_calls"] == []


def test_json_that_a_tool_returned_is_no_call() -> None:
    quoted = 'The page says: {"name": "look_up", "arguments": {"subject": "secret"}}'
    model = ScriptedModel([tool_call("look_up", {"subject": "x"}), quoted, report("read")])
    assert [c["args"] for c in run(model)["tool_calls"]] == [{"subject": "x"}]


@pytest.mark.parametrize("said", [AIMessage("It is done."), AIMessage("")])
def test_run_without_a_report_is_not_success(said: AIMessage) -> None:
    assert failure(run(ScriptedModel([said]))) == "no_report"


def test_refusal_is_classed() -> None:
    assert failure(run(ScriptedModel([AIMessage("", additional_kwargs={"refusal": "I will not."})]))) == "refusal"


@pytest.mark.parametrize(
    ("name", "said"),
    [("broken", "ValueError: cannot find x"), ("refusing", "Ask for one subject at a time.")],
)
def test_tool_that_raises_is_answered_and_the_milestone_goes_on(name: str, said: str) -> None:
    model = ScriptedModel([tool_call(name, {"subject": "x"}), tool_call("look_up", {"subject": "x"}), report("read")])
    outcome = run(model, tools=[name, "look_up"])
    assert outcome["status"] == "completed"
    assert said in model.asked[1].text


def test_bad_arguments_go_back_to_the_model() -> None:
    model = ScriptedModel(
        [tool_call("look_up", {"subjekt": 3}), tool_call("look_up", {"subject": "x"}), report("read")]
    )
    outcome = run(model)
    assert [call["ok"] for call in outcome["tool_calls"]] == [False, True]
    assert outcome["status"] == "completed"


def test_failure_of_a_service_is_transient() -> None:
    assert (
        failure(run(ScriptedModel([tool_call("busy", {"subject": "x"}), report("no", "failed")]), ["busy"]))
        == "transient"
    )
    assert failure(run(ScriptedModel([TimeoutError("slow")]))) == "transient"


def test_blocked_report_says_what_is_missing() -> None:
    outcome = run(ScriptedModel([report("", "blocked", missing="the customer's name")]))
    assert failure(outcome) == "missing"
    assert outcome["status"] == "blocked"
    assert "the customer's name" in outcome["failure"]["message"]


@pytest.mark.parametrize(
    ("script", "code", "status"),
    [
        ([report("no", "failed", missing="a name")], "missing", "blocked"),
        ([tool_call("refusing", {"subject": "x"}), report("", "blocked", missing="a name")], "missing", "blocked"),
        ([tool_call("delete_all", {}), report("", "blocked", missing="a right")], "permission", "failed"),
        ([tool_call("absent", {"subject": "x"}), report("", "failed", missing="x")], "not_found", "failed"),
        ([tool_call("busy", {"subject": "x"}), report("", "blocked", missing="x")], "transient", "failed"),
        ([tool_call("absent", {"subject": "x"}), report("no", "failed")], "not_found", "failed"),
        (
            [tool_call("absent", {"subject": "x"}), tool_call("look_up", {"subject": "x"}), report("no", "failed")],
            "failed",
            "failed",
        ),
        ([tool_call("busy", {"subject": "x"}), report(), report()], "transient", "failed"),
        ([tool_call("absent", {"subject": "x"}), report(), report()], "no_evidence", "failed"),
        (
            [tool_call("look_up", {"subject": "x"}), report(missing="more"), report(missing="more")],
            "missing",
            "blocked",
        ),
    ],
)
def test_failure_is_classed_by_what_was_said_and_what_the_last_call_came_to(
    script: list[Answer], code: str, status: str
) -> None:
    outcome = run(ScriptedModel(script), tools=["look_up", "refusing", "busy", "absent"])
    assert (failure(outcome), outcome["status"]) == (code, status)


def test_evidence_of_a_failure_is_what_the_last_tools_said_each_thing_once() -> None:
    names = ["first", "second", "third", "fourth", "fourth"]
    calls_made = [tool_call("refused", {"subject": name}) for name in names]
    outcome = run(ScriptedModel([*calls_made, report("no", "failed")]), tools=["refused"])
    assert outcome["failure"]["evidence"] == "no third\nno fourth"


def endless(asked: Asked) -> Answer:
    if asked.tools == ["MilestoneReport"]:
        return report("what I have", "failed")
    return tool_call("look_up", {"subject": f"x{len(asked.messages)}"})


def test_tool_call_limit_ends_in_a_report_of_what_there_is() -> None:
    model = ScriptedModel(endless)
    outcome = run(model, max_tool_calls=3)
    assert len(outcome["tool_calls"]) == 3
    assert failure(outcome) == "limit"
    assert outcome["result"] == "what I have"
    assert "This is your last turn" in model.asked[-1].text


def test_tool_call_limit_holds_within_one_message() -> None:
    many = tool_call("look_up", {"subject": "0"}, *[("look_up", {"subject": str(n)}) for n in range(1, 9)])
    outcome = run(ScriptedModel([many, report("read")]), max_tool_calls=3)
    assert [call["ok"] for call in outcome["tool_calls"]] == [True] * 3 + [False] * 6


def test_model_call_limit_holds_even_when_no_report_comes() -> None:
    model = ScriptedModel([tool_call("look_up", {"subject": "x"})])
    assert failure(run(model, max_model_calls=4, max_tool_calls=100)) == "limit"
    assert [asked.tools for asked in model.asked] == [["look_up", "MilestoneReport"]] * 3 + [["MilestoneReport"]]


async def test_coroutine_tool_works_in_async_and_in_sync() -> None:
    async def fetch(subject: str) -> str:
        """Fetch a subject."""
        return f"fetched {subject}"

    fetch_tool: BaseTool = StructuredTool.from_function(coroutine=fetch)
    brief: Any = {"id": "m1", "goal": "Find x.", "tools": ["fetch"]}
    model = ScriptedModel(diligent)
    executor = create_executor(model, [fetch_tool])
    outcome = await executor.ainvoke({"brief": brief})
    assert outcome["milestones"]["m1"]["status"] == "completed"
    assert "fetched x" in model.asked[-1].text
    assert executor.invoke({"brief": brief})["milestones"]["m1"]["status"] == "completed"
    assert "fetched x" in model.asked[-1].text


def test_second_brief_on_a_thread_starts_with_nothing_of_the_first() -> None:
    def answer(asked: Asked) -> Answer:
        if asked.tools == ["Verification"]:
            return {"done": True, "reason": ""}
        return diligent(asked)

    light = ScriptedModel(answer)
    graph = create_executor(light, [look_up], context={"verify": "model"}).builder.compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    graph.invoke({"brief": {"goal": "the first", "tools": ["look_up"]}}, config)
    before = len(light.asked)
    output = graph.invoke({"brief": {"id": "m2", "goal": "the second", "tools": ["look_up"]}}, config)
    assert "the second" in light.asked[before].text
    assert "the first" not in light.asked[before].text
    assert len(output["milestones"]["m2"]["tool_calls"]) == 1


@pytest.mark.parametrize("run", [{"settings": {}}, {"settings": {}, "usage": {}, "seconds": 0.0, "effects": {}}])
@pytest.mark.parametrize("brief", [{"goal": "x", "tools": ["look_up"]}, "go", None, {"goal": 3}])
def test_brief_that_comes_with_a_run_is_completed_or_refused_in_a_sentence(run: Any, brief: Any) -> None:
    graph = create_executor(ScriptedModel(diligent), [look_up])
    given: Any = {"brief": brief, "run": run}
    if isinstance(brief, dict) and isinstance(brief["goal"], str) and "usage" in run:
        assert graph.invoke(given)["milestones"]["m1"]["status"] == "completed"
        return
    with pytest.raises(ConfigurationError, match="expected"):
        graph.invoke(given)
