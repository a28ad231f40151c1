"""The schemas that a server is asked to enforce are narrowed to what there is in the run."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import ValidationError, validate  # type: ignore[import-untyped]  # it has no types
from langchain_core.language_models import ModelProfile
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatResult
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from plan_execute.agent import Context
from plan_execute.agent.llm.structured_output import BOUNDS
from plan_execute.agent.state import PlanExecuteInput
from plan_execute.graphs import create_plan_execute_agent
from tests.fakes import ScriptedModel, diligent, milestone, plan, synthesis
from tests.openai_server import Answer, Asked, serve_openai

ASKED: PlanExecuteInput = {"messages": [{"role": "user", "content": "What is known about a?"}]}
PLAN: dict[str, Any] = {
    "strategy": "Look it up.",
    "requirements": ["Say what is known about a."],
    "givens": [],
    "unknowns": ["a"],
    "pitfalls": [],
    "milestones": [milestone("a", id="m1", pitfalls=[], depends_on=[])],
}
SYNTHESIS = {"answer": "It is known.", "requirements": [{"number": 1, "met": True, "milestones": ["m1"]}]}


@tool
def look_up(subject: str) -> str:
    """Look a subject up."""
    return f"about {subject}"


def forms_of_run(profile: ModelProfile) -> dict[str, Any]:
    """Run on a server and return the schemas that it was asked to enforce, by name."""
    forms: dict[str, Any] = {}

    def answer(asked: Asked) -> Answer:
        assert asked.schema
        forms[asked.schema] = asked.form
        given = PLAN if asked.schema == "PlanDraft" else SYNTHESIS
        return {**given, "answer": None} if given is PLAN and profile else given

    with serve_openai(answer) as server:
        model = ChatOpenAI(model="some-model", base_url=server.url, api_key=SecretStr("none"), profile=profile)
        output = create_plan_execute_agent(model, ScriptedModel(diligent), [look_up]).invoke(ASKED)
    assert output["status"] == "completed", output["error"]
    return forms


def keywords(form: Any) -> Iterator[str]:
    """All keywords of a schema, at every depth."""
    for key, value in form.items() if isinstance(form, dict) else ():
        names = value.values() if key in {"properties", "$defs"} else [value]
        yield key
        for item in names:
            yield from keywords(item)


def changed(draft: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**draft, "milestones": [{**draft["milestones"][0], **fields}]}


def test_server_that_enforces_any_schema_is_given_all_limits() -> None:
    forms = forms_of_run({})
    validate(PLAN, forms["PlanDraft"])
    validate(SYNTHESIS, forms["Synthesis"])
    for wrong in (
        changed(PLAN, tools=["fly"]),
        changed(PLAN, id="first"),
        changed(PLAN, depends_on=["look_up"]),
        changed(PLAN, covers=[0]),
        {**PLAN, "milestones": PLAN["milestones"] * 50},
        {**PLAN, "strategy": "x" * 10_000},
    ):
        with pytest.raises(ValidationError):
            validate(wrong, forms["PlanDraft"])
    for verdicts in ([], [{"number": 2, "met": True}], [{"number": 1, "met": True, "milestones": ["m2"]}]):
        with pytest.raises(ValidationError):
            validate({**SYNTHESIS, "requirements": verdicts}, forms["Synthesis"])


def test_provider_with_a_profile_is_given_names_but_no_bounds() -> None:
    forms = forms_of_run({"structured_output": True, "tool_calling": True})
    assert not BOUNDS & {key for form in forms.values() for key in keywords(form)}
    assert forms["PlanDraft"]["$defs"]["MilestoneDraft"]["properties"]["tools"]["items"]["enum"] == ["look_up"]
    assert "structured_response" not in forms["Synthesis"]["properties"]


def test_finished_milestones_may_be_depended_on() -> None:
    forms: list[Any] = []

    def answer(asked: Asked) -> Answer:
        if asked.schema == "Synthesis":
            return synthesis(met=[False])
        forms.append(asked.form)
        return changed(PLAN, goal=f"a{len(forms)}")

    with serve_openai(answer) as server:
        model = ChatOpenAI(model="some-model", base_url=server.url, api_key=SecretStr("none"), profile={})
        create_plan_execute_agent(model, ScriptedModel(diligent), [look_up], context={"max_replans": 1}).invoke(ASKED)
    validate(changed(PLAN, depends_on=["done:m1"]), forms[1])
    with pytest.raises(ValidationError):
        validate(changed(PLAN, depends_on=["done:m1"]), forms[0])


def test_catalogue_too_long_for_a_schema_is_not_listed_in_it() -> None:
    many = [look_up.model_copy(update={"name": f"look_up_{number}"}) for number in range(201)]
    forms: list[Any] = []

    def answer(asked: Asked) -> Answer:
        forms.append(asked.form)
        return {"answer": "Nothing."}

    with serve_openai(answer) as server:
        model = ChatOpenAI(model="some-model", base_url=server.url, api_key=SecretStr("none"), profile={})
        create_plan_execute_agent(model, model, many).invoke(ASKED)
    validate(changed(PLAN, tools=["look_up_200"]), forms[0])


class Truncated(ChatOpenAI):
    """The first two of whose plans are truncated."""

    plans: int = 0

    def _generate(self, *args: Any, **options: Any) -> ChatResult:
        result = super()._generate(*args, **options)
        message = result.generations[0].message
        self.plans += 1
        if self.plans <= 2:
            message.content = message.text[:99]
            message.response_metadata["finish_reason"] = "length"
        return result


def test_after_a_truncated_reply_less_is_asked_for_in_words_too() -> None:
    truncated = AIMessage(json.dumps(PLAN)[:99], response_metadata={"stopReason": "max_tokens"})
    planner = ScriptedModel([truncated, json.dumps(plan(milestone("a"))), json.dumps(synthesis())])
    agent = create_plan_execute_agent(planner, ScriptedModel(diligent), [look_up])
    assert agent.invoke(ASKED, context=Context(structured_output="prompt"))["status"] == "completed"
    first, second = (asked.messages[0].text for asked in planner.asked[:2])
    assert ('"givens"' in first, '"givens"' in second) == (True, False)
    assert "milestones" in second


def test_after_each_truncated_reply_less_is_asked_for() -> None:
    forms: list[Any] = []

    def answer(asked: Asked) -> Answer:
        forms.append(asked.form["properties"])
        return PLAN if asked.schema == "PlanDraft" else SYNTHESIS

    with serve_openai(answer) as server:
        planner = Truncated(model="some-model", base_url=server.url, api_key=SecretStr("none"), profile={})
        output = create_plan_execute_agent(planner, ScriptedModel(diligent), [look_up]).invoke(ASKED)
    assert output["status"] == "completed", output["error"]
    first, second, third = forms[:3]
    assert ("givens" in first, "givens" in second) == (True, False)
    most = first["milestones"]["maxItems"]
    for asked, form, fewer in zip(server.asked[1:], (second, third), (most // 2, most // 4), strict=False):
        assert (form["milestones"]["maxItems"], form["requirements"]["maxItems"]) == (fewer, fewer)
        assert f"Give at most {fewer} milestones." in asked.text.partition("truncated")[2]
