"""How a filled-in schema is read off whatever a model sends."""

from collections.abc import Generator

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from plan_execute.agent.context import Context
from plan_execute.agent.plan import Synthesis
from plan_execute.agent.question import Question, Reply, aask, ask
from plan_execute.agent.usage import tallied

from tests.fakes import ScriptedModel, tool_call

FILLED = {"answer": "42", "requirements": []}


def once(model: ScriptedModel) -> Generator[Question, Reply, Reply]:
    return (yield Question(model, [HumanMessage("How many?")], Synthesis))


@pytest.mark.parametrize(
    "said",
    [
        tool_call("Synthesis", FILLED),
        AIMessage('{"answer": "42", "requirements": []}'),
        AIMessage('Here it is:\n```json\n{"answer": "42", "requirements": []}\n```\nHope it helps.'),
        AIMessage('{"answer": "42", "requirements": ['),
    ],
    ids=["tool call", "JSON", "fenced JSON", "truncated JSON"],
)
async def test_schema_is_found_in(said: AIMessage) -> None:
    for reply in (ask(once(ScriptedModel([said]))), await aask(once(ScriptedModel([said])))):
        assert reply.data is not None
        assert Synthesis.model_validate(reply.data).answer == "42"


@pytest.mark.parametrize("said", ["I would rather not.", "", "{}", "{{{"])
def test_text_without_the_schema_gives_no_data(said: str) -> None:
    reply = ask(once(ScriptedModel([said])))
    assert (reply.data, reply.error) == (None, None)


async def test_what_a_model_raises_comes_back_as_the_reply() -> None:
    for reply in (ask(once(ScriptedModel([ValueError("no")]))), await aask(once(ScriptedModel([ValueError("no")])))):
        assert isinstance(reply.error, ValueError)


def test_every_question_of_a_dialogue_is_counted() -> None:
    model = ScriptedModel([FILLED])

    def twice() -> Generator[Question, Reply, str]:
        yield from once(model)
        reply = yield from once(model)
        return str(reply.data)

    _, account = ask(tallied("planner", Context(), twice()))
    assert account.usage["planner"]["calls"] == 2
    assert account.usage["planner"]["input_tokens"] == 20
    assert account.usage["planner"]["models"]["ScriptedModel"]["output_tokens"] == 10
