"""Models that break the rules of the protocol: ids repeated or missing, the same object again, odd overrides."""

import json
from datetime import UTC, datetime
from typing import Any, Literal

import pytest
from langchain.agents.middleware import AgentMiddleware, hook_config
from langchain_core.exceptions import ContextOverflowError
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, RemoveMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel, PrivateAttr

from plan_execute.agent.context import Context
from plan_execute.agent.errors import ConfigurationError
from plan_execute.agent.state import Brief, PlanExecuteInput
from plan_execute.graphs import create_executor, create_plan_execute_agent
from tests.fakes import (
    Answer,
    Asked,
    ScriptedModel,
    diligent,
    goal_of,
    heavy,
    milestone,
    plan,
    report,
    synthesis,
    tool_call,
)

ASKED: PlanExecuteInput = {"messages": [{"role": "user", "content": "Do it."}]}
ran: list[str] = []


@tool
def look_up(subject: str) -> str:
    """Look a subject up."""
    ran.append(subject)
    return f"about {subject}"


def carry_out(model: ScriptedModel, **context: Any) -> dict[str, Any]:
    ran.clear()
    executor = create_executor(model, [look_up], context=context)
    outcome: dict[str, Any] = executor.invoke({"brief": Brief(goal="Find x.", tools=["look_up"])})["milestones"]["m1"]
    return outcome


def call(identity: str | None, **args: Any) -> Any:
    return {"name": "look_up", "args": args, "id": identity}


def test_message_with_the_same_id_each_time_does_not_fool_the_limits() -> None:
    model = ScriptedModel([AIMessage("", id="1", tool_calls=[call("call_0", subject="x")])], copies=False)
    outcome = carry_out(model, max_model_calls=6)
    assert outcome["failure"]["code"] == "limit"
    assert len(model.asked) <= 6
    assert ran == ["x"] * 3


def test_middleware_that_takes_messages_away_does_not_reset_the_limits() -> None:
    class Forget(AgentMiddleware[Any, Any]):
        """Keeps the brief and the last exchange."""

        def before_model(self, state: Any, runtime: Any) -> dict[str, Any]:
            return {"messages": [RemoveMessage(m.id) for m in state["messages"][2:-2]]}

    model = ScriptedModel(lambda asked: tool_call("look_up", {"subject": str(len(model.asked))}))
    executor = create_executor(model, [look_up], context={"max_model_calls": 6}, middleware=[Forget()])
    outcome = executor.invoke({"brief": Brief(goal="Find x.", tools=["look_up"])})["milestones"]["m1"]
    assert outcome["status"] == "failed"
    assert len(model.asked) <= 6


def test_calls_with_one_id_do_not_fool_the_limits() -> None:
    many = AIMessage("", tool_calls=[call("x", subject=str(n)) for n in range(9)])
    carry_out(ScriptedModel([many, report("read")]), max_tool_calls=3)
    assert len(ran) == 3


def test_call_without_an_id_is_answered() -> None:
    assert (
        carry_out(ScriptedModel([AIMessage("", tool_calls=[call(None, subject="x")]), report("read")]))["result"]
        == "read"
    )


def test_integers_beyond_64_bits_can_be_stored() -> None:
    huge = AIMessage("", tool_calls=[call("1", subject="x", more=10**30)])
    agent = create_plan_execute_agent(
        heavy(plan(milestone("a"))), ScriptedModel([huge, report("read")]), [look_up], checkpointer=InMemorySaver()
    )
    assert agent.invoke(ASKED, {"configurable": {"thread_id": "1"}})["status"] == "completed"


class Amount(BaseModel):
    """A form for an answer."""

    amount: int


def test_answer_in_a_form_may_hold_what_no_checkpoint_stores() -> None:
    end = {**synthesis(), "structured_response": {"amount": 10**30}}
    agent = create_plan_execute_agent(
        heavy(plan(milestone("a")), end=end),
        ScriptedModel(diligent),
        [look_up],
        response_format=Amount,
        checkpointer=InMemorySaver(),
    )
    output = agent.invoke(ASKED, {"configurable": {"thread_id": "1"}})
    assert output["structured_response"] == {"amount": str(10**30)}


HALF = "half of an emoji \ud83d"


@pytest.mark.parametrize("strategy", [datetime(2026, 1, 1, tzinfo=UTC), b"bytes", {1}])
def test_bare_data_that_is_no_json_is_read_as_text(strategy: object) -> None:
    class Bare(ScriptedModel):
        """One whose structured output is a dict of anything."""

        def __init__(self) -> None:
            super().__init__([])

        def with_structured_output(self, schema: Any, **kwargs: Any) -> Any:
            draft = plan(milestone("a"), strategy=strategy)
            return RunnableLambda(lambda _: draft if schema["title"] == "PlanDraft" else synthesis())

    agent = create_plan_execute_agent(Bare(), ScriptedModel(diligent), [look_up])
    assert agent.invoke(ASKED)["plan"]["strategy"] == str(strategy)


def test_half_an_emoji_is_replaced_wherever_a_model_writes_it() -> None:
    def answer(asked: Asked) -> Answer:
        if any(message.type == "tool" for message in asked.messages):
            return report(HALF)
        return tool_call("look_up", {"subject": HALF, HALF: 1})

    planner = heavy(plan(milestone(HALF, tools=["no such tool"])), plan(milestone(HALF)), end=synthesis(HALF))
    executor = ScriptedModel(answer)
    output = create_plan_execute_agent(planner, executor, [look_up]).invoke(ASKED)
    assert output["status"] == "completed"
    # Fails where a half is left.
    (str(output) + "".join(asked.text for asked in [*planner.asked, *executor.asked])).encode()


class WordsOnly(ScriptedModel):
    """A model without tools; what it says of that depends on who wrote it."""

    _refusal: Exception = PrivateAttr()

    def __init__(self, script: Any, refusal: Exception) -> None:
        super().__init__(script)
        self._refusal = refusal

    def bind_tools(self, *args: Any, **kwargs: Any) -> Any:
        raise self._refusal

    def with_structured_output(self, *args: Any, **kwargs: Any) -> Any:
        raise self._refusal


@pytest.mark.parametrize("refusal", [NotImplementedError(), RuntimeError("no tools"), ValueError("no tools")])
def test_planner_without_structured_output_is_asked_in_words(refusal: Exception) -> None:
    planner = WordsOnly([json.dumps(plan(milestone("a"))), json.dumps(synthesis())], refusal)
    output = create_plan_execute_agent(planner, ScriptedModel(diligent), [look_up]).invoke(ASKED)
    assert (output["status"], len(planner.asked)) == ("completed", 2)


def test_executor_without_tool_calling_aborts_instead_of_replanning() -> None:
    planner = heavy(plan(milestone("a")))
    executor = WordsOnly([], NotImplementedError())
    output = create_plan_execute_agent(planner, executor, [look_up]).invoke(ASKED)
    assert (output["status"], output["error"]["code"]) == ("aborted", "executor_unavailable")
    assert "calls tools" in output["error"]["message"]
    assert len(planner.asked) == 1


class Odd(ScriptedModel):
    """A model that reports its usage with gaps."""

    _usage: dict[str, Any] = PrivateAttr()

    def __init__(self, script: Any, usage: dict[str, Any]) -> None:
        super().__init__(script)
        self._usage = usage

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        result = super()._generate(*args, **kwargs)
        message = result.generations[0].message.model_copy(update={"usage_metadata": self._usage})
        return ChatResult(generations=[ChatGeneration(message=message)])


@pytest.mark.parametrize(
    ("usage", "usd"),
    [
        ({"input_tokens": 1_000_000, "output_tokens": 0, "total_tokens": 0, "input_token_details": None}, 1),
        ({"input_tokens": None, "output_tokens": 7, "total_tokens": None}, None),
        ({}, None),
    ],
)
def test_usage_with_gaps_does_no_harm(usage: dict[str, Any], usd: float | None) -> None:
    planner = Odd(lambda asked: synthesis() if asked.tools == ["Synthesis"] else plan(milestone("a")), usage)
    agent = create_plan_execute_agent(
        planner, Odd(diligent, usage), [look_up], context={"prices": {"Odd": {"input": 1, "output": 1}}}
    )
    output = agent.invoke(ASKED)
    assert output["status"] == "completed"
    assert output["usage"]["planner"]["usd"] == usd
    assert output["usage"]["executor"]["usd"] == (usd and 2 * usd)


@pytest.mark.parametrize("steps", [25, 40])
def test_recursion_limit_inside_a_milestone_ends_in_a_status(steps: int) -> None:
    def endless(asked: Asked) -> Answer:
        if asked.tools == ["MilestoneReport"]:
            return report("so far", "failed")
        return tool_call("look_up", {"subject": str(len(asked.messages))})

    agent = create_plan_execute_agent(
        heavy(plan(milestone("a"))), ScriptedModel(endless), [look_up], context={"max_tool_calls": 50, "max_replans": 0}
    )
    assert agent.invoke(ASKED, {"recursion_limit": steps})["status"] in {"partial", "aborted"}


class Hooks(AgentMiddleware[Any, Any]):
    """Middleware of somebody's own: each of its hooks is a step of LangGraph's."""

    def before_model(self, state: Any, runtime: Any) -> None:
        """Do nothing."""

    def after_model(self, state: Any, runtime: Any) -> None:
        """Do nothing."""

    async def aafter_agent(self, state: Any, runtime: Any) -> None:
        """Do nothing."""


class MoreHooks(Hooks):
    """Another one."""


@pytest.mark.parametrize("steps", [6, 7, 8, 9, 10, 25, 40])
@pytest.mark.parametrize("middleware", [[Hooks()], [Hooks(), MoreHooks()]])
async def test_steps_of_middleware_count_towards_the_recursion_limit(steps: int, middleware: list[Hooks]) -> None:
    def endless(asked: Asked) -> Answer:
        if asked.tools == ["MilestoneReport"]:
            return report("so far", "failed")
        return tool_call("look_up", {"subject": str(len(asked.messages))})

    agent = create_plan_execute_agent(
        heavy(plan(milestone("a"))),
        ScriptedModel(endless),
        [look_up],
        middleware=middleware,
        context={"max_tool_calls": 50, "max_replans": 0},
    )
    output = await agent.ainvoke(ASKED, {"recursion_limit": steps})
    assert output["status"] in {"partial", "aborted"}
    if steps >= 25:
        assert output["milestones"]["m1"]["result"] == "so far"


class Again(AgentMiddleware[Any, Any]):
    """Middleware that always sends the loop back to the model."""

    @hook_config(can_jump_to=["model"])
    def after_model(self, state: Any, runtime: Any) -> dict[str, Any]:
        """Ask once more."""
        return {"jump_to": "model"}


def test_middleware_that_never_ends_the_loop_is_held_to_the_model_calls() -> None:
    executor = ScriptedModel(diligent)
    agent = create_plan_execute_agent(
        heavy(plan(milestone("a"))), executor, [look_up], middleware=[Again()], context={"max_replans": 0}
    )
    output = agent.invoke(ASKED)
    assert (output["status"], output["milestones"]["m1"]["failure"]["code"]) == ("aborted", "limit")
    assert len(executor.asked) == 25


@pytest.mark.parametrize("said", ['{"a":' * 5_000, '{"strategy": [' * 500, "x{" * 200_000])
def test_text_nested_beyond_reason_is_no_plan(said: str) -> None:
    output = create_plan_execute_agent(heavy(said), heavy(said)).invoke(ASKED)
    assert (output["status"], output["error"]["code"]) == ("aborted", "plan_unparsable")


def test_thoughts_are_no_plan() -> None:
    thought = (
        '<think>maybe {"answer": "draft"}</think>{"strategy": "s", "milestones": [{"goal": "a", "tools": ["look_up"]}]}'
    )
    agent = create_plan_execute_agent(heavy(thought), ScriptedModel(diligent), [look_up])
    assert agent.invoke(ASKED)["milestones"]["m1"]["status"] == "completed"


@pytest.mark.parametrize("answer", ["", "  ", "null", "None"])
def test_answer_that_says_nothing_is_no_answer(answer: str) -> None:
    output = create_plan_execute_agent(heavy({"answer": answer, "strategy": "s"}), heavy("")).invoke(ASKED)
    assert (output["status"], output["error"]["code"]) == ("aborted", "plan_invalid")
    output = create_plan_execute_agent(
        heavy(plan(milestone("a")), end=synthesis(" ")), ScriptedModel(diligent), [look_up]
    ).invoke(ASKED)
    assert output["error"]["code"] == "synthesis_failed"


def test_worse_of_two_verdicts_counts() -> None:
    verdicts = [{"number": 1, "met": False}, {"number": 1, "met": True}]
    planner = heavy(plan(milestone("a")), end={"answer": "Yes.", "requirements": verdicts})
    agent = create_plan_execute_agent(planner, ScriptedModel(diligent), [look_up], context={"max_replans": 0})
    assert agent.invoke(ASKED)["status"] == "partial"


class OwnWords(ScriptedModel):
    """Structured output of somebody's own: it takes a schema and gives the data."""

    def __init__(self) -> None:
        super().__init__([])

    def with_structured_output(self, schema: Any, **kwargs: Any) -> Any:
        if kwargs:
            raise TypeError("unexpected keyword")
        return RunnableLambda(lambda _: plan(milestone("a")) if schema["title"] == "PlanDraft" else synthesis())


def test_structured_output_of_somebodys_own_is_taken() -> None:
    agent = create_plan_execute_agent(OwnWords(), ScriptedModel(diligent), [look_up])
    assert agent.invoke(ASKED)["status"] == "completed"


def test_surprise_beside_a_transient_failure_is_not_lost() -> None:
    tries: list[str] = []

    def answer(asked: Asked) -> Answer:
        goal = goal_of(asked)
        if goal == "b" and not tries:
            tries.append(goal)
            return TimeoutError("slow")
        if goal == "a" and any(message.type == "tool" for message in asked.messages):
            return report("found", surprise="the shop has closed")
        return diligent(asked)

    planner = heavy(plan(milestone("a"), milestone("b"), milestone("c")), plan(milestone("d"), requirements=[]))
    agent = create_plan_execute_agent(planner, ScriptedModel(answer), [look_up], context={"max_parallel": 2})
    assert agent.invoke(ASKED)["status"] == "completed"
    assert any("the shop has closed" in asked.text for asked in planner.asked)


def test_partial_end_names_what_is_unmet() -> None:
    draft = plan(milestone("a", covers=[1]), milestone("b", covers=[2]), requirements=["One.", "Two."])
    executor = ScriptedModel(lambda asked: report("no", "failed") if goal_of(asked) == "b" else diligent(asked))
    output = create_plan_execute_agent(heavy(draft, "I cannot."), executor, [look_up]).invoke(ASKED)
    assert (output["status"], output["error"]["code"]) == ("partial", "plan_unparsable")
    assert "Unmet: 2. Two." in output["error"]["message"]


def run(planner: ScriptedModel, response_format: Any = None) -> dict[str, Any]:
    executor = ScriptedModel(diligent)
    output: dict[str, Any] = create_plan_execute_agent(
        planner, executor, [look_up], context={"max_replans": 0}, response_format=response_format
    ).invoke(ASKED)
    return output


@pytest.mark.parametrize(
    "draft",
    [
        {"plan": {"PlanDraft": plan(milestone("a"))}},
        plan(milestone("a", tools="look_up", depends_on="none", covers="R1")),
        {**plan(), "milestones": {"m1": milestone("a")}},
        {**plan(), "milestones": json.dumps([milestone("a")])},
        {
            "requirements": "Answer it.",
            "milestones": {"description": "a", "tools": "look_up", "covers": "requirement 1"},
        },
    ],
)
def test_plan_in_a_form_of_the_models_own_is_carried_out_at_once(draft: dict[str, Any]) -> None:
    planner = heavy(draft)
    output = run(planner)
    assert (output["status"], [m["goal"] for m in output["milestones"].values()]) == ("completed", ["a"])
    assert len(planner.asked) == 2


@pytest.mark.parametrize("milestones", [["M1"], [1], "m1: a", "done:m1", ["Milestone 1"]])
def test_verdict_is_believed_however_it_names_the_milestones(milestones: Any) -> None:
    verdict = {"number": "R1", "met": "yes", "milestones": milestones}
    output = run(heavy(plan(milestone("a")), end={"answer": "Yes.", "requirements": [verdict]}))
    assert output["status"] == "completed"
    assert output["plan"]["requirements"][0]["milestones"] == ["m1"]


@pytest.mark.parametrize("met", [None, "partially", "?", "no"])
def test_unclear_verdict_is_a_no_and_leaves_the_rest_of_the_synthesis(met: Any) -> None:
    draft = plan(milestone("a", covers=[1, 2]), requirements=["One.", "Two."])
    planner = heavy(draft, end={"answer": "Half.", "requirements": {"1": {"met": True}, "2": {"met": met}}})
    output = run(planner)
    assert (output["status"], output["answer"]) == ("partial", "Half.")
    assert [requirement["met"] for requirement in output["plan"]["requirements"]] == [True, False]
    assert len(planner.asked) == 2


def test_call_of_a_catalogue_tool_is_no_plan_and_no_synthesis() -> None:
    def answer(asked: Asked) -> Answer:
        given = plan(milestone("a")) if asked.tools == ["PlanDraft"] else synthesis()
        return given if "instead of filling in" in asked.text else tool_call("look_up", given)

    planner = ScriptedModel(answer)
    assert run(planner)["status"] == "completed"
    assert "It calls 'look_up' instead of filling in the schema 'PlanDraft'." in planner.asked[1].text
    assert "It calls 'look_up' instead of filling in the schema 'Synthesis'." in planner.asked[3].text
    assert len(planner.asked) == 4


CUT_OFF = AIMessage('{"answer": "4', response_metadata={"finish_reason": "length"})


@pytest.mark.parametrize(
    ("planner", "code"),
    [(heavy(CUT_OFF), "plan_unparsable"), (heavy(plan(milestone("a")), end=CUT_OFF), "synthesis_failed")],
)
def test_what_is_meant_for_the_model_is_not_said_to_the_user(planner: ScriptedModel, code: str) -> None:
    output = run(planner)
    assert output["error"]["code"] == code
    assert "It was truncated (length)." in output["error"]["message"]
    assert "Be brief. Fill in the" in planner.asked[-1].text
    for said in (output["error"]["message"], output["messages"][-1].text):
        assert not any(word in said for word in ("rief", "Fill in", "Send the whole"))


class Served(ScriptedModel):
    """A model with an address."""

    def __init__(self, script: Any) -> None:
        super().__init__(script)

    @property
    def base_url(self) -> str:
        return "http://me:secret@127.0.0.1:9/v1"


@pytest.mark.parametrize(
    ("error", "said", "attempts"),
    [
        (ContextOverflowError("9 > 8"), "prompt is too long for its model", 1),
        (ValueError("down"), "returned an error at http://127.0.0.1:9/v1: ValueError: down", 2),
    ],
)
def test_silence_is_explained(error: Exception, said: str, attempts: int) -> None:
    assert said in run(Served([error]))["error"]["message"]
    planner = Served(lambda asked: plan(milestone("a")) if asked.tools == ["PlanDraft"] else error)
    output = run(planner)
    assert (output["status"], output["error"]["code"]) == ("partial", "synthesis_failed")
    assert said in output["error"]["message"]
    assert len(planner.asked) == 1 + attempts


FORM = {
    "type": "object",
    "properties": {"total": {"$ref": "#/$defs/Whole"}},
    "required": ["total"],
    "$defs": {"Whole": {"type": "integer"}},
}


def with_total(total: Any) -> dict[str, Any]:
    return synthesis("Three.", structured_response={"total": total})


def test_answer_that_violates_the_json_schema_goes_back() -> None:
    def answer(asked: Asked) -> Answer:
        if asked.tools == ["PlanDraft"]:
            return plan(milestone("a"))
        return with_total(3 if "$.total: 'three' is not of type 'integer'" in asked.text else "three")

    planner = ScriptedModel(answer)
    output = run(planner, FORM)
    assert (output["status"], output["structured_response"], len(planner.asked)) == ("completed", {"total": 3}, 3)


@pytest.mark.parametrize("response", [{"total": "three"}, {}, [3], "3", None])
def test_answer_that_never_fits_the_json_schema_ends_in_a_typed_partial(response: Any) -> None:
    planner = heavy(plan(milestone("a")), end=synthesis("Three.", structured_response=response))
    output = run(planner, FORM)
    assert (output["status"], output["error"]["code"]) == ("partial", "synthesis_failed")
    assert "structured_response: $" in output["error"]["message"]
    assert (output["structured_response"], len(planner.asked)) == (None, 3)


@pytest.mark.parametrize("form", [{"type": "objekt"}, {"$ref": "#/$defs/nowhere"}, {"pattern": "("}])
def test_response_format_that_is_no_json_schema_is_refused_at_once(form: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="`response_format` is not a valid JSON schema"):
        create_plan_execute_agent(response_format=form)


def test_response_format_is_taken_as_it_is() -> None:
    end = synthesis("Yes.", structured_response="A")
    assert run(heavy(plan(milestone("a")), end=end), Literal["A", "B"])["structured_response"] == "A"


@pytest.mark.parametrize(
    ("options", "context", "said"),
    [
        ({"response_format": {"title": "Out", "type": "object"}}, Context(), "response_format"),
        ({}, Context(verify="model"), "verifier_model"),
    ],
)
def test_compact_model_is_not_asked_for_what_it_would_make_up(
    options: dict[str, Any], context: Context, said: str
) -> None:
    model = FakeListChatModel(responses=[], metadata={"compact": True})
    agent = create_plan_execute_agent(model, tools=[], **options)
    ended = agent.invoke(ASKED, context=context)
    assert ended["error"] is not None
    assert (ended["status"], ended["error"]["code"]) == ("aborted", "model_unavailable")
    assert said in ended["error"]["message"]


@pytest.mark.parametrize(
    ("again", "status", "code"),
    [("null", "completed", None), ("Nothing.", "completed", None), ("the date", "blocked", "missing")],
)
def test_success_with_something_missing_goes_back_once(again: str, status: str, code: str | None) -> None:
    light = ScriptedModel([tool_call("look_up", {"subject": "x"}), report(missing="the date"), report(missing=again)])
    outcome = carry_out(light)
    assert outcome["status"] == status
    assert (outcome["failure"] or {"code": None})["code"] == code
    assert "report success, but also that something is missing" in light.asked[2].messages[-1].text
